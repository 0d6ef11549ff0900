//! The error of a deployment that fails a probe after a change.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::error::{Exit, Explain};
use kubectl_dynamo_core::finding::{CheckProblem, CheckResult, Finding};

/// At least one probe failed.
#[derive(Debug, thiserror::Error)]
#[error("probe \"{probe}\" failed{others}: {first}")]
pub(crate) struct ProbesFailed {
    /// The first probe that failed.
    pub(super) probe: &'static str,
    /// Text such as ` (and 2 others)`; empty if no other probe failed.
    others: String,
    first: CheckProblem,
}

impl ProbesFailed {
    /// Returns the error; `None` if no probe failed.
    pub(super) fn from_findings(findings: &[Finding]) -> Option<Self> {
        let mut failed = findings.iter().filter_map(|finding| match &finding.outcome {
            CheckResult::Failed(problem) => Some((finding.name, problem.clone())),
            _ => None,
        });
        let (probe, first) = failed.next()?;
        let others = match failed.count() {
            0 => String::new(),
            1 => " (and 1 other)".into(),
            several => format!(" (and {several} others)"),
        };
        Some(Self { probe, others, first })
    }
}

impl Explain for ProbesFailed {
    fn code(&self) -> Option<MessageCode> {
        Some(self.first.code)
    }

    fn hint(&self) -> Option<Fix> {
        Some(self.first.hint.clone())
    }

    fn exit(&self) -> Exit {
        Exit::SmokeTest
    }
}
