//! Runs the probes of `test`: sends few, small requests to a deployment that serves, and lets the core judge the
//! answers. It must not change the deployment.

mod affinity;
mod client;
mod disaggregation;
mod endpoint;
mod failure;
mod kv_offload;
mod metrics;
mod metrics_port;
mod output;
mod prompts;
mod request;
mod routing;
mod target;

use std::time::{Duration, Instant};

use crate::context::Context;
use crate::report::{Report, Stage};
use crate::workflow::rollout::{FinalTest, WaitOptions};
use client::ProbeClient;
use failure::ProbesFailed;
use kubectl_dynamo_core::error::{Exit, Result};
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

/// Runs all probes against a deployment in the cluster if the command should.
///
/// # Errors
/// A probe that fails.
pub(crate) async fn test_after_rollout(options: WaitOptions, name: &str, context: &Context) -> Result<()> {
    if options.final_test != FinalTest::Probes || options.detach {
        return Ok(());
    }
    let target = ProbeTarget::find(&TargetName::Cluster(name.to_owned()), None, context).await?;
    require_passed(&target, &context.report).await
}

/// Runs all probes and reports the findings.
///
/// # Errors
/// A probe that fails.
pub(crate) async fn require_passed(target: &ProbeTarget, report: &Report) -> Result<()> {
    /// The longest time of one request.
    const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
    let options = ProbeOptions { only: Vec::new(), skip: Vec::new(), timeout: REQUEST_TIMEOUT };
    let result = run_probes(target, &options, report).await;
    let failure = ProbesFailed::from_findings(&result.findings);
    if failure.is_none() {
        let counts = FindingCounts::from_findings(&result.findings);
        report.done(Stage::Probes, format!("{counts}; {} requests", result.requests));
    }
    // The error shows the first failure.
    let shown_by_error = failure.as_ref().map(|failure| failure.probe);
    for finding in result.findings.iter().filter(|finding| Some(finding.name) != shown_by_error) {
        match &finding.outcome {
            CheckResult::Passed(text) => report.info(format!("{}: {text}", finding.name)),
            CheckResult::Skipped(_) => {}
            CheckResult::Warning(problem) | CheckResult::Pending(problem) | CheckResult::Failed(problem) => {
                let text = format!("{}: {}", finding.name, problem.text);
                report.warn(Some(problem.code), text, Some(problem.hint.clone()));
            }
        }
    }
    failure.map_or(Ok(()), |failure| Err(failure.into()))
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
        Probe::Disaggregation => disaggregation::probe_disaggregation(client).await,
        Probe::Affinity => affinity::probe_affinity(client).await,
        Probe::KvOffload => kv_offload::probe_kv_offload(client).await,
        Probe::Tools => output::probe_tools(client).await,
        Probe::Reasoning => output::probe_reasoning(client).await,
        Probe::Structured => output::probe_structured(client).await,
        Probe::Metrics => metrics::probe_metrics(client).await,
    }
}
