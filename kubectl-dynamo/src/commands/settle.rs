//! What the verbs share that change a deployment and wait until it serves: `up`, `scale`, `rollout undo` and
//! `rollout restart`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::changes::{self, Answer};
use super::deployment::Deployment;
use super::up::DryRun;
use super::up::deploy::{self, Awaited};
use super::up::error::UpError;
use super::up::leaving::{Stands, this_command};
use super::up::preflight::Preflight;
use super::up::{failed, leaving};
use super::{Context, kube_flags, revisions, summary, words};
use crate::cluster::{Change, Cluster, Outcome, Platform};
use crate::error::{Exit, Result};
use crate::report::{Report, Stage};
use crate::resources::Resource;

/// Whether and how long to wait.
#[derive(Args, Debug, Clone)]
pub(super) struct SettleArgs {
    /// Wait until it answers; this is the default
    #[arg(long, overrides_with = "detach")]
    pub wait: bool,
    /// Do not wait: leave everything running (or coming up) and return
    #[arg(long, overrides_with = "wait")]
    pub detach: bool,
    /// Return when everything reports ready, without asking for a completion
    #[arg(long)]
    pub no_smoke_test: bool,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = kube_flags::duration)]
    pub timeout: Duration,
}

/// How a change is made.
#[derive(Args, Debug, Clone)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    pub settle: SettleArgs,
    /// Only say what would be done
    #[arg(long, value_name = "MODE", value_parser = words::<DryRun>(), default_value = "none")]
    pub dry_run: DryRun,
    /// Take over fields that another manager holds
    #[arg(long)]
    pub force_conflicts: bool,
    /// Begin although the check that says this code fails, or `all`; may be given again
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub ignore_preflight: Vec<String>,
}

impl ChangeArgs {
    /// Whether nothing is to be written.
    pub(super) fn only_says(&self) -> bool {
        self.dry_run != DryRun::None
    }
}

/// Why a change is made, and whether its question is answered already.
pub(super) struct Occasion<'a> {
    pub cause: &'a str,
    pub answer: Answer,
}

/// Says what applying a graph does, asks where that interrupts it, applies it and waits for it.
///
/// # Errors
/// Refusals, and whatever keeps it from serving again.
pub(super) async fn change(
    resource: &Resource,
    occasion: &Occasion<'_>,
    args: &ChangeArgs,
    platform: &Platform,
    cluster: &Cluster,
    context: &Context,
) -> Result<Exit> {
    let (force, settle) = (args.force_conflicts, &args.settle);
    let changes = cluster.compare(std::slice::from_ref(resource), force).await?;
    let Some(graph) = changes.first() else { return Ok(Exit::Ok) };
    if args.only_says() {
        return say(graph, platform);
    }
    let objects = vec![graph.resource.clone()];
    let deployment = Deployment::of_objects(graph.resource.name(), platform.graph_api, objects, true);
    let ignored = &args.ignore_preflight;
    let mut preflight = Preflight::new(cluster, platform, &deployment, ignored, &context.report);
    preflight.judge_change(&changes).await?;
    if !changes::accepted(cluster, platform, &changes, occasion.answer, context).await? {
        return Ok(Exit::Ok);
    }
    let awaited = Awaited::graph(&graph.resource.object, platform.graph_api);
    let stands = Cell::new(Stands::Nothing);
    let story = async {
        let before = deploy::attempts(cluster, &awaited.name).await;
        stands.set(Stands::Applied);
        let live = revisions::apply(cluster, graph, force, occasion.cause, &context.report).await?;
        context.report.done(Stage::Deploy, format!("{} {}", graph.resource, graph.outcome));
        serve_again(&awaited, &live, before, settle, cluster, &context.report).await
    };
    let exit = in_time(story, settle, &awaited, &stands, cluster, context).await?;
    let (name, namespace) = (&awaited.name, &cluster.namespace);
    if exit == Exit::Ok && graph.outcome != Outcome::Unchanged {
        context.report.closing(vec![
            String::new(),
            format!("  in-cluster {}", summary::in_cluster_url(name, namespace)),
            format!("  back       kubectl dynamo rollout undo {name} -n {namespace}"),
        ]);
    }
    Ok(exit)
}

/// What a dry run tells, on stdout.
fn say(change: &Change, platform: &Platform) -> Result<Exit> {
    let mut text = format!("{} {} (server dry run)\n", change.resource, change.outcome);
    for line in changes::effect(change, platform).iter().flat_map(changes::lines) {
        text.push_str(&line);
        text.push('\n');
    }
    changes::left_lines(change).for_each(|line| text.push_str(&format!("  {line}\n")));
    super::print_data(&text)?;
    Ok(Exit::Ok)
}

/// Waits until a graph serves what was applied, unless nobody wants to.
///
/// # Errors
/// Whatever keeps it from serving.
pub(super) async fn serve_again(
    awaited: &Awaited,
    live: &Value,
    attempts_before: BTreeMap<String, u64>,
    settle: &SettleArgs,
    cluster: &Cluster,
    report: &Report,
) -> Result<()> {
    if settle.detach {
        return Ok(());
    }
    let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
    deploy::wait(cluster, awaited, uid, attempts_before, report).await?;
    if !settle.no_smoke_test {
        deploy::smoke_test(cluster, awaited, report).await?;
    }
    Ok(())
}

/// Tells a story within its time: a failure is explained and its evidence kept, Ctrl-C only ends the watching. `stands`
/// is how far the story has come.
///
/// # Errors
/// Those of the story, and that it took too long.
pub(super) async fn in_time(
    story: impl Future<Output = Result<()>>,
    settle: &SettleArgs,
    awaited: &Awaited,
    stands: &Cell<Stands>,
    cluster: &Cluster,
    context: &Context,
) -> Result<Exit> {
    let (name, namespace) = (&awaited.name, &cluster.namespace);
    cluster.wait_while_away(settle.timeout);
    let told = async {
        let outcome = tokio::time::timeout(settle.timeout, story).await;
        let late = || UpError::late(name, stands.get(), cluster, settle.timeout, &context.report);
        match outcome.unwrap_or_else(|_| Err(late().into())) {
            Ok(()) => Ok(Exit::Ok),
            Err(error) => Err(failed::explained(error, cluster, Some(awaited), &context.report).await),
        }
    };
    if let Some(exit) = leaving::told(told, context, cluster).await {
        return exit;
    }
    context.report.closing(match stands.get() {
        Stands::Nothing => vec![format!("{name} is as it was; this continues it: {}", this_command())],
        Stands::Applied | Stands::GoesBack => vec![
            format!("{name} goes on; only the watching ended"),
            format!("  see      kubectl dynamo status {name} -n {namespace}"),
        ],
    });
    Ok(Exit::Interrupted)
}
