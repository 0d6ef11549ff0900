//! A started deployment under the eyes of the command that started it: until it answers, then until it ends.

use std::fs::File;
use std::path::PathBuf;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::screen::closing_lines;
use super::up::show;
use crate::commands::up::UpArgs;
use crate::error::{Exit, Result};
use crate::local::launch::Launched;
use crate::local::logs::{self, Followed};
use crate::local::state::{self, Deployment};
use crate::local::supervisor::Notice;
use crate::local::{LocalError, readiness};
use crate::report::{Event, Report, Stage};
use crate::smoke_test;

/// Lines of a log that are shown when its process ended by itself.
const LAST_WORDS: usize = 20;

/// The signals that mean "end".
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Takes the signals over; from now on they end nothing by themselves.
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns at the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A deployment whose supervisor this command has started.
pub(super) struct Serving<'a> {
    pub(super) launched: Launched,
    pub(super) deployment: Deployment,
    pub(super) folder: PathBuf,
    pub(super) report: &'a Report,
    pub(super) show_logs: bool,
}

/// Why the watching is over.
enum Ending {
    /// Ctrl-C, or SIGTERM.
    Interrupted,
    /// `down` in another terminal.
    Elsewhere,
}

impl Serving<'_> {
    /// Waits until it answers; then leaves it (`--detach`) or stays until it is ended.
    /// `lock` keeps other starts of the name away until it answers.
    pub(super) async fn until_ended(
        mut self,
        interrupts: &mut Interrupts,
        lock: File,
        args: &UpArgs,
    ) -> Result<Exit> {
        let all_logs = self.logs();
        let mut followed = Followed::from_start(all_logs);
        let (report, show_logs) = (self.report, self.show_logs);
        let logs = async {
            if show_logs {
                followed.follow(|source, line| log(report, source, line)).await;
            }
            std::future::pending::<()>().await
        };
        tokio::pin!(logs);
        let story = async {
            self.until_it_answers(args).await?;
            drop(lock);
            if args.settle.detach {
                return Ok(None);
            }
            report.closing(closing_lines(&self.deployment, Some("Ctrl-C")));
            self.until_it_ends().await.map(Some)
        };
        let outcome = tokio::select! {
            outcome = story => outcome,
            () = interrupts.next() => Ok(Some(Ending::Interrupted)),
            () = &mut logs => Ok(None),
        };
        self.close(outcome, args.settle.detach).await
    }

    /// Leaves what serves, or ends all of it and says how it came to that.
    async fn close(self, outcome: Result<Option<Ending>>, detach: bool) -> Result<Exit> {
        let Self { launched, deployment, folder, report, .. } = self;
        if detach && matches!(outcome, Ok(None)) {
            report.closing(closing_lines(&deployment, None));
            return Ok(Exit::Ok);
        }
        report.waiting(Stage::Ready, "the processes to end");
        launched.end().await;
        match outcome {
            // The logs are what a person looks at next.
            Err(error) => Err(error),
            Ok(ending) => {
                state::forget(&folder)?;
                let (words, exit) = match ending {
                    Some(Ending::Elsewhere) => ("is ended by another command", Exit::Ok),
                    Some(Ending::Interrupted) | None => {
                        ("is ended, with all its processes", Exit::Interrupted)
                    }
                };
                report.closing(vec![format!("{} {words}", deployment.name)]);
                Ok(exit)
            }
        }
    }

    /// Returns when the model is listed, every worker is registered and a completion was answered.
    async fn until_it_answers(&mut self, args: &UpArgs) -> Result<()> {
        let report = self.report;
        let name = self.deployment.name.clone();
        let base_url = self.deployment.base_url();
        let model = self.deployment.intent.served_model_name.clone();
        let groups = self.deployment.intent.topology.groups();
        let workers = groups.iter().map(|(_, group)| group.replicas as usize).sum();
        let answered = async {
            let observer = |progress| show(progress, report);
            readiness::until_registered(&base_url, &model, workers, &observer).await.map_err(|error| {
                LocalError::NotStarted { process: "the client".into(), reason: error.to_string() }
            })?;
            report.done(Stage::Ready, format!("{model} is listed, workers registered: {workers}"));
            if args.settle.no_smoke_test {
                return Ok(());
            }
            report.waiting(Stage::SmokeTest, format!("a completion of {model}"));
            let answer = smoke_test::smoke_test(&base_url, Some(&model), smoke_test::PATIENCE).await?;
            report.done(Stage::SmokeTest, answer.statistics());
            Ok(())
        };
        tokio::select! {
            answered = tokio::time::timeout(args.settle.timeout, answered) => answered.unwrap_or_else(|_| {
                let waits_for = report.last_wait().unwrap_or_default();
                Err(LocalError::NotReadyInTime { name, seconds: args.settle.timeout.as_secs(), waits_for }.into())
            }),
            error = self.until_something_ends() => Err(error.into()),
        }
    }

    /// Before it answers, every end of a process is a failure.
    async fn until_something_ends(&mut self) -> LocalError {
        let name = self.deployment.name.clone();
        loop {
            match self.launched.next_notice().await {
                Some(Notice::Started) => {}
                Some(Notice::NotStarted { process, reason }) => {
                    return LocalError::NotStarted { process, reason };
                }
                Some(Notice::Ended { process, how }) => {
                    let log = self.last_words(&process);
                    return LocalError::ProcessEnded { process, how, log };
                }
                Some(Notice::Ending) => return LocalError::EndedElsewhere { name },
                None => return LocalError::SupervisorGone { name },
            }
        }
    }

    /// While it serves, the end of one of several replicas is only worth a warning.
    async fn until_it_ends(&mut self) -> Result<Ending> {
        let name = self.deployment.name.clone();
        loop {
            match self.launched.next_notice().await {
                Some(Notice::Ended { process, how }) => {
                    let log = self.last_words(&process);
                    if !self.another_like(&process) {
                        return Err(LocalError::ServingEnded { name, process, how, log }.into());
                    }
                    let hint = format!("the whole log is {}", log.display());
                    self.report.warn(Some("KD0517"), format!("{process} ended ({how})"), Some(hint));
                }
                Some(Notice::Ending) => return Ok(Ending::Elsewhere),
                Some(Notice::Started | Notice::NotStarted { .. }) => {}
                None => return Err(LocalError::SupervisorGone { name }.into()),
            }
        }
    }

    /// Whether another process of the same component still runs.
    fn another_like(&self, process: &str) -> bool {
        let processes = self.processes();
        let role = processes.iter().find(|one| one.name == process).map(|one| one.role);
        processes.iter().any(|one| one.name != process && Some(one.role) == role && one.is_alive())
    }

    fn processes(&self) -> Vec<state::RunningProcess> {
        state::read(&self.folder).map(|found| found.processes).unwrap_or_default()
    }

    /// Shows the end of a process's log, unless all of it was shown; says where it is.
    fn last_words(&self, process: &str) -> PathBuf {
        let path = state::log_file(&self.folder, process);
        if !self.show_logs {
            logs::tail(&path, LAST_WORDS).iter().for_each(|line| log(self.report, process, line));
        }
        path
    }

    fn logs(&self) -> Vec<(String, PathBuf)> {
        state::logs(&self.folder)
    }
}

fn log(report: &Report, source: &str, line: &str) {
    report.event(&Event::Log { source: source.into(), line: line.into() });
}
