//! Follows the load of deployments for `top`: scrapes the metrics of their frontends and workers and keeps the connections
//! between two scrapes. It only reads.

mod connections;
mod processes;
pub(crate) mod request_totals;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::workflow::deployments::report_no_deployments;
#[cfg(test)]
pub(crate) use connections::ScrapeError;
pub(crate) use connections::ScrapeProblem;
use connections::{MetricsConnections, ProcessKey};
use kubectl_dynamo_core::error::{Error, Result};
use kubectl_dynamo_core::intent::WorkerRole;
use kubectl_dynamo_core::release::Release;
use kubectl_dynamo_core::top::{
    DeploymentScrape, FrontendMetrics, ScrapedProcess, TopReport, TopTracker, WorkerIdentity, WorkerMetrics,
};
pub(crate) use processes::TopTarget;
use processes::{DeploymentProcesses, ProcessSource};

/// The time that rates cover.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// How long a list of processes is used while all of them answer.
const LIST_LIFETIME: Duration = Duration::from_secs(10);
/// The longest time of one scrape.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(3);

/// The load of one deployment.
pub(crate) struct DeploymentTop {
    pub name: String,
    /// `None` on this machine.
    pub namespace: Option<String>,
    /// The served model; `-` if it is not known.
    pub model: String,
    /// The Dynamo version; `-` if it is not known.
    pub release: String,
    pub report: TopReport,
    /// Why processes did not answer.
    pub problems: Vec<ScrapeProblem>,
}

/// The deployments that `top` follows.
pub(crate) struct TopSession {
    source: ProcessSource,
    connections: MetricsConnections,
    deployments: Vec<DeploymentProcesses>,
    trackers: BTreeMap<ProcessKey, TopTracker>,
    problems: Vec<(ProcessKey, ScrapeProblem)>,
    /// The moment to which times in scrapes refer.
    started: Instant,
    listed: Instant,
}

impl TopSession {
    /// Finds the deployments and scrapes them for the first time.
    ///
    /// # Errors
    /// There is no such deployment, or none of its processes answers.
    pub(crate) async fn open(target: TopTarget, context: &Context) -> Result<Self> {
        let source = ProcessSource::open(target, context).await?;
        let deployments = source.list().await?;
        let now = Instant::now();
        let mut session = Self {
            source,
            connections: MetricsConnections::new()?,
            deployments,
            trackers: BTreeMap::new(),
            problems: Vec::new(),
            started: now,
            listed: now,
        };
        session.scrape().await;
        match session.failure() {
            Some(error) => Err(error),
            None => Ok(session),
        }
    }

    /// The error if no process answers.
    fn failure(&mut self) -> Option<Error> {
        let answers = |tracker: &TopTracker| {
            let load = tracker.report().load;
            load.frontends.answering + load.workers.answering > 0
        };
        if self.trackers.values().any(answers) || self.problems.is_empty() {
            return None;
        }
        Some(self.problems.swap_remove(0).1.error.into())
    }

    /// Scrapes all processes again. The list of processes is read again when it is old, or when a process has not
    /// answered.
    ///
    /// # Errors
    /// The deployments cannot be listed, and the reason will not pass.
    pub(crate) async fn refresh(&mut self) -> Result<()> {
        if self.listed.elapsed() >= LIST_LIFETIME || !self.problems.is_empty() {
            if let Some(deployments) = self.source.list_again().await? {
                self.deployments = deployments;
            }
            self.listed = Instant::now();
        }
        self.scrape().await;
        Ok(())
    }

    /// Reports that there is nothing to follow.
    pub(crate) fn report_no_deployments(&self, context: &Context) {
        if let ProcessSource::Cluster { cluster, scope, .. } = &self.source {
            report_no_deployments(*scope, cluster, context);
        }
    }

    /// The load of each deployment, in the order of the list.
    pub(crate) fn report(&self) -> Vec<DeploymentTop> {
        let report = |deployment: &DeploymentProcesses| {
            let key = deployment.key();
            let problems =
                self.problems.iter().filter(|(of, _)| *of == key).map(|(_, problem)| problem.clone());
            DeploymentTop {
                name: deployment.name.clone(),
                namespace: deployment.namespace.clone(),
                model: deployment.model.clone(),
                release: deployment.version.clone(),
                report: self.trackers.get(&key).map(TopTracker::report).unwrap_or_default(),
                problems: problems.collect(),
            }
        };
        self.deployments.iter().map(report).collect()
    }

    async fn scrape(&mut self) {
        let processes = self.deployments.iter().flat_map(DeploymentProcesses::addresses);
        let mut bodies = self.connections.scrape(processes, SCRAPE_TIMEOUT).await;
        self.problems.clear();
        let mut previous = std::mem::take(&mut self.trackers);
        for deployment in &self.deployments {
            let key = deployment.key();
            let mut scrape = DeploymentScrape::default();
            for process in &deployment.processes {
                let answer = bodies.remove(&process.key(&key));
                let at = answer.as_ref().map_or_else(Instant::now, |answer| answer.at) - self.started;
                let text = match answer.map(|answer| answer.body) {
                    Some(Ok(text)) => Some(text),
                    Some(Err(error)) => {
                        let problem = ScrapeProblem { process: process.worker.name.clone(), error };
                        self.problems.push((key.clone(), problem));
                        None
                    }
                    None => None,
                };
                add_process(&mut scrape, &process.worker, (at, text), deployment.release);
            }
            let mut tracker = previous.remove(&key).unwrap_or_else(|| TopTracker::new(RATE_WINDOW));
            tracker.observe(scrape);
            self.trackers.insert(key, tracker);
        }
    }
}

fn add_process(
    scrape: &mut DeploymentScrape,
    process: &WorkerIdentity,
    (at, text): (Duration, Option<String>),
    release: &Release,
) {
    match process.role {
        WorkerRole::Frontend => scrape.frontends.push(ScrapedProcess {
            identity: process.name.clone(),
            at,
            metrics: text.map(|text| FrontendMetrics::read(&text, release)),
        }),
        _ => scrape.workers.push(ScrapedProcess {
            identity: process.clone(),
            at,
            metrics: text.map(|text| WorkerMetrics::read(&text, release)),
        }),
    }
}
