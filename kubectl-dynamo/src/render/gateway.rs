//! Renders the results of the gateway verbs as text and as JSON documents.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::output::printable;
use crate::render::findings::{self, BAD, GOOD};
use crate::render::table::table;
use kubectl_dynamo_core::finding::{Finding, FindingCounts};
use kubectl_dynamo_core::gateway::{ComparedEntry, DiffLine, RoutedDeployment};
use kubectl_dynamo_core::intent::StringEnum;

/// The result of `gateway test`.
pub(crate) struct GatewayTestReport<'a> {
    pub deployment: &'a RoutedDeployment,
    /// The URL of the gateway.
    pub url: &'a str,
    pub findings: &'a [Finding],
    pub elapsed: Duration,
}

/// Returns the screen of `gateway test`.
pub(crate) fn test_screen(report: &GatewayTestReport<'_>) -> String {
    let mut text = String::new();
    findings::write_findings(&mut text, report.findings);
    let counts = FindingCounts::from_findings(report.findings);
    let (style, mark, verb) = match counts.failed {
        0 => (GOOD, "✔", "routes"),
        _ => (BAD, "✗", "does not route"),
    };
    let (url, deployment) = (printable(report.url), report.deployment.owner.to_string());
    let _ = writeln!(
        text,
        "\n{style}{mark} {url} {verb} to {}{style:#}: {counts} in {:.1} s",
        printable(&deployment),
        report.elapsed.as_secs_f64()
    );
    text
}

/// Returns the JSON document of `gateway test`.
pub(crate) fn test_document(report: &GatewayTestReport<'_>) -> Value {
    let counts = FindingCounts::from_findings(report.findings);
    let owner = &report.deployment.owner;
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "GatewayTest",
        "name": owner.name,
        "namespace": owner.namespace,
        "url": report.url,
        "verdict": if counts.failed == 0 { "PASSED" } else { "FAILED" },
        "passed": counts.passed, "warnings": counts.warnings, "failed": counts.failed, "skipped": counts.skipped,
        "seconds": report.elapsed.as_secs_f64(),
        "findings": report.findings.iter().map(findings::finding_json).collect::<Vec<_>>(),
    })
}

/// Returns the table of `gateway list`.
pub(crate) fn list_table(entries: &[ComparedEntry]) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let row = |entry: &ComparedEntry| {
        vec![
            or_dash(entry.model_name.clone()),
            or_dash(entry.deployment.as_ref().map(ToString::to_string)),
            entry.status.as_str().to_owned(),
            entry.model.clone(),
            entry.reason.clone(),
        ]
    };
    table(&["NAME", "DEPLOYMENT", "STATUS", "MODEL", "REASON"], entries.iter().map(row).collect())
}

/// Returns the JSON document of `gateway list`.
pub(crate) fn list_document(url: &str, version: Option<&str>, entries: &[ComparedEntry]) -> Value {
    let item = |entry: &ComparedEntry| {
        json!({
            "name": entry.model_name, "model": entry.model, "apiBase": entry.api_base,
            "deployment": entry.deployment.as_ref().map(|owner| &owner.name),
            "namespace": entry.deployment.as_ref().and_then(|owner| owner.namespace.as_ref()),
            "status": entry.status.as_str(), "reason": entry.reason,
        })
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "GatewayEntryList", "url": url, "version": version,
        "items": entries.iter().map(item).collect::<Vec<_>>(),
    })
}

/// Returns the changed lines of a text as `diff -u` writes them.
pub(crate) fn line_diff(lines: &[DiffLine<'_>]) -> String {
    let line = |line: &DiffLine<'_>| match line {
        DiffLine::Kept(line) => format!("  {line}\n"),
        DiffLine::Removed(line) => format!("- {line}\n"),
        DiffLine::Added(line) => format!("+ {line}\n"),
    };
    lines.iter().map(line).collect()
}
