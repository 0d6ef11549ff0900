//! Handles Ctrl-C and API-server outages while a command waits: reports them and how to resume. It never
//! undoes or deletes anything.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use crate::report::Report;
use crate::signals::run_until_signal;
use crate::typed_command::{deployment_command, typed};
use crate::workflow::resolve::ResolvedDeployment;
use kubectl_dynamo_cluster::{Cluster, Kind};
use kubectl_dynamo_core::command::PROGRAM;
use kubectl_dynamo_core::error::Exit;

/// Timeout of the status query after Ctrl-C.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs an operation and reports API-server outages meanwhile. Returns `None` if the user interrupts it.
pub(crate) fn with_outage_reports<T>(
    operation: impl Future<Output = T>,
    report: &Report,
    cluster: &Cluster,
) -> impl Future<Output = Option<T>> {
    run_until_signal(async {
        tokio::select! {
            result = operation => result,
            never = report_outages(report, cluster) => match never {},
        }
    })
}

/// Reports when the API server is unavailable and when it is available again. Never returns.
async fn report_outages(report: &Report, cluster: &Cluster) -> Infallible {
    let mut outages = cluster.outages();
    while outages.changed().await.is_ok() {
        let why = outages.borrow_and_update().clone();
        let why = why.map(|why| format!("the API server to answer again: {why}"));
        report.outage(why.as_deref());
    }
    std::future::pending().await
}

/// The progress of a graph's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RolloutPhase {
    /// The graph was not sent.
    #[default]
    NotSent,
    /// The graph was sent, and possibly applied.
    Sent,
    /// The update failed, and the previous spec is being applied.
    RollingBack,
}

/// The command with the answers of the wizard.
static WIZARD_COMMAND: OnceLock<String> = OnceLock::new();

/// Sets the command that resumes this process, because its command line does not contain the answers of the wizard.
pub(crate) fn set_rerun_command(command: &str) {
    WIZARD_COMMAND.get_or_init(|| command.to_owned());
}

/// Returns the command that resumes this process, quoted for a shell: its command line, or the command of the wizard.
pub(crate) fn rerun_command() -> String {
    if let Some(command) = WIZARD_COMMAND.get() {
        return command.clone();
    }
    let args = std::env::args_os().skip(1);
    let args: Vec<String> = args.map(|arg| shell_words::quote(&arg.to_string_lossy()).into_owned()).collect();
    [PROGRAM, " ", &args.join(" ")].concat()
}

/// Reports how to resume after Ctrl-C. All state is in the cluster, so interrupting is safe at any moment. A
/// second Ctrl-C, or an API server that does not answer, skips the status query.
pub(crate) async fn report_interrupt(
    report: &Report,
    cluster: &Cluster,
    planned: Option<&ResolvedDeployment>,
    phase: RolloutPhase,
) -> Exit {
    let namespace = &cluster.namespace;
    let exists = async {
        let planned = planned?;
        let kind = Kind::Graph(planned.graph_api);
        let lookup = tokio::time::timeout(STATUS_TIMEOUT, cluster.get(kind, &planned.name));
        run_until_signal(lookup).await?.ok()?.ok().map(|found| found.is_some())
    };
    let exists = exists.await;
    let name = planned.map_or("the deployment", |planned| &planned.name);
    let status_hint = format!("  see      {}", typed(deployment_command("status", name, namespace)));
    let resume_message =
        |state: &str| format!("deployment \"{name}\" {state}; resume with: {}", rerun_command());
    report.summary(match (exists, phase) {
        (Some(true), RolloutPhase::Sent) => {
            vec![format!("the rollout of deployment \"{name}\" continues"), status_hint]
        }
        (Some(true), RolloutPhase::NotSent) => vec![resume_message("is unchanged")],
        (Some(true), RolloutPhase::RollingBack) => {
            let history_hint =
                format!("  history  {}", typed(deployment_command("rollout history", name, namespace)));
            vec![
                format!("interrupted while deployment \"{name}\" was being rolled back"),
                status_hint,
                history_hint,
            ]
        }
        (Some(false), _) if has_fetch_job(planned) => {
            vec![resume_message("is not created yet"), "  a started download continues in its Job".into()]
        }
        (Some(false), _) => vec![resume_message("is not created yet")],
        (None, _) => vec![format!("interrupted; resume with: {}", rerun_command())],
    });
    Exit::Interrupted
}

/// Returns whether a Job fetches the model.
fn has_fetch_job(planned: Option<&ResolvedDeployment>) -> bool {
    planned.is_some_and(|planned| planned.resources.iter().any(|resource| resource.kind() == "Job"))
}
