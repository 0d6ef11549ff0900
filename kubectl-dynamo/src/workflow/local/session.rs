//! Follows a deployment that this command started: until it answers, then until it stops. It reports exits
//! and logs and stops all processes at the end, except with `--detach`.

use std::fs::File;
use std::path::PathBuf;

use crate::local::launch::SupervisorHandle;
use crate::local::logs::{self, LogFollower};
use crate::local::state::{self, LocalDeploymentSpec};
use crate::local::supervisor::SupervisorEvent;
use crate::local::{LocalError, LocalEvent, readiness};
use crate::render::local::closing_lines;
use crate::report::{Event, Report, Stage};
use crate::signals::ShutdownSignals;
use crate::smoke_test;
use crate::workflow::probes::{self, ProbeTarget};
use crate::workflow::rollout::{FinalTest, WaitOptions};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Exit, Result};

/// Number of log lines that are shown when a process exits unexpectedly.
const TAIL_LINES: usize = 20;

/// A deployment whose supervisor this command started.
pub(crate) struct LocalSession<'a> {
    pub(crate) supervisor: SupervisorHandle,
    pub(crate) deployment: LocalDeploymentSpec,
    pub(crate) folder: PathBuf,
    pub(crate) report: &'a Report,
    pub(crate) show_logs: bool,
}

/// Why the session ended.
enum ExitReason {
    /// Ctrl-C, SIGTERM, or a closed terminal.
    Interrupted,
    /// `down` in another terminal.
    StoppedElsewhere,
}

impl LocalSession<'_> {
    /// Waits until the deployment answers. Then it returns (`--detach`) or waits until the deployment stops.
    /// `lock` prevents other starts with this name until then.
    pub(crate) async fn run_until_stopped(
        mut self,
        interrupts: &mut ShutdownSignals,
        lock: File,
        options: WaitOptions,
    ) -> Result<Exit> {
        let log_files = self.log_files();
        let mut follower = LogFollower::from_start(log_files);
        let (report, show_logs) = (self.report, self.show_logs);
        let logs = async {
            if show_logs {
                follower.follow(|source, line| report_log_line(report, source, line)).await;
            }
            std::future::pending::<()>().await
        };
        tokio::pin!(logs);
        let run = async {
            self.wait_until_ready(options).await?;
            drop(lock);
            if options.detach {
                return Ok(None);
            }
            report.summary(closing_lines(&self.deployment, Some("Ctrl-C")));
            self.wait_until_stopped().await.map(Some)
        };
        let outcome = tokio::select! {
            outcome = run => outcome,
            () = interrupts.next() => Ok(Some(ExitReason::Interrupted)),
            () = &mut logs => Ok(None),
        };
        self.close(outcome, options, interrupts).await
    }

    /// Leaves a detached deployment running, or stops all its processes and reports the reason.
    /// Further signals do not stop the cleanup.
    async fn close(
        self,
        outcome: Result<Option<ExitReason>>,
        options: WaitOptions,
        interrupts: &mut ShutdownSignals,
    ) -> Result<Exit> {
        let Self { supervisor, deployment, folder, report, .. } = self;
        if options.detach && matches!(outcome, Ok(None)) {
            report.summary(closing_lines(&deployment, None));
            return Ok(Exit::Ok);
        }
        report.waiting(Stage::Ready, "the processes to exit");
        interrupts.ignore_during(supervisor.stop()).await;
        match outcome {
            // Keeps the folder: its logs explain the failure.
            Err(error) => Err(error),
            Ok(reason) => {
                state::remove(&folder)?;
                let (text, exit) = match reason {
                    Some(ExitReason::StoppedElsewhere) => ("was stopped by another command", Exit::Ok),
                    Some(ExitReason::Interrupted) | None => {
                        ("stopped, with all its processes", Exit::Interrupted)
                    }
                };
                report.summary(vec![format!("deployment \"{}\" {text}", deployment.name)]);
                Ok(exit)
            }
        }
    }

    /// Returns when the model is listed, every worker is registered, and a test completion was answered.
    async fn wait_until_ready(&mut self, options: WaitOptions) -> Result<()> {
        let report = self.report;
        let name = self.deployment.name.clone();
        let timed_out_name = name.clone();
        let base_url = self.deployment.base_url();
        let model = self.deployment.intent.served_model_name.clone();
        let groups = self.deployment.intent.topology.groups();
        let workers = groups.iter().map(|(_, group)| group.replicas as usize).sum();
        let answered = async {
            let observer = |progress| report_progress(progress, report);
            readiness::wait_until_registered(&base_url, &model, workers, &observer).await.map_err(
                |error| LocalError::StartFailed {
                    process: "the readiness client".into(),
                    reason: error.to_string(),
                },
            )?;
            report.done(Stage::Ready, format!("model \"{model}\" listed, {workers} workers registered"));
            if options.final_test == FinalTest::None {
                return Ok(());
            }
            report.waiting(Stage::SmokeTest, format!("a completion of model \"{model}\""));
            let completion =
                smoke_test::smoke_test(&base_url, Some(&model), smoke_test::SMOKE_TEST_TIMEOUT).await?;
            report.done(Stage::SmokeTest, completion.statistics());
            if options.final_test == FinalTest::Probes {
                probes::require_passed(&ProbeTarget::find_local(Some(&name))?, report).await?;
            }
            Ok(())
        };
        tokio::select! {
            answered = tokio::time::timeout(options.timeout, answered) => answered.unwrap_or_else(|_| {
                let waits_for = report.last_wait().unwrap_or_default();
                Err(LocalError::ReadyTimeout { name: timed_out_name, seconds: options.timeout.as_secs(), waits_for }.into())
            }),
            error = self.wait_for_process_failure() => Err(error.into()),
        }
    }

    /// Waits for a failure. Until the deployment answers, every process exit is one.
    async fn wait_for_process_failure(&mut self) -> LocalError {
        let name = self.deployment.name.clone();
        loop {
            match self.supervisor.next_event().await {
                Some(SupervisorEvent::Started) => {}
                Some(SupervisorEvent::StartFailed { process, reason }) => {
                    return LocalError::StartFailed { process, reason };
                }
                Some(SupervisorEvent::ProcessExited { process, exit_status: how }) => {
                    let log = self.show_log_tail(&process);
                    return LocalError::ProcessExited { process, exit_status: how, log };
                }
                Some(SupervisorEvent::Stopping) => return LocalError::StoppedByOther { name },
                None => return LocalError::SupervisorExited { name },
            }
        }
    }

    /// Waits until the deployment stops. While it serves, the exit of one of several replicas is only a
    /// warning.
    async fn wait_until_stopped(&mut self) -> Result<ExitReason> {
        let name = self.deployment.name.clone();
        loop {
            match self.supervisor.next_event().await {
                Some(SupervisorEvent::ProcessExited { process, exit_status: how }) => {
                    let log = self.show_log_tail(&process);
                    if !self.has_running_replica(&process) {
                        return Err(
                            LocalError::DeploymentStopped { name, process, exit_status: how, log }.into()
                        );
                    }
                    let hint = format!("see the full log: {}", log.display());
                    self.report.warn(
                        Some(MessageCode::LocalProcessExited),
                        format!("{process} exited ({how})"),
                        Some(hint.into()),
                    );
                }
                Some(SupervisorEvent::Stopping) => return Ok(ExitReason::StoppedElsewhere),
                Some(SupervisorEvent::Started | SupervisorEvent::StartFailed { .. }) => {}
                None => return Err(LocalError::SupervisorExited { name }.into()),
            }
        }
    }

    /// Returns whether another process of the same component is running.
    fn has_running_replica(&self, process: &str) -> bool {
        let processes = self.processes();
        let role = processes.iter().find(|one| one.name == process).map(|one| one.role);
        processes.iter().any(|one| one.name != process && Some(one.role) == role && one.is_alive())
    }

    fn processes(&self) -> Vec<state::RunningProcess> {
        state::read(&self.folder).map(|found| found.processes).unwrap_or_default()
    }

    /// Shows the last lines of a process log, unless `--logs` already showed them, and returns the path of
    /// the log.
    fn show_log_tail(&self, process: &str) -> PathBuf {
        let path = state::log_file(&self.folder, process);
        if !self.show_logs {
            logs::tail(&path, TAIL_LINES).iter().for_each(|line| report_log_line(self.report, process, line));
        }
        path
    }

    fn log_files(&self) -> Vec<(String, PathBuf)> {
        state::logs(&self.folder)
    }
}

fn report_log_line(report: &Report, source: &str, line: &str) {
    report.event(&Event::Log { source: source.into(), line: line.into() });
}

pub(crate) fn report_progress(progress: LocalEvent, report: &Report) {
    match progress {
        LocalEvent::Runtime { waits_for } => report.waiting(Stage::Runtime, waits_for),
        LocalEvent::ModelFetch { done, total, bytes_per_second, note } => {
            let remaining = total.saturating_sub(done);
            let eta_seconds = remaining.checked_div(bytes_per_second);
            let stage = Stage::ModelFetch;
            report.event(&Event::Transfer { stage, done, total, bytes_per_second, eta_seconds, note });
        }
        LocalEvent::ModelFetchWaiting { waits_for } => report.waiting(Stage::ModelFetch, waits_for),
        LocalEvent::Starting { waits_for } => report.waiting(Stage::Ready, waits_for),
        LocalEvent::Warning { text } => report.warn(None, text, None),
    }
}
