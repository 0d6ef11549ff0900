//! Renders findings of checks and probes as text by category, and as JSON. It does not decide the outcome of a check.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde_json::{Value, json};

use crate::output::printable;
use crate::typed_command::typed;
use kubectl_dynamo_core::finding::{Category, CheckResult, Finding};

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const NOTE: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// Writes the findings by category, one line each, and a second line with the hint of a problem.
pub(super) fn write_findings(text: &mut String, findings: &[Finding]) {
    for category in Category::ALL {
        let mut findings = findings.iter().filter(|finding| finding.category == *category).peekable();
        if findings.peek().is_some() {
            let _ = writeln!(text, "{}", category.title());
        }
        findings.for_each(|finding| write_finding(text, finding));
    }
}

fn write_finding(text: &mut String, finding: &Finding) {
    let (style, mark) = match finding.outcome {
        CheckResult::Passed(_) => (GOOD, "✔"),
        CheckResult::Skipped(_) => (DIM, "-"),
        CheckResult::Warning(_) => (NOTE, "!"),
        CheckResult::Pending(_) => (NOTE, "…"),
        CheckResult::Failed(_) => (BAD, "✗"),
    };
    let _ = write!(text, "  {style}{mark}{style:#} {:<17}", finding.name);
    let _ = match &finding.outcome {
        CheckResult::Passed(detail) => writeln!(text, "{}", printable(detail)),
        CheckResult::Skipped(reason) => writeln!(text, "{DIM}skipped, {}{DIM:#}", printable(reason)),
        CheckResult::Warning(problem) | CheckResult::Pending(problem) | CheckResult::Failed(problem) => {
            let problem_text = problem.to_string();
            let hint = typed(problem.hint.clone());
            let (problem_text, hint) = (printable(&problem_text), printable(&hint));
            let address = problem.code.address().map(|address| format!("\n    {:<17}{address}", ""));
            let address = address.unwrap_or_default();
            writeln!(text, "{} {problem_text}\n    {:<17}{hint}{address}", problem.code, "")
        }
    };
}

pub(super) fn finding_json(finding: &Finding) -> Value {
    let (text, problem) = match &finding.outcome {
        CheckResult::Passed(text) | CheckResult::Skipped(text) => (text.clone(), None),
        CheckResult::Warning(problem) | CheckResult::Pending(problem) | CheckResult::Failed(problem) => {
            (problem.to_string(), Some(problem))
        }
    };
    json!({
        "category": finding.category.title(), "name": finding.name, "outcome": outcome_name(&finding.outcome),
        "text": text,
        "code": problem.map(|problem| problem.code),
        "hint": problem.map(|problem| typed(problem.hint.clone())),
    })
}

fn outcome_name(outcome: &CheckResult) -> &'static str {
    match outcome {
        CheckResult::Passed(_) => "passed",
        CheckResult::Skipped(_) => "skipped",
        CheckResult::Warning(_) => "warning",
        CheckResult::Pending(_) => "waiting",
        CheckResult::Failed(_) => "failed",
    }
}
