//! `cache pull`: creates the PVC and the fetch Job that `up` would create, and follows the Job to its end. With
//! `--update`, the Job replaces a complete folder by a newer commit of its branch.
//! It must not create any other object of a deployment.

use std::time::Duration;

use clap::Args;

use super::error::CacheError;
use super::selection::CacheModelArgs;
use crate::context::Context;
use crate::kube_flags;
use crate::report::Stage;
use crate::signals::run_until_signal;
use crate::typed_command::typed;
use crate::workflow::cache_jobs::{PvcUser, PvcUsers};
use crate::workflow::resolve::CompleteFolder;
use crate::workflow::{resolve, wait_job};
use kubectl_dynamo_cluster::{ApplyResult, Cluster, ClusterError, ConflictPolicy, Kind};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::object::ObjectView;

/// Download a model to a PVC before it is deployed with `up`
#[derive(Args)]
pub(in crate::commands) struct CachePullArgs {
    #[command(flatten)]
    pub model: CacheModelArgs,
    /// Ask the hub for a newer commit of the branch, and replace the files of a complete folder by it
    #[arg(long)]
    pub update: bool,
    /// Return after the Job is created, without waiting for the download
    #[arg(long)]
    pub detach: bool,
    /// Maximum time to wait; the download continues after a timeout
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
}

pub(super) async fn run(args: CachePullArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let CachePullArgs { model, update, detach, timeout } = args;
    let layers = model.into_layers()?;
    let cluster = context.cluster().await?;
    let complete_folder = if update { CompleteFolder::Update } else { CompleteFolder::Keep };
    let deployment = resolve::resolve_fetch(&layers, complete_folder, &cluster).await?;
    let plan = deployment.plan.as_ref().expect("a request has a plan");
    let (model, pvc) = (plan.intent.model.to_string(), plan.intent.cache.pvc().to_owned());
    for warning in deployment.plan_warnings() {
        context.report.warn(Some(warning.code()), warning.to_string(), None);
    }
    for warning in &deployment.warnings {
        context.report.warn(Some(MessageCode::PvcDiffersFromRequest), warning, None);
    }
    let mut changes = cluster.dry_run(&deployment.resources, ConflictPolicy::Fail).await?;
    let Some(job) = changes.iter_mut().find(|change| change.resource.kind() == "Job") else {
        return Err(CacheError::PvcNotBound { model, pvc }.into());
    };
    if update {
        let job_name = job.resource.name();
        refuse_while_used(plan.intent.model.repository(), &pvc, job_name, &cluster).await?;
        // An earlier update asked for the newest commit of its time.
        if job.live.as_ref().is_some_and(|live| ObjectView::new(live).condition_is_true("Complete")) {
            job.outcome = ApplyResult::Recreated;
        }
    }
    let job = job.resource.name().to_owned();
    let mut written = Vec::new();
    for change in &changes {
        cluster.apply(change, ConflictPolicy::Fail).await?;
        written.push(format!("{} {}", change.resource, change.outcome));
    }
    context.report.done(Stage::Apply, written.join(" · "));
    let next_command = |label: &str| {
        let up = SuggestedCommand::plugin("up").operand(&model, "MODEL").in_namespace(&cluster.namespace);
        format!("  {label:<9} {}", typed(up.flag("--cache").flag(&pvc)))
    };
    if detach {
        context.report.summary(vec![next_command("next")]);
        return Ok(Exit::Ok);
    }
    let job_end = tokio::time::timeout(timeout, follow_job(&cluster, &job, context));
    match run_until_signal(job_end).await {
        None => Ok(report_continuing(&model, context, Exit::Interrupted)),
        Some(Err(_)) => Ok(report_continuing(&model, context, Exit::NotReadyInTime)),
        Some(Ok(job_result)) => {
            job_result?;
            context.report.summary(vec![next_command("serve")]);
            Ok(Exit::Ok)
        }
    }
}

/// Refuses to replace the files of a model while anything but this Job uses them.
async fn refuse_while_used(model: &str, pvc: &str, job: &str, cluster: &Cluster) -> Result<()> {
    let graphs = match cluster.platform().await {
        Ok(platform) => cluster.list(Kind::Graph(platform.graph_api), "").await?,
        Err(ClusterError::DynamoNotInstalled { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let is_counted = |user: &PvcUser<'_>| user.job != Some(job);
    let users = PvcUsers::collect(cluster, graphs).await?;
    let users = users.names_using_model(&cluster.namespace, pvc, model, &is_counted);
    if users.is_empty() {
        return Ok(());
    }
    Err(CacheError::InUse { model: model.into(), pvc: pvc.into(), users: users.join(", ") }.into())
}

async fn follow_job(cluster: &Cluster, job: &str, context: &Context) -> Result<()> {
    wait_job::wait_for_job(cluster, job, Stage::ModelFetch, &context.report).await
}

fn report_continuing(model: &str, context: &Context, exit: Exit) -> Exit {
    context
        .report
        .summary(vec![format!("the download of {model} continues; rerun the same command to follow it")]);
    exit
}
