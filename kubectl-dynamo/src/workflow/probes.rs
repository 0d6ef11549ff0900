//! Runs the probes of `test`: sends few, small requests to a deployment that serves, and lets the core judge the
//! answers. It must not change the deployment.

mod client;
mod endpoint;
mod request;
mod routing;
mod target;

use std::time::{Duration, Instant};

use crate::report::{Report, Stage};
use client::ProbeClient;
use kubectl_dynamo_core::error::Exit;
use kubectl_dynamo_core::finding::{CheckResult, Finding, FindingCounts};
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::probe::{Probe, ProbePlace};
pub(crate) use target::{ProbeTarget, TargetName};

/// Which probes to run, and how long a request may take.
#[derive(Debug, Clone)]
pub(crate) struct ProbeOptions {
    /// Empty for all.
    pub only: Vec<Probe>,
    pub skip: Vec<Probe>,
    /// The longest time of one request.
    pub timeout: Duration,
}

/// The findings of all probes.
pub(crate) struct ProbeReport {
    pub place: ProbePlace,
    pub model: String,
    pub findings: Vec<Finding>,
    pub requests: usize,
    pub elapsed: Duration,
}

impl ProbeReport {
    pub(crate) fn exit(&self) -> Exit {
        match FindingCounts::from_findings(&self.findings).failed {
            0 => Exit::Ok,
            _ => Exit::SmokeTest,
        }
    }
}

/// Runs the selected probes, one after the other.
pub(crate) async fn run_probes(target: &ProbeTarget, options: &ProbeOptions, report: &Report) -> ProbeReport {
    let started = Instant::now();
    let client = ProbeClient::new(target, options.timeout);
    let is_selected = |probe: &Probe| {
        (options.only.is_empty() || options.only.contains(probe)) && !options.skip.contains(probe)
    };
    let mut findings = Vec::new();
    for probe in Probe::ALL.iter().copied().filter(is_selected) {
        report.waiting(Stage::Probes, format!("the answers of probe {}", probe.as_str()));
        findings.push(probe.finding(run_probe(probe, &client).await));
    }
    ProbeReport {
        place: target.subject.place.clone(),
        model: target.subject.model.clone(),
        findings,
        requests: client.sent_requests(),
        elapsed: started.elapsed(),
    }
}

async fn run_probe(probe: Probe, client: &ProbeClient<'_>) -> CheckResult {
    if let Some(reason) = probe.skip_reason(client.subject()) {
        return CheckResult::Skipped(reason);
    }
    match probe {
        Probe::Models => endpoint::probe_models(client).await,
        Probe::Chat | Probe::Completions => endpoint::probe_shape(probe, client).await,
        Probe::Burst => endpoint::probe_burst(client).await,
        Probe::Workers => routing::probe_workers(client).await,
        Probe::KvRouting => routing::probe_kv_routing(client).await,
    }
}
