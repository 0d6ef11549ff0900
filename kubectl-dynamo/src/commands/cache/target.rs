//! Which model on which claim is meant: what was said, and for the rest what is known.

use clap::Args;

use super::error::CacheError;
use super::known::{self, Known, KnownModel, Sight};
use crate::cluster::Cluster;
use crate::commands::asked::{Asked, Wanted, wanted};
use crate::commands::deployment::intent_of_model;
use crate::commands::serving_flags::{FetchFlags, ServingFlags};
use crate::error::Result;
use crate::intent::request::find;
use crate::intent::{Cache, IntentError, ModelRef, ServingIntent};

/// A model, and what its fetch Job depends on.
#[derive(Args)]
pub(in crate::commands) struct ModelArgs {
    /// Model: a hub id (org/name, optionally @revision)
    pub model: String,
    #[command(flatten)]
    pub fetch: FetchFlags,
}

impl ModelArgs {
    /// All that was said, here and in settings.
    ///
    /// # Errors
    /// What cannot be read, and a model that is no hub id.
    pub(super) fn asked(self) -> Result<Asked> {
        let mut flags: ServingFlags = self.fetch.0;
        match ModelRef::named(&self.model)? {
            ModelRef::Hub { .. } => {}
            ModelRef::Folder { .. } | ModelRef::BuiltIn => {
                return Err(IntentError::NotAModel { given: self.model }.into());
            }
        }
        flags.add(find("model").expect("a model is a field"), vec![self.model]);
        match wanted(&flags)? {
            Wanted::Request(asked) => Ok(asked),
            Wanted::Objects(_) => unreachable!("there is no flag for a file"),
        }
    }
}

/// A model on a claim, as the Jobs that work on it need it.
pub(super) struct Target {
    pub intent: ServingIntent,
    pub known: Known,
    /// What is known of this very model on this claim.
    pub models: Vec<KnownModel>,
}

impl Target {
    pub(super) fn claim(&self) -> &str {
        self.intent.cache.claim()
    }

    pub(super) fn model(&self) -> String {
        self.intent.model.to_string()
    }
}

/// Finds it.
///
/// # Errors
/// Several claims; refusals.
pub(super) async fn find_model(args: ModelArgs, cluster: &Cluster, sight: Sight) -> Result<Target> {
    let asked = args.asked()?;
    let intent = intent_of_model(&asked, &cluster.namespace)?;
    let known = known::gather(cluster, false, sight).await?;
    let merged = asked.merged();
    let said_claim = merged.get("cache.claim").map(|found| found.text().to_owned());
    let says_image = merged.get("fetcherImage").is_some();
    let target = meant(intent, known, said_claim, says_image)?;
    // Its Job would wait for a claim that is not there for ever.
    let claim = target.claim();
    match cluster.claim(claim).await? {
        Some(_) => Ok(target),
        None => Err(CacheError::NoClaim { claim: claim.into(), namespace: cluster.namespace.clone() }.into()),
    }
}

/// The same of a model that is known.
///
/// # Errors
/// Settings that cannot be read.
pub(super) fn of_known(model: &KnownModel, cluster: &Cluster, known: Known) -> Result<Target> {
    let asked = ModelArgs { model: model.name(), fetch: FetchFlags::default() }.asked()?;
    let intent = intent_of_model(&asked, &cluster.namespace)?;
    meant(intent, known, Some(model.claim.clone()), false)
}

fn meant(
    mut intent: ServingIntent,
    known: Known,
    said_claim: Option<String>,
    says_image: bool,
) -> Result<Target> {
    let ModelRef::Hub { repository, revision } = intent.model.clone() else {
        unreachable!("only hub ids are taken");
    };
    let is_it = |one: &&KnownModel| {
        one.repository == repository
            && revision.as_ref().is_none_or(|revision| one.revision == *revision)
            && said_claim.as_ref().is_none_or(|claim| one.claim == *claim)
    };
    let models: Vec<KnownModel> = known.models.iter().filter(is_it).cloned().collect();
    let mut claims: Vec<&str> = models.iter().map(|one| one.claim.as_str()).collect();
    claims.dedup();
    if claims.len() > 1 {
        return Err(CacheError::SeveralClaims { model: repository, claims: claims.join(",") }.into());
    }
    let claim = said_claim.clone().or(claims.first().map(|claim| (*claim).to_owned()));
    intent.cache = Cache::Existing { claim: claim.unwrap_or_else(|| intent.cache.claim().to_owned()) };
    if let [one] = models.as_slice() {
        intent.model = intent.model.unpinned().at(&one.revision)?;
    }
    // What could fetch it can work on it: the same image, from the same registry.
    let job = models.iter().flat_map(|one| &one.jobs).find_map(|name| known.job(name));
    if let Some(pod) = job.map(|job| &job["spec"]["template"]["spec"]).filter(|_| !says_image) {
        let image = pod["containers"][0]["image"].as_str();
        intent.placement.fetcher_image = image.map(Into::into).or(intent.placement.fetcher_image);
        let secrets = pod["imagePullSecrets"].as_array().into_iter().flatten();
        let secrets = secrets.filter_map(|secret| secret["name"].as_str());
        intent.placement.image_pull_secrets.extend(secrets.map(Into::into));
    }
    Ok(Target { intent, known, models })
}
