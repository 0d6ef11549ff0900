//! `cache rm` and `cache prune`: remove models from their PVCs, together with their fetch Jobs, so that the
//! next `up` fetches the model again. A model that is in use must not be removed.

use std::time::Duration;

use clap::Args;

use super::error::CacheError;
use super::inventory::{self, CachedModel, PermissionPolicy};
use super::selection::{CacheModelArgs, CacheTarget, find_model, select_cached};
use crate::context::Context;
use crate::kube_flags;
use crate::output::print_data;
use crate::report::Stage;
use crate::workflow::cache_jobs::{self, ModelJobAction};
use crate::workflow::confirm::{self, confirm};
use kubectl_dynamo_cluster::{Cluster, Kind, NamespaceScope};
use kubectl_dynamo_core::error::{Exit, Result};

/// Remove a model from its PVC (refused while it is in use)
#[derive(Args)]
pub(in crate::commands) struct CacheRmArgs {
    #[command(flatten)]
    pub model: CacheModelArgs,
    /// Maximum time to wait
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

/// Remove all models that `cache list` shows and that are not in use
#[derive(Args)]
pub(in crate::commands) struct CachePruneArgs {
    /// List the models without removing them
    #[arg(long)]
    pub dry_run: bool,
    /// Maximum time to wait for each model
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn rm(args: CacheRmArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    if !args.yes {
        confirm::require_interactive()?;
    }
    let cluster = context.cluster().await?;
    let target = find_model(args.model, &cluster, PermissionPolicy::Required).await?;
    refuse_while_used(&target, &cluster)?;
    let question = format!("Remove {} from pvc/{}?", target.model(), target.pvc());
    if !(args.yes || confirm(&question, context)?) {
        context.report.info("nothing was removed");
        return Ok(Exit::Ok);
    }
    remove(&target, &cluster, args.timeout, context).await
}

pub(super) async fn prune(args: &CachePruneArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    if !args.yes && !args.dry_run {
        confirm::require_interactive()?;
    }
    let cluster = context.cluster().await?;
    let inventory =
        inventory::gather(&cluster, NamespaceScope::OneNamespace, PermissionPolicy::Required).await?;
    let idle: Vec<CachedModel> =
        inventory.models.iter().filter(|one| one.users.is_empty()).cloned().collect();
    if idle.is_empty() {
        context.report.info("no unused models found");
        return Ok(Exit::Ok);
    }
    for one in &idle {
        print_data(&format!("{} on pvc/{}{}\n", one.name(), one.pvc, size_suffix(one)))?;
    }
    if args.dry_run || !(args.yes || confirm(&format!("Remove {}?", models_text(idle.len())), context)?) {
        context.report.info("nothing was removed");
        return Ok(Exit::Ok);
    }
    let mut exit_code = Exit::Ok;
    for one in &idle {
        // The previous removal took time, and another workload may have started to use this model.
        let target = select_cached(
            one,
            &cluster,
            inventory::gather(&cluster, NamespaceScope::OneNamespace, PermissionPolicy::Required).await?,
        )?;
        refuse_while_used(&target, &cluster)?;
        let exit = remove(&target, &cluster, args.timeout, context).await?;
        exit_code = if exit == Exit::Ok { exit_code } else { exit };
    }
    Ok(exit_code)
}

fn models_text(count: usize) -> String {
    if count == 1 { "this model".into() } else { format!("these {count} models") }
}

fn size_suffix(one: &CachedModel) -> String {
    one.fetch_summary.as_ref().map(|fetch_summary| format!(", {}", fetch_summary.size)).unwrap_or_default()
}

fn refuse_while_used(target: &CacheTarget, cluster: &Cluster) -> Result<()> {
    let (model, pvc) = (target.intent.model.repository(), target.pvc());
    let users = target.inventory.model_users(&cluster.namespace, pvc, model);
    if users.is_empty() {
        return Ok(());
    }
    Err(CacheError::InUse { model: target.model(), pvc: pvc.into(), users: users.join(", ") }.into())
}

async fn remove(
    target: &CacheTarget,
    cluster: &Cluster,
    timeout: Duration,
    context: &Context,
) -> Result<Exit> {
    let (model, pvc) = (target.model(), target.pvc());
    for job in target.models.iter().flat_map(|one| &one.jobs) {
        cluster.delete(Kind::Job, job).await?;
        context.report.done(Stage::ModelFetch, format!("job/{job} deleted"));
    }
    let removal = cache_jobs::run_cache_job(cluster, &target.intent, ModelJobAction::Remove, &context.report);
    let termination = match tokio::time::timeout(timeout, removal).await {
        Ok(termination) => termination?,
        Err(_) => {
            context.report.summary(vec!["the removal continues; rerun the same command to follow it".into()]);
            return Ok(Exit::NotReadyInTime);
        }
    };
    cache_jobs::check_fetcher_result(termination, &target.intent)?;
    context.report.done(Stage::ModelCache, format!("{model} removed from pvc/{pvc}"));
    Ok(Exit::Ok)
}
