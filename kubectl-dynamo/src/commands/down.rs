//! `down`: delete deployments, and say what stays.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use serde_json::Value;

use super::confirm::confirm;
use super::frontend::{self, Sought};
use super::summary::{self, summary};
use super::up::fetch;
use super::{Context, kube_flags, words};
use crate::cluster::{Change, Cluster, Kind, Outcome, Platform, Seen, Watched};
use crate::error::{Exit, Explain, Result};
use crate::intent::Word;
use crate::readiness::GRAPH_LABEL;
use crate::report::Stage;
use crate::resources::{MANAGED_BY, MANAGER, MODEL_ANNOTATION, Resource, removal_job};

/// Delete deployments; the model's cache stays unless it is named
#[derive(Args)]
pub(super) struct DownArgs {
    /// Names of the deployments
    #[arg(required_unless_present_any = ["all", "local"])]
    pub names: Vec<String>,
    /// The deployments are those of this machine; without a name the only one
    #[arg(long, conflicts_with_all = ["delete_cache", "wait"])]
    pub local: bool,
    /// All deployments of the namespace that this program made
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
    /// Delete the model's folder as well, or the whole claim; refused while anything else mounts it
    #[arg(long, value_name = "WHAT", value_parser = words::<DeleteCache>())]
    pub delete_cache: Option<DeleteCache>,
    /// Wait until the deployment and its pods are gone
    #[arg(long)]
    pub wait: bool,
    /// Longest time for it all
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kube_flags::duration)]
    pub timeout: Duration,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What of the cache goes with a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeleteCache {
    /// The folder of the deployment's model.
    Model,
    /// The claim, with every model on it.
    Pvc,
}

impl Word for DeleteCache {
    const ALL: &'static [Self] = &[Self::Model, Self::Pvc];

    fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Pvc => "pvc",
        }
    }
}

/// Why a deployment or its cache stays.
#[derive(Debug, thiserror::Error)]
enum DownError {
    #[error("claim {claim} is mounted by {users}")]
    CacheInUse { claim: String, users: String },
    #[error("which claim holds the model of {name} is not known: this program did not make it, or not yet")]
    CacheUnknown { name: String },
    #[error("{} s were not enough for everything to go", .0.as_secs())]
    NotInTime(Duration),
}

impl Explain for DownError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::CacheInUse { .. } | Self::CacheUnknown { .. } => "KD0414",
            Self::NotInTime(_) => "KD0209",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::CacheInUse { .. } => {
                "end those first, or leave --delete-cache out: nothing is deleted yet".into()
            }
            Self::CacheUnknown { .. } => {
                "leave --delete-cache out; then delete the claim: kubectl delete pvc".into()
            }
            Self::NotInTime(_) => {
                "see what holds it: kubectl get pods; or give it longer with --timeout".into()
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::CacheInUse { .. } | Self::CacheUnknown { .. } => Exit::Model,
            Self::NotInTime(_) => Exit::NotReadyInTime,
        }
    }
}

pub(super) async fn run(args: DownArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::down(&args.names, args.all, context).await;
    }
    let names = if args.all { own_deployments(context).await? } else { args.names.clone() };
    let question = format!(
        "Delete {}{}?",
        names.join(", "),
        if args.delete_cache.is_some() { " and the cache" } else { "" }
    );
    if names.is_empty() || !(args.yes || confirm(&question)?) {
        context.report.detail("nothing is deleted");
        return Ok(Exit::Ok);
    }
    let deleting = async {
        for name in &names {
            delete(name, &names, &args, context).await?;
        }
        Ok(Exit::Ok)
    };
    tokio::time::timeout(args.timeout, deleting)
        .await
        .unwrap_or_else(|_| Err(DownError::NotInTime(args.timeout).into()))
}

async fn own_deployments(context: &Context) -> Result<Vec<String>> {
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let graphs =
        cluster.list(Kind::Graph(platform.graph_api), &format!("{MANAGED_BY}={MANAGER}"), false).await?;
    Ok(graphs.iter().map(|graph| summary(graph).name).collect())
}

async fn delete(name: &str, names: &[String], args: &DownArgs, context: &Context) -> Result<()> {
    let Sought { cluster, platform, graph } = frontend::look(name, context).await?;
    let jobs = frontend::fetch_jobs(&cluster, name).await?;
    // An `up` that was left during the download has a Job and no graph yet.
    if graph.is_none() && jobs.is_empty() {
        return Err(frontend::absent(&cluster, &platform, name).into());
    }
    let intent = graph.as_ref().and_then(summary::intent);
    let claim = intent.as_ref().map(|intent| intent.cache.claim().to_owned());
    if args.delete_cache.is_some() {
        let claim = claim.as_ref().ok_or_else(|| DownError::CacheUnknown { name: name.into() })?;
        refuse_while_used(&cluster, claim, names).await?;
    }
    if graph.is_some() {
        cluster.delete(Kind::Graph(platform.graph_api), name).await?;
        context.report.done(Stage::Deploy, format!("dynamographdeployment/{name} deleted"));
    }
    for job in &jobs {
        delete_job(&cluster, &platform, job, context).await?;
    }
    if args.wait || args.delete_cache.is_some() {
        wait_until_gone(&cluster, &platform, name, context).await?;
    }
    match (args.delete_cache, intent, claim) {
        (Some(DeleteCache::Pvc), _, Some(claim)) => {
            cluster.delete(Kind::Claim, &claim).await?;
            context.report.done(Stage::Objects, format!("pvc/{claim} deleted, with every model on it"));
        }
        (Some(DeleteCache::Model), Some(intent), _) => {
            if let Some(job) = removal_job(&intent, &cluster.namespace) {
                remove_model(&cluster, job, context).await?;
            }
        }
        (_, _, Some(claim)) => context.report.detail(format!("pvc/{claim} stays, and the models on it")),
        (_, _, None) => {}
    }
    Ok(())
}

/// Deletes a fetch Job unless another deployment serves the model it fetched: that one shares it.
async fn delete_job(cluster: &Cluster, platform: &Platform, job: &Value, context: &Context) -> Result<()> {
    let name = job["metadata"]["name"].as_str().unwrap_or_default();
    let graphs = cluster.list(Kind::Graph(platform.graph_api), "", false).await?;
    let model = job["metadata"]["annotations"][MODEL_ANNOTATION].as_str().unwrap_or_default();
    let shares = |graph: &Value| {
        graph["metadata"]["deletionTimestamp"].is_null()
            && summary::intent(graph)
                .is_some_and(|intent| model.starts_with(&format!("{}@", intent.model.repository())))
    };
    if graphs.iter().any(shares) {
        context.report.detail(format!("job/{name} stays: another deployment serves its model"));
        return Ok(());
    }
    cluster.delete(Kind::Job, name).await?;
    context.report.done(Stage::ModelFetch, format!("job/{name} deleted"));
    Ok(())
}

/// Only a pod can reach the volume, so a Job removes the folder, and then goes itself.
async fn remove_model(cluster: &Cluster, job: Resource, context: &Context) -> Result<()> {
    let name = job.name().to_owned();
    let change = Change { resource: job, outcome: Outcome::Created, live: None };
    cluster.apply(&change, false).await?;
    let removed = fetch::wait(cluster, &name, &context.report).await;
    cluster.delete(Kind::Job, &name).await?;
    removed
}

/// Other deployments and other pods count; pods of the deployments that go do not.
async fn refuse_while_used(cluster: &Cluster, claim: &str, names: &[String]) -> Result<()> {
    let pods = cluster.list(Kind::Pod, "", false).await?;
    let users: Vec<&str> = pods
        .iter()
        .filter(|pod| mounts(pod, claim))
        .filter(|pod| !names.iter().any(|name| pod["metadata"]["labels"][GRAPH_LABEL] == name.as_str()))
        .filter(|pod| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")))
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .collect();
    if users.is_empty() {
        return Ok(());
    }
    Err(DownError::CacheInUse { claim: claim.into(), users: users.join(", ") }.into())
}

fn mounts(pod: &Value, claim: &str) -> bool {
    pod["spec"]["volumes"].as_array().is_some_and(|volumes| {
        volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
    })
}

/// Waits for the graph and its pods: the graph goes when the operator has let it go, and its pods still answer for
/// a moment after that.
async fn wait_until_gone(
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    context: &Context,
) -> Result<()> {
    let mut events = cluster.watch(&[
        Watched::named(Kind::Graph(platform.graph_api), name),
        Watched::labelled(Kind::Pod, format!("{GRAPH_LABEL}={name}")),
    ]);
    let object_name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut left: BTreeMap<bool, BTreeSet<String>> = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Seen::All(kind, all) => {
                left.insert(kind == Kind::Pod, all.iter().map(object_name).collect());
            }
            Seen::Now(kind, one) => {
                left.entry(kind == Kind::Pod).or_default().insert(object_name(&one));
            }
            Seen::Gone(kind, one) => {
                left.entry(kind == Kind::Pod).or_default().remove(&object_name(&one));
            }
            Seen::Trouble(_, error) if !error.may_pass() => return Err(error.into()),
            Seen::Trouble(..) => continue,
        }
        // Both have been listed once, and nothing is left of either.
        if left.len() == 2 && left.values().all(BTreeSet::is_empty) {
            return Ok(());
        }
        let names: Vec<&str> = left.values().flatten().map(String::as_str).collect();
        context.report.waiting(Stage::Deploy, format!("{} to end", names.join(", ")));
    }
    Ok(())
}
