//! `cache pull`: the claim and the fetch Job that `up` would make, and nothing else; followed to its end.

use std::time::Duration;

use clap::Args;

use super::error::CacheError;
use super::target::ModelArgs;
use crate::cluster::Cluster;
use crate::commands::interruption::unless_left;
use crate::commands::up::fetch;
use crate::commands::{Context, deployment, kube_flags};
use crate::error::{Exit, Result};
use crate::report::Stage;

/// Fetch a model onto a claim ahead of `up`, which then finds it there
#[derive(Args)]
pub(in crate::commands) struct PullArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Return when the Job is made, and leave it running
    #[arg(long)]
    pub detach: bool,
    /// Longest time to wait; the download goes on after it
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = kube_flags::duration)]
    pub timeout: Duration,
}

pub(super) async fn run(args: PullArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let PullArgs { model, detach, timeout } = args;
    let asked = model.asked()?;
    let cluster = context.cluster().await?;
    let deployment = deployment::to_fetch(&asked, &cluster).await?;
    let plan = deployment.plan.as_ref().expect("a request has a plan");
    let (model, claim) = (plan.intent.model.to_string(), plan.intent.cache.claim().to_owned());
    for warning in &deployment.warnings {
        context.report.warn(Some("KD0416"), warning, None);
    }
    let changes = cluster.compare(&deployment.resources, false).await?;
    let Some(job) = changes.iter().find(|change| change.resource.kind() == "Job") else {
        return Err(CacheError::BindsLate { model, claim }.into());
    };
    let mut written = Vec::new();
    for change in &changes {
        cluster.apply(change, false).await?;
        written.push(format!("{} {}", change.resource, change.outcome));
    }
    context.report.done(Stage::Objects, written.join(" · "));
    let next = |words: &str| {
        format!("  {words:<9} kubectl dynamo up {model} --cache {claim} -n {}", cluster.namespace)
    };
    if detach {
        context.report.closing(vec![next("then")]);
        return Ok(Exit::Ok);
    }
    let following = tokio::time::timeout(timeout, follow(&cluster, job.resource.name(), context));
    match unless_left(following).await {
        None => Ok(goes_on(&model, context, Exit::Interrupted)),
        Some(Err(_)) => Ok(goes_on(&model, context, Exit::NotReadyInTime)),
        Some(Ok(ended)) => {
            ended?;
            context.report.closing(vec![next("serve it")]);
            Ok(Exit::Ok)
        }
    }
}

async fn follow(cluster: &Cluster, job: &str, context: &Context) -> Result<()> {
    fetch::wait(cluster, job, Stage::ModelFetch, &context.report).await
}

fn goes_on(model: &str, context: &Context, exit: Exit) -> Exit {
    context
        .report
        .closing(vec![format!("the download of {model} goes on; the same command follows it again")]);
    exit
}
