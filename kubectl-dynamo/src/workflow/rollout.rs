//! The steps shared by the commands that change a deployment and wait until it serves: `up`, `scale`,
//! `rollout undo`, and `rollout restart`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::context::Context;
use crate::report::{Report, Stage};
use crate::typed_command::{deployment_command, typed};
use crate::workflow::confirm_change::{self, Confirmation};
use crate::workflow::interrupt::{self, RolloutPhase, rerun_command};
use crate::workflow::preflight::Preflight;
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::rollout_error::RolloutError;
use crate::workflow::wait_ready::{self, RolloutTarget};
use crate::workflow::{failure_report, revisions, summary};
use kubectl_dynamo_cluster::{ApplyResult, Change, Cluster, ConflictPolicy, Platform};
use kubectl_dynamo_core::change::GraphChange;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::resources::Resource;

/// Options for waiting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitOptions {
    /// Return after applying, without waiting.
    pub detach: bool,
    pub final_test: FinalTest,
    /// Maximum time to wait.
    pub timeout: Duration,
}

/// What a ready deployment must pass before the command returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinalTest {
    /// Nothing more.
    None,
    /// It must answer a test completion.
    Completion,
    /// It must answer, and pass the probes of `test`.
    Probes,
}

/// Options for a change of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct ChangeOptions {
    pub wait: WaitOptions,
    pub dry_run: DryRun,
    /// Take over fields that another field manager owns.
    pub conflicts: ConflictPolicy,
    /// Preflight check codes to ignore, or "all".
    pub ignore_preflight: Vec<String>,
}

/// Modes of `--dry-run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DryRun {
    None,
    Client,
    Server,
}

impl StringEnum for DryRun {
    const ALL: &'static [Self] = &[Self::None, Self::Client, Self::Server];

    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The recorded cause of a change, and whether the user has already confirmed it.
pub(crate) struct ChangeRequest<'a> {
    pub cause: &'a str,
    pub confirmation: Confirmation,
    pub options: &'a ChangeOptions,
}

/// What a change would do.
pub(crate) struct ChangePreview {
    pub change: Change,
    /// The effect on the pods; `None` if nothing changes or if only the API server could tell.
    pub effect: Option<GraphChange>,
    pub dry_run: DryRun,
}

/// How a change ended.
pub(crate) enum ChangeOutcome {
    /// A dry run; nothing was written.
    Preview(Box<ChangePreview>),
    Finished(Exit),
}

/// A change that the API server and the preflight checks accept.
pub(crate) enum CheckedChange {
    /// A dry run was requested.
    Preview(Box<ChangePreview>),
    Confirmed(Box<Change>),
    /// The user does not want it.
    Declined,
}

/// Checks a change, asks for confirmation if requests would be lost, applies the change, and
/// waits until the deployment serves.
///
/// # Errors
/// Returns an error if the change is rejected or the deployment does not serve again.
pub(crate) async fn apply_and_wait(
    resource: &Resource,
    request: &ChangeRequest<'_>,
    platform: &Platform,
    cluster: &Cluster,
    context: &Context,
) -> Result<ChangeOutcome> {
    let graph = match check(resource, request, platform, cluster, context).await? {
        CheckedChange::Preview(preview) => return Ok(ChangeOutcome::Preview(preview)),
        CheckedChange::Declined => return Ok(ChangeOutcome::Finished(Exit::Ok)),
        CheckedChange::Confirmed(graph) => graph,
    };
    let ChangeOptions { wait, conflicts, .. } = request.options;
    let report = &context.report;
    let target = RolloutTarget::from_graph(&graph.resource.object, platform.graph_api);
    let phase = Cell::new(RolloutPhase::NotSent);
    let rollout_wait = RolloutWait { options: *wait, target: &target, cluster, report };
    let rollout = async {
        let restarts_before = wait_ready::restart_counts(cluster, &target.name).await;
        phase.set(RolloutPhase::Sent);
        let live = revisions::apply(cluster, &graph, *conflicts, request.cause, report).await?;
        report.done(Stage::Deploy, format!("{} {}", graph.resource, graph.outcome));
        rollout_wait.until_serving(&live, restarts_before).await
    };
    let exit = rollout_wait.with_deadline(rollout, &phase).await?;
    if exit == Exit::Ok {
        report_applied(&graph, &target, cluster, report);
    }
    Ok(ChangeOutcome::Finished(exit))
}

/// Checks a change with a server-side dry run and the preflight checks, and asks for confirmation if the
/// deployment will be unavailable. Writes nothing. `--dry-run=client` does not send the object.
///
/// # Errors
/// Returns an error if the change is rejected.
pub(crate) async fn check(
    resource: &Resource,
    request: &ChangeRequest<'_>,
    platform: &Platform,
    cluster: &Cluster,
    context: &Context,
) -> Result<CheckedChange> {
    let ChangeOptions { dry_run, conflicts, ignore_preflight, .. } = request.options;
    let resources = std::slice::from_ref(resource);
    let changes = match dry_run {
        DryRun::Client => cluster.dry_run_client(resources).await?,
        DryRun::Server | DryRun::None => cluster.dry_run(resources, *conflicts).await?,
    };
    let graph = changes.first().expect("one object in, one change out").clone();
    if *dry_run != DryRun::None {
        let effect = confirm_change::effect(&graph, platform);
        let preview = ChangePreview { change: graph, effect, dry_run: *dry_run };
        return Ok(CheckedChange::Preview(Box::new(preview)));
    }
    let objects = vec![graph.resource.clone()];
    let deployment = ResolvedDeployment {
        exists: true,
        ..ResolvedDeployment::from_objects(graph.resource.name(), platform.graph_api, objects)
    };
    let mut preflight = Preflight::new(cluster, platform, &deployment, ignore_preflight, &context.report);
    preflight.collect().await?;
    preflight.evaluate()?;
    preflight.evaluate_change(&changes).await?;
    let is_confirmed = confirm_change::confirm_disruption(platform, &changes, request.confirmation, context)?;
    Ok(if is_confirmed { CheckedChange::Confirmed(Box::new(graph)) } else { CheckedChange::Declined })
}

/// Reports the endpoint and how to undo a change, unless nothing was changed.
pub(crate) fn report_applied(graph: &Change, target: &RolloutTarget, cluster: &Cluster, report: &Report) {
    let (name, namespace) = (&target.name, &cluster.namespace);
    if graph.outcome != ApplyResult::Unchanged {
        report.summary(vec![
            String::new(),
            format!("  in-cluster {}", summary::in_cluster_url(name, namespace)),
            format!("  undo       {}", typed(deployment_command("rollout undo", name, namespace))),
        ]);
    }
}

/// The wait for one deployment.
#[derive(Clone, Copy)]
pub(crate) struct RolloutWait<'a> {
    pub options: WaitOptions,
    pub target: &'a RolloutTarget,
    pub cluster: &'a Cluster,
    pub report: &'a Report,
}

impl RolloutWait<'_> {
    /// Waits until a graph serves the applied spec, unless `--detach` is set.
    ///
    /// # Errors
    /// Returns the reason why the graph does not serve.
    pub(crate) async fn until_serving(
        &self,
        live: &Value,
        restarts_before: BTreeMap<String, u64>,
    ) -> Result<()> {
        let Self { options, target, cluster, report } = *self;
        if options.detach {
            return Ok(());
        }
        let uid = ObjectView::new(live).uid();
        wait_ready::wait_until_ready(cluster, target, uid, restarts_before, report).await?;
        if options.final_test != FinalTest::None {
            wait_ready::smoke_test(cluster, target, report).await?;
        }
        Ok(())
    }

    /// Runs an operation with the `--timeout` of the command. It diagnoses a failure and saves the evidence.
    /// Ctrl-C ends only the watch. `phase` is the progress of the operation.
    ///
    /// # Errors
    /// Returns the error of the operation, or a timeout.
    pub(crate) async fn with_deadline(
        &self,
        operation: impl Future<Output = Result<()>>,
        phase: &Cell<RolloutPhase>,
    ) -> Result<Exit> {
        let Self { options: WaitOptions { timeout, .. }, target, cluster, report } = *self;
        let (name, namespace) = (&target.name, &cluster.namespace);
        cluster.set_outage_tolerance(timeout);
        let run = async {
            let outcome = tokio::time::timeout(timeout, operation).await;
            let timeout_error = || RolloutError::timed_out(name, phase.get(), cluster, timeout, report);
            match outcome.unwrap_or_else(|_| Err(timeout_error().into())) {
                Ok(()) => Ok(Exit::Ok),
                Err(error) => Err(failure_report::with_diagnosis(error, cluster, Some(target), report).await),
            }
        };
        if let Some(exit) = interrupt::with_outage_reports(run, report, cluster).await {
            return exit;
        }
        report.summary(match phase.get() {
            RolloutPhase::NotSent => {
                vec![format!("deployment \"{name}\" is unchanged; resume with: {}", rerun_command())]
            }
            RolloutPhase::Sent | RolloutPhase::RollingBack => vec![
                format!("the rollout of deployment \"{name}\" continues"),
                format!("  see      {}", typed(deployment_command("status", name, namespace))),
            ],
        });
        Ok(Exit::Interrupted)
    }
}
