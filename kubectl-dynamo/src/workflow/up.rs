//! The steps of `up` on a cluster: plan, check, confirm, apply, wait, and roll back after a failure. Nothing is
//! written before all checks have passed.

use std::cell::{Cell, OnceCell};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::render::deployment::{NextCommand, closing_lines};
use crate::report::{Event, Stage};
use crate::typed_command::{deployment_command, typed};
use crate::workflow::confirm_change::{self, Confirmation};
use crate::workflow::hub_token::{self, TokenInput};
use crate::workflow::interrupt::{self, RolloutPhase};
use crate::workflow::preflight::Preflight;
use crate::workflow::probes;
use crate::workflow::resolve::{self, ResolvedDeployment, TokenSecretCheck};
use crate::workflow::rollback::{self, RollbackOptions};
use crate::workflow::rollout::{DryRun, RolloutWait, WaitOptions};
use crate::workflow::rollout_error::RolloutError;
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::{self, RequestInput, collect_input};
use crate::workflow::superseded_fetch::{self, SupersededFetch};
use crate::workflow::up_outcome::UpOutcome;
use crate::workflow::wait_ready::{self, RolloutTarget};
use crate::workflow::wizard::{self, WizardResult};
use crate::workflow::{failure_report, previous_deployment, revisions, shared_fetch, wait_job};
use kubectl_dynamo_cluster::{ApplyResult, Change, Cluster, ConflictPolicy, Kind, Platform, SendMode};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::TokenSecret;
use kubectl_dynamo_core::readiness::is_terminating;

/// Options of `up` on a cluster.
#[derive(Debug, Clone)]
pub(crate) struct UpOptions {
    pub wait: WaitOptions,
    pub dry_run: DryRun,
    /// Exit with another code if a server dry run finds changes.
    pub fail_on_change: bool,
    /// Only resolve the values.
    pub plan_only: bool,
    pub rollback_on_failure: bool,
    /// Take over fields that another field manager owns.
    pub conflicts: ConflictPolicy,
    pub confirmation: Confirmation,
    /// Preflight check codes to ignore, or "all".
    pub ignore_preflight: Vec<String>,
}

/// The progress of `up`, for timeouts, interrupts, and rollback.
#[derive(Default)]
struct UpState {
    /// The deployment that will be applied; set once it is planned.
    planned: OnceCell<ResolvedDeployment>,
    /// The change of the graph; set once it is applied.
    applied: OnceCell<Change>,
    phase: Cell<RolloutPhase>,
}

/// The result of the preparation.
enum Preparation {
    /// Nothing more to do, such as after a dry run or if only the plan was requested.
    Done(UpOutcome),
    Proceed {
        platform: Platform,
        changes: Vec<Change>,
        superseded: Vec<SupersededFetch>,
    },
}

/// Creates or updates a deployment. Without a target, it starts the wizard on a terminal.
///
/// # Errors
/// A request that cannot be resolved, a failed check, or a deployment that does not serve.
pub(crate) async fn up(
    serving: &mut ServingInput,
    token: TokenInput,
    options: &UpOptions,
    context: &Context,
) -> Result<UpOutcome> {
    hub_token::check_stdin(token, serving.file.as_deref())?;
    let mut input = collect_input(serving)?;
    if input.is_empty_target() && wizard::is_interactive() {
        return up_with_wizard(serving, options, context).await;
    }
    let token = hub_token::read(token, &mut input)?;
    input.check()?;
    let cluster = context.cluster().await?;
    UpOperation { options, input: &input, token, context, cluster: &cluster, state: UpState::default() }
        .run()
        .await
}

/// Runs the wizard, then the request that the user confirmed.
async fn up_with_wizard(
    serving: &mut ServingInput,
    options: &UpOptions,
    context: &Context,
) -> Result<UpOutcome> {
    let cluster = context.cluster().await?;
    match wizard::for_up(serving, context, &cluster).await? {
        WizardResult::Cancelled(exit) => Ok(UpOutcome::Finished(exit)),
        WizardResult::Proceed { token, command, .. } => {
            let mut input = collect_input(serving)?;
            if let (RequestInput::Request(request), Some(_)) = (&mut input, &token) {
                request.layers.push(sources::default_token_secret());
            }
            interrupt::set_rerun_command(&command);
            let state = UpState::default();
            let operation = UpOperation { options, input: &input, token, context, cluster: &cluster, state };
            let outcome = operation.run().await;
            if let Some(purpose) =
                command_purpose(&outcome, operation.state.applied.get().map(|change| change.outcome))
            {
                wizard::report_command(context, purpose, &command);
            }
            outcome
        }
    }
}

/// Returns what the wizard's command is for: it repeats only what was applied. After an interrupt it is already
/// printed.
fn command_purpose(outcome: &Result<UpOutcome>, applied: Option<ApplyResult>) -> Option<&'static str> {
    match outcome {
        Ok(UpOutcome::Finished(Exit::Interrupted)) => None,
        _ if applied.is_some() => Some("again"),
        Err(_) => Some("retry"),
        Ok(_) => Some("deploy"),
    }
}

/// One run of `up`.
struct UpOperation<'a> {
    options: &'a UpOptions,
    input: &'a RequestInput,
    /// The hub token to store in the Secret.
    token: Option<String>,
    context: &'a Context,
    cluster: &'a Cluster,
    state: UpState,
}

impl UpOperation<'_> {
    /// Runs all steps. After a failure, it diagnoses the cause and rolls back if requested.
    async fn run(&self) -> Result<UpOutcome> {
        let Self { options, context, cluster, ref state, .. } = *self;
        cluster.set_outage_tolerance(options.wait.timeout);
        let run = async {
            match self.run_steps().await {
                Err(error) => {
                    let target = state.planned.get().map(RolloutTarget::from_deployment);
                    let error =
                        failure_report::with_diagnosis(error, cluster, target.as_ref(), &context.report)
                            .await;
                    Err(match state.applied.get().filter(|_| options.rollback_on_failure) {
                        Some(change) => {
                            state.phase.set(RolloutPhase::RollingBack);
                            let options =
                                RollbackOptions { wait: options.wait, conflicts: options.conflicts };
                            rollback::roll_back(error, change, options, cluster, &context.report).await
                        }
                        None => error,
                    })
                }
                result => result,
            }
        };
        match interrupt::with_outage_reports(run, &context.report, cluster).await {
            Some(outcome) => outcome,
            None => Ok(UpOutcome::Finished(
                interrupt::report_interrupt(&context.report, cluster, state.planned.get(), state.phase.get())
                    .await,
            )),
        }
    }

    /// Runs all steps: prepare, confirm, apply, and wait.
    async fn run_steps(&self) -> Result<UpOutcome> {
        let Self { options, context, cluster, ref state, .. } = *self;
        let (started, timeout) = (Instant::now(), options.wait.timeout);
        let (platform, changes, superseded) =
            match self.with_deadline(Box::pin(self.prepare()), timeout).await? {
                Preparation::Done(outcome) => return Ok(outcome),
                Preparation::Proceed { platform, changes, superseded } => (platform, changes, superseded),
            };
        let remaining = timeout.saturating_sub(started.elapsed());
        // The prompt does not count against `--timeout`.
        let names_deployment =
            matches!(self.input, RequestInput::Request(layers) if layers.existing_name.is_some());
        if !names_deployment && !confirm_change::confirm_other_model(&changes, options.confirmation, context)?
        {
            return Ok(UpOutcome::Finished(Exit::Ok));
        }
        if !confirm_change::confirm_disruption(&platform, &changes, options.confirmation, context)?
            || !superseded_fetch::confirm_deletion(&superseded, options.confirmation, context)?
        {
            return Ok(UpOutcome::Finished(Exit::Ok));
        }
        let deployment = state.planned.get().expect("the deployment is planned before it is compared");
        self.with_deadline(self.apply_and_wait(deployment, &changes, &superseded), remaining).await?;
        let next = if options.wait.detach { NextCommand::Status } else { NextCommand::Chat };
        context.report.summary(closing_lines(deployment, cluster, next));
        Ok(UpOutcome::Finished(Exit::Ok))
    }

    /// Runs one phase with the remaining time of `--timeout`.
    async fn with_deadline<T>(
        &self,
        step: impl Future<Output = Result<T>>,
        remaining: Duration,
    ) -> Result<T> {
        let Self { options, context, cluster, ref state, .. } = *self;
        let name = || state.planned.get().map_or("the deployment", |planned| &planned.name);
        let timeout_error = || {
            RolloutError::timed_out(name(), state.phase.get(), cluster, options.wait.timeout, &context.report)
        };
        tokio::time::timeout(remaining, step).await.unwrap_or_else(|_| Err(timeout_error().into()))
    }

    /// Plans the deployment, runs the preflight checks, and compares with the cluster. Writes nothing.
    async fn prepare(&self) -> Result<Preparation> {
        let Self { options, input, context, cluster, ref state, .. } = *self;
        let (token, report) = (self.token.as_deref(), &context.report);
        report.waiting(Stage::Preflight, format!("{} to answer", cluster.server));
        let platform = cluster.platform().await?;
        let token_check = TokenSecretCheck::for_token(token);
        let deployment = resolve::resolve_input(input, cluster, &platform, token_check, report).await?;
        if options.plan_only {
            let mut resources = deployment.resources.iter();
            let superseded = match resources.find(|one| one.kind() == "Job") {
                Some(job) => superseded_fetch::find(cluster, &deployment.name, job.name()).await,
                None => Vec::new(),
            };
            let (deployment, namespace) = (Box::new(deployment), cluster.namespace.clone());
            return Ok(Preparation::Done(UpOutcome::Plan { deployment, namespace, superseded }));
        }
        let deployment = state.planned.get_or_init(|| deployment);
        let mut preflight = Preflight::new(cluster, &platform, deployment, &options.ignore_preflight, report);
        if options.dry_run != DryRun::Client {
            preflight.collect().await?;
        }
        report.event(&Event::Plan { lines: preflight.plan_lines() });
        for warning in deployment.plan_warnings() {
            report.warn(Some(warning.code()), warning.to_string(), None);
        }
        for warning in &deployment.warnings {
            report.warn(Some(MessageCode::PvcDiffersFromRequest), warning, None);
        }
        if options.dry_run == DryRun::Client {
            let changes = cluster.dry_run_client(&deployment.resources).await?;
            return Ok(Preparation::Done(UpOutcome::ClientDryRun(changes)));
        }
        preflight.evaluate()?;
        let mut changes = cluster
            .dry_run_with_cache(&deployment.live_objects, &deployment.resources, options.conflicts)
            .await?;
        if options.dry_run == DryRun::None && changes.iter().any(is_terminating_graph) {
            previous_deployment::wait_until_graph_deleted(cluster, &platform, &deployment.name, context)
                .await?;
            changes = cluster.dry_run(&deployment.resources, options.conflicts).await?;
        }
        let mut token_secret = None;
        if let Some((secret, token)) = token_secret_update(deployment, token) {
            let outcome = cluster.put_secret(&secret.name, &secret.key, token, SendMode::DryRun).await?;
            token_secret = Some((format!("secret/{}", secret.name), outcome));
        }
        preflight.evaluate_change(&changes).await?;
        let superseded = superseded_fetch::find_for_changes(cluster, &deployment.name, &changes).await;
        if options.dry_run == DryRun::Server {
            let mut outcomes = changes
                .iter()
                .map(|change| change.outcome)
                .chain(token_secret.iter().map(|(_, outcome)| *outcome));
            let should_fail = options.fail_on_change && outcomes.any(ApplyResult::is_write);
            let exit = if should_fail { Exit::Changes } else { Exit::Ok };
            return Ok(Preparation::Done(UpOutcome::ServerDryRun {
                token_secret,
                changes,
                superseded,
                exit,
            }));
        }
        report.done(Stage::Preflight, preflight.tally());
        Ok(Preparation::Proceed { platform, changes, superseded })
    }

    async fn apply_and_wait(
        &self,
        deployment: &ResolvedDeployment,
        changes: &[Change],
        superseded: &[SupersededFetch],
    ) -> Result<()> {
        let Self { options, context, cluster, ref state, .. } = *self;
        let token = self.token.as_deref();
        let report = &context.report;
        let (graph, prerequisites) =
            changes.split_last().expect("the graph is always the last rendered object");
        if !prerequisites.is_empty() {
            let names: Vec<String> = prerequisites.iter().map(|change| change.resource.to_string()).collect();
            report.waiting(Stage::Apply, format!("{} to apply {}", cluster.server, names.join(", ")));
        }
        superseded_fetch::delete(cluster, &deployment.name, superseded, context).await?;
        let mut outcomes: Vec<ApplyResult> = changes.iter().map(|change| change.outcome).collect();
        let mut written = Vec::new();
        if let Some((secret, token)) = token_secret_update(deployment, token) {
            let outcome = cluster.put_secret(&secret.name, &secret.key, token, SendMode::Write).await?;
            outcomes.push(outcome);
            written.push(format!("secret/{} {outcome}", secret.name));
        }
        for change in prerequisites {
            cluster.apply(change, options.conflicts).await?;
            if change.resource.kind() == "Job" {
                shared_fetch::join(cluster, change, &deployment.name).await?;
            }
            written.push(format!("{} {}", change.resource, change.outcome));
        }
        if !written.is_empty() {
            report.done(Stage::Apply, written.join(" · "));
        }
        let job = prerequisites.iter().find(|change| change.resource.kind() == "Job");
        // An existing graph already holds its GPUs, so only a new one waits for the model.
        if let Some(job) = job.filter(|_| !options.wait.detach && graph.outcome == ApplyResult::Created) {
            report.event(&Event::Hint {
                stage: Stage::ModelFetch,
                next: Some(format!("{:<14} waiting for model fetch", Stage::Deploy.title())),
                on_interrupt: "Ctrl-C leaves the download running; rerun the same command to resume".into(),
            });
            wait_job::wait_for_job(cluster, job.resource.name(), Stage::ModelFetch, report).await?;
        }
        if graph.outcome == ApplyResult::Created {
            previous_deployment::wait_until_children_deleted(cluster, deployment, context).await?;
        }
        report.waiting(Stage::Deploy, format!("{} to apply {}", cluster.server, graph.resource));
        let restarts_before = wait_ready::restart_counts(cluster, &deployment.name).await;
        state.phase.set(RolloutPhase::Sent);
        let written = revisions::write(cluster, graph, options.conflicts).await?;
        let _ = state.applied.set(graph.clone());
        let live = written.record(cluster, "up", report).await;
        report.done(Stage::Deploy, format!("{} {}", graph.resource, graph.outcome));
        if !outcomes.iter().any(|outcome| outcome.is_write()) {
            report.info("unchanged: nothing was written");
        }
        if !options.wait.detach {
            report.event(&Event::Hint {
                stage: Stage::Ready,
                next: None,
                on_interrupt: typed(
                    deployment_command("status", &deployment.name, &cluster.namespace)
                        .after("Ctrl-C stops only the watch; check with: "),
                ),
            });
        }
        let target = RolloutTarget::from_deployment(deployment);
        let rollout = RolloutWait { options: options.wait, target: &target, cluster, report };
        rollout.until_serving(&live, restarts_before).await?;
        probes::test_after_rollout(options.wait, &deployment.name, context).await
    }
}

/// Returns whether the change is about a graph that is being deleted.
fn is_terminating_graph(change: &Change) -> bool {
    let is_graph = matches!(Kind::from_resource(&change.resource), Some(Kind::Graph(_)));
    is_graph && change.live.as_ref().is_some_and(is_terminating)
}

/// Returns the Secret that stores the token of a deployment, with the token.
fn token_secret_update<'a>(
    deployment: &'a ResolvedDeployment,
    token: Option<&'a str>,
) -> Option<(&'a TokenSecret, &'a str)> {
    Some((deployment.plan.as_ref()?.intent.token_secret.as_ref()?, token?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_the_wizard_repeats_only_what_was_applied() {
        for (outcome, is_applied, purpose) in [
            (Ok(UpOutcome::Finished(Exit::Ok)), true, Some("again")),
            (Err(hub_token::TokenInputError::NoToken.into()), false, Some("retry")),
            (Ok(UpOutcome::ClientDryRun(Vec::new())), false, Some("deploy")),
            (Ok(UpOutcome::Finished(Exit::Interrupted)), true, None),
        ] {
            assert_eq!(command_purpose(&outcome, is_applied.then_some(ApplyResult::Created)), purpose);
        }
    }
}
