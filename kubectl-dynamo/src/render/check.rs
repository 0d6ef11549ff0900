//! Renders the result of `check` as text and as one JSON object.
//! It does not decide the outcome of a check.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::output::printable;
use crate::render::findings::{self, BAD, GOOD, NOTE};
use crate::workflow::check::CheckReport;
use kubectl_dynamo_core::preflight::FindingCounts;

pub(crate) fn screen(report: &CheckReport) -> String {
    let mut text = String::new();
    findings::write_findings(&mut text, &report.findings);
    let tally = FindingCounts::from_findings(&report.findings);
    let (style, verdict) = match (tally.failed, tally.pending) {
        (0, 0) => (GOOD, "✔ ready"),
        (0, _) => (NOTE, "… not ready yet"),
        _ => (BAD, "✗ not ready"),
    };
    let target = report.name.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
    let place = format!("{target} in namespace {}", report.namespace);
    let _ = writeln!(text, "\n{style}{verdict}{style:#}{}: {tally}", printable(&place));
    text
}

pub(crate) fn document(report: &CheckReport) -> Value {
    let tally = FindingCounts::from_findings(&report.findings);
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "Check",
        "server": report.server,
        "namespace": report.namespace,
        "name": report.name,
        "verdict": match (tally.failed, tally.pending) {
            (0, 0) => "READY",
            (0, _) => "WAITING",
            _ => "NOT READY",
        },
        "passed": tally.passed, "warnings": tally.warnings, "failed": tally.failed, "skipped": tally.skipped,
        "findings": report.findings.iter().map(findings::finding_json).collect::<Vec<_>>(),
    })
}
