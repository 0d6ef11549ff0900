//! Sends requests through a gateway to one deployment and observes whether they arrive: the headers of the answers, and
//! the counters of the deployment's frontends before and after.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::proxy::{GatewayProxy, completion_body};
use crate::chat::Endpoint;
use crate::report::{Report, Stage};
use crate::workflow::probes::ProbeTarget;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Exit, Explain};
use kubectl_dynamo_core::finding::{CheckProblem, CheckResult, Finding};
use kubectl_dynamo_core::gateway::{
    RequestKind, RouteChoice, RoutedDeployment, RoutedRequest, choose_route, compromised_version_hint,
    gateway_finding, is_compromised, judge_request,
};
use kubectl_dynamo_core::probe::AnswerFailure;
use kubectl_dynamo_core::prometheus::MetricSamples;

/// How long a frontend may take to export its metrics.
const METRICS_TIMEOUT: Duration = Duration::from_secs(3);
/// A frontend counts a request when it has sent the answer, which can be after it was read.
const COUNT_ATTEMPTS: u32 = 20;
const COUNT_INTERVAL: Duration = Duration::from_millis(50);

/// What is tested.
pub(crate) struct RouteTest<'a> {
    pub proxy: &'a GatewayProxy,
    pub deployment: &'a RoutedDeployment,
    pub target: &'a ProbeTarget,
    /// The name of the entry; `None` to find it.
    pub model_name: Option<&'a str>,
    pub timeout: Duration,
}

impl RouteTest<'_> {
    /// Runs all checks. One that cannot run because of an earlier failure is skipped.
    pub(crate) async fn run(&self, report: &Report) -> Vec<Finding> {
        report.waiting(Stage::Probes, format!("the entries of {}", self.proxy.url));
        let entries = match self.proxy.entries().await {
            Ok(entries) => entries,
            Err(error) => return self.all_skipped("access", access_failure(&error)),
        };
        let count = match entries.len() {
            1 => "1 entry".to_owned(),
            count => format!("{count} entries"),
        };
        let text = format!("{} lists {count}", self.proxy.url);
        let mut findings = vec![gateway_finding("access", CheckResult::Passed(text))];
        let choice = match choose_route(&entries, self.deployment, self.model_name) {
            Ok(choice) => choice,
            Err(failure) => {
                findings.push(self.version_finding(self.proxy.version().await));
                findings.extend(self.all_skipped("entry", failure));
                return findings;
            }
        };
        let entry = gateway_finding("entry", CheckResult::Passed(choice.text.clone()));
        let mut version = None;
        let mut requests = Vec::new();
        for kind in [RequestKind::Unary, RequestKind::Streamed] {
            report.waiting(Stage::Probes, format!("the {} answer of {}", kind.as_str(), self.proxy.url));
            let request = self.request(kind, &choice, &mut version).await;
            requests.push(gateway_finding(kind.as_str(), judge_request(&request, self.deployment)));
        }
        if version.is_none() {
            version = self.proxy.version().await;
        }
        findings.push(self.version_finding(version));
        findings.push(entry);
        findings.extend(requests);
        findings
    }

    /// The failed check, and the checks that do not run because of it.
    fn all_skipped(&self, failed: &'static str, failure: CheckResult) -> Vec<Finding> {
        const ORDER: [&str; 4] = ["access", "entry", "unary", "stream"];
        let at = ORDER.iter().position(|name| *name == failed).unwrap_or_default();
        let mut findings = vec![gateway_finding(failed, failure)];
        let reason = format!("the check \"{failed}\" failed");
        findings.extend(
            ORDER[at + 1..].iter().map(|name| gateway_finding(name, CheckResult::Skipped(reason.clone()))),
        );
        findings
    }

    fn version_finding(&self, version: Option<String>) -> Finding {
        let outcome = match version {
            None => CheckResult::Skipped("the proxy does not report its version".into()),
            Some(version) if is_compromised(&version) => CheckResult::Warning(CheckProblem {
                code: MessageCode::CompromisedGateway,
                text: compromised_text(&version),
                hint: compromised_version_hint(),
                exit: Exit::Ok,
            }),
            Some(version) => CheckResult::Passed(format!("LiteLLM {version}")),
        };
        gateway_finding("version", outcome)
    }

    async fn request(
        &self,
        kind: RequestKind,
        choice: &RouteChoice,
        version: &mut Option<String>,
    ) -> RoutedRequest {
        let before = self.counted(kind, choice).await;
        match self.proxy.complete(&choice.requested_model, kind).await {
            Ok(answer) => {
                *version = answer.version.or(version.take());
                let counted = self.new_count(kind, choice, before).await;
                RoutedRequest { kind, answer: Ok(answer.answer), counted, direct: None }
            }
            Err(failure) => {
                let direct = Some(self.ask_directly(kind, choice).await);
                RoutedRequest { kind, answer: Err(failure), counted: None, direct }
            }
        }
    }

    /// Sends the same request to the deployment itself. LiteLLM hides why an entry failed.
    async fn ask_directly(&self, kind: RequestKind, choice: &RouteChoice) -> Result<(), AnswerFailure> {
        let body = completion_body(&choice.served_name, kind);
        let request = self.target.frontend().post("/chat/completions", None, &body);
        match timeout(self.timeout, request).await {
            Ok(answer) => answer.map(drop).map_err(AnswerFailure::from),
            Err(_) => Err(AnswerFailure::TimedOut(self.timeout)),
        }
    }

    /// How many more requests the frontends have counted; waits a moment for the first one.
    async fn new_count(&self, kind: RequestKind, choice: &RouteChoice, before: Option<u64>) -> Option<u64> {
        let before = before?;
        let mut counted = 0;
        for _ in 0..COUNT_ATTEMPTS {
            counted = self.counted(kind, choice).await?.saturating_sub(before);
            if counted > 0 {
                break;
            }
            sleep(COUNT_INTERVAL).await;
        }
        Some(counted)
    }

    /// The successful requests of this kind that all frontends have counted; `None` if one does not export its metrics.
    async fn counted(&self, kind: RequestKind, choice: &RouteChoice) -> Option<u64> {
        let mut sum = 0.0;
        for frontend in &self.target.frontends {
            sum += scrape(&frontend.endpoint, kind, &choice.served_name).await?;
        }
        Some(sum as u64)
    }
}

/// The successful requests that one frontend has counted.
async fn scrape(endpoint: &Endpoint, kind: RequestKind, model: &str) -> Option<f64> {
    let text = timeout(METRICS_TIMEOUT, endpoint.get("/metrics")).await.ok()?.ok()?;
    let samples = MetricSamples::parse(&text);
    if samples.is_empty() {
        return None;
    }
    // A series begins with the first request.
    let labels = [("model", model), ("request_type", kind.as_str()), ("status", "success")];
    Some(samples.sum(FRONTEND_REQUESTS, &labels).unwrap_or(0.0))
}

/// The counter of finished requests, which every release has.
const FRONTEND_REQUESTS: &str = "dynamo_frontend_requests_total";

/// The text of a warning about a version.
pub(crate) fn compromised_text(version: &str) -> String {
    format!("LiteLLM {version} steals credentials, including those of Kubernetes")
}

fn access_failure(error: &impl Explain) -> CheckResult {
    CheckResult::Failed(CheckProblem {
        code: error.code().unwrap_or(MessageCode::NotALiteLlmGateway),
        text: error.to_string(),
        hint: error.hint().unwrap_or_default(),
        exit: Exit::SmokeTest,
    })
}
