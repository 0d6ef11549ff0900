//! Renders the result of `test` as text and as one JSON object.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::output::printable;
use crate::render::findings::{self, BAD, GOOD};
use crate::workflow::probes::ProbeReport;
use kubectl_dynamo_core::finding::FindingCounts;
use kubectl_dynamo_core::probe::ProbePlace;

pub(crate) fn screen(report: &ProbeReport) -> String {
    let mut text = String::new();
    findings::write_findings(&mut text, &report.findings);
    let counts = FindingCounts::from_findings(&report.findings);
    let (style, mark, verb) =
        if counts.failed == 0 { (GOOD, "✔", "works") } else { (BAD, "✗", "does not work") };
    let place = match &report.place {
        ProbePlace::Cluster { name, namespace } => format!("{name} in namespace {namespace}"),
        ProbePlace::Local { name } => format!("{name} on this machine"),
        ProbePlace::Url { url } => format!("{} at {url}", report.model),
    };
    let _ = writeln!(
        text,
        "\n{style}{mark} {} {verb} as configured{style:#}: {counts}; {} requests in {:.1} s",
        printable(&place),
        report.requests,
        report.elapsed.as_secs_f64()
    );
    text
}

pub(crate) fn document(report: &ProbeReport) -> Value {
    let counts = FindingCounts::from_findings(&report.findings);
    let (name, namespace, url) = match &report.place {
        ProbePlace::Cluster { name, namespace } => (Some(name), Some(namespace), None),
        ProbePlace::Local { name } => (Some(name), None, None),
        ProbePlace::Url { url } => (None, None, Some(url)),
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "Test",
        "name": name,
        "namespace": namespace,
        "url": url,
        "model": report.model,
        "verdict": if counts.failed == 0 { "PASSED" } else { "FAILED" },
        "passed": counts.passed, "warnings": counts.warnings, "failed": counts.failed, "skipped": counts.skipped,
        "requests": report.requests,
        "seconds": report.elapsed.as_secs_f64(),
        "findings": report.findings.iter().map(findings::finding_json).collect::<Vec<_>>(),
    })
}
