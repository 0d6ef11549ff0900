//! `cache rm` and `cache prune`: models go from their claims, never under somebody's feet. Their fetch Jobs go with
//! them, so that the next `up` fetches anew.

use std::time::Duration;

use clap::Args;

use super::error::CacheError;
use super::known::{self, KnownModel, Sight};
use super::target::{ModelArgs, Target, find_model, of_known};
use crate::cluster::{Cluster, Kind};
use crate::commands::confirm::{self, confirm};
use crate::commands::model_volumes::{self, JobOfModel};
use crate::commands::{Context, kube_flags, print_data};
use crate::error::{Exit, Result};
use crate::report::Stage;

/// Remove a model from its claim; refused while something uses it
#[derive(Args)]
pub(in crate::commands) struct RmArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kube_flags::duration)]
    pub timeout: Duration,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Remove the known models that nothing uses, after asking
#[derive(Args)]
pub(in crate::commands) struct PruneArgs {
    /// Only list them
    #[arg(long)]
    pub dry_run: bool,
    /// Longest time to wait for each
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kube_flags::duration)]
    pub timeout: Duration,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn rm(args: RmArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    if !args.yes {
        confirm::somebody()?;
    }
    let cluster = context.cluster().await?;
    let target = find_model(args.model, &cluster, Sight::Whole).await?;
    refuse_while_used(&target, &cluster)?;
    let question = format!("Remove {} from pvc/{}?", target.model(), target.claim());
    if !(args.yes || confirm(&question)?) {
        context.report.detail("nothing is removed");
        return Ok(Exit::Ok);
    }
    remove(&target, &cluster, args.timeout, context).await
}

pub(super) async fn prune(args: &PruneArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    if !args.yes && !args.dry_run {
        confirm::somebody()?;
    }
    let cluster = context.cluster().await?;
    let known = known::gather(&cluster, false, Sight::Whole).await?;
    let idle: Vec<KnownModel> = known.models.iter().filter(|one| one.users.is_empty()).cloned().collect();
    if idle.is_empty() {
        context.report.detail("every model that is known is used");
        return Ok(Exit::Ok);
    }
    for one in &idle {
        print_data(&format!("{} on pvc/{}{}\n", one.name(), one.claim, size(one)))?;
    }
    if args.dry_run || !(args.yes || confirm(&format!("Remove {}?", models(idle.len())))?) {
        context.report.detail("nothing is removed");
        return Ok(Exit::Ok);
    }
    let mut worst = Exit::Ok;
    for one in &idle {
        // The one before took a while, in which somebody may have begun to use this one.
        let target = of_known(one, &cluster, known::gather(&cluster, false, Sight::Whole).await?)?;
        refuse_while_used(&target, &cluster)?;
        let exit = remove(&target, &cluster, args.timeout, context).await?;
        worst = if exit == Exit::Ok { worst } else { exit };
    }
    Ok(worst)
}

fn models(count: usize) -> String {
    if count == 1 { "this model".into() } else { format!("these {count} models") }
}

fn size(one: &KnownModel) -> String {
    one.fetched.as_ref().map(|fetched| format!(", {}", fetched.size)).unwrap_or_default()
}

fn refuse_while_used(target: &Target, cluster: &Cluster) -> Result<()> {
    let (model, claim) = (target.intent.model.repository(), target.claim());
    let users = target.known.users_of_model(&cluster.namespace, claim, model);
    if users.is_empty() {
        return Ok(());
    }
    Err(CacheError::InUse { model: target.model(), claim: claim.into(), users: users.join(", ") }.into())
}

async fn remove(target: &Target, cluster: &Cluster, timeout: Duration, context: &Context) -> Result<Exit> {
    let (model, claim) = (target.model(), target.claim());
    for job in target.models.iter().flat_map(|one| &one.jobs) {
        cluster.delete(Kind::Job, job).await?;
        context.report.done(Stage::ModelFetch, format!("job/{job} deleted"));
    }
    let work = model_volumes::run(cluster, &target.intent, JobOfModel::Remove, &context.report);
    let said = match tokio::time::timeout(timeout, work).await {
        Ok(said) => said?,
        Err(_) => {
            context.report.closing(vec!["the removal goes on; the same command follows it again".into()]);
            return Ok(Exit::NotReadyInTime);
        }
    };
    model_volumes::refuse_failure(said, &target.intent)?;
    context.report.done(Stage::ModelCache, format!("{model} is removed from pvc/{claim}"));
    Ok(Exit::Ok)
}
