//! The findings as a person reads them, by category, and as one JSON object.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use super::Checked;
use crate::preflight::{Category, Finding, Outcome, Tally};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

pub(super) fn screen(checked: &Checked) -> String {
    let mut text = String::new();
    for category in Category::ALL {
        let mut findings = checked.findings.iter().filter(|finding| finding.category == *category).peekable();
        if findings.peek().is_some() {
            let _ = writeln!(text, "{}", category.title());
        }
        findings.for_each(|finding| write_finding(&mut text, finding));
    }
    let tally = Tally::of(&checked.findings);
    let (style, verdict) = match (tally.failed, tally.waits) {
        (0, 0) => (GOOD, "✔ ready"),
        (0, _) => (NOTE, "… not ready yet"),
        _ => (BAD, "✗ not ready"),
    };
    let whom = checked.name.as_ref().map(|name| format!(" for {name}")).unwrap_or_default();
    let _ = writeln!(text, "\n{style}{verdict}{style:#}{whom} in namespace {}: {tally}", checked.namespace);
    text
}

fn write_finding(text: &mut String, finding: &Finding) {
    let (style, mark) = match finding.outcome {
        Outcome::Passed(_) => (GOOD, "✔"),
        Outcome::Skipped(_) => (DIM, "-"),
        Outcome::Warning(_) => (NOTE, "!"),
        Outcome::Waits(_) => (NOTE, "…"),
        Outcome::Failed(_) => (BAD, "✗"),
    };
    let _ = write!(text, "  {style}{mark}{style:#} {:<17}", finding.name);
    let _ = match &finding.outcome {
        Outcome::Passed(what) => writeln!(text, "{what}"),
        Outcome::Skipped(why) => writeln!(text, "{DIM}skipped, {why}{DIM:#}"),
        Outcome::Warning(problem) | Outcome::Waits(problem) | Outcome::Failed(problem) => {
            writeln!(text, "{} {problem}\n    {:<17}{}", problem.code, "", problem.hint)
        }
    };
}

pub(super) fn document(checked: &Checked) -> Value {
    let tally = Tally::of(&checked.findings);
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "Check",
        "server": checked.server,
        "namespace": checked.namespace,
        "name": checked.name,
        "verdict": match (tally.failed, tally.waits) {
            (0, 0) => "READY",
            (0, _) => "NOT YET",
            _ => "NOT READY",
        },
        "passed": tally.passed, "warnings": tally.warnings, "failed": tally.failed, "skipped": tally.skipped,
        "findings": checked.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    let (text, problem) = match &finding.outcome {
        Outcome::Passed(text) | Outcome::Skipped(text) => (text.clone(), None),
        Outcome::Warning(problem) | Outcome::Waits(problem) | Outcome::Failed(problem) => {
            (problem.to_string(), Some(problem))
        }
    };
    json!({
        "category": finding.category.title(), "name": finding.name, "outcome": outcome(&finding.outcome),
        "text": text,
        "code": problem.map(|problem| problem.code),
        "hint": problem.map(|problem| &problem.hint),
    })
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Passed(_) => "passed",
        Outcome::Skipped(_) => "skipped",
        Outcome::Warning(_) => "warning",
        Outcome::Waits(_) => "waits",
        Outcome::Failed(_) => "failed",
    }
}
