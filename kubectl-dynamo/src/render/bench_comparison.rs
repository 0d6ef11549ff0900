//! The comparison of two benchmark runs as text.

use std::fmt::Write;

use crate::output::printable;
use crate::render::findings::{BAD, GOOD};
use crate::render::table::table;
use kubectl_dynamo_core::bench::{BenchComparison, BenchRun, ComparisonOutcome, MetricComparison};

/// Returns what differs between the deployments, and a table for each level.
pub(crate) fn screen(before: &BenchRun, after: &BenchRun, comparison: &BenchComparison) -> String {
    let mut text = format!("{} → {}\n", printable(&before.name), printable(&after.name));
    if comparison.changes.is_empty() {
        let _ = writeln!(text, "  the deployments do not differ");
    }
    for change in &comparison.changes {
        let _ = writeln!(text, "  {}", printable(change));
    }
    for level in &comparison.levels {
        let rows = level.metrics.iter().map(row).collect();
        let headings = ["METRIC", "BEFORE", "AFTER", "RATIO", "95 % INTERVAL", "RESULT"];
        let _ = write!(text, "\nlevel {}\n{}", level.load, table(&headings, rows));
    }
    let outcomes = || comparison.levels.iter().flat_map(|level| &level.metrics).map(|metric| metric.outcome);
    let count = |outcome| outcomes().filter(|one| *one == outcome).count();
    let (better, worse) = (count(ComparisonOutcome::Better), count(ComparisonOutcome::Worse));
    let _ = match (better, worse, count(ComparisonOutcome::Unknown)) {
        (0, 0, 0) => writeln!(text, "\nno difference shown"),
        (0, 0, _) => {
            writeln!(text, "\nsingle runs cannot tell noise from a difference: use --runs 3 or more")
        }
        (better, worse, _) => {
            writeln!(text, "\n{GOOD}{better} better{GOOD:#}, {BAD}{worse} worse{BAD:#}")
        }
    };
    text
}

fn row(metric: &MetricComparison) -> Vec<String> {
    let value = |value: f64| format!("{value:.2} {}", metric.unit);
    let interval = metric.interval.map(|(low, high)| format!("{low:.2}x to {high:.2}x"));
    vec![
        metric.metric.to_owned(),
        value(metric.before),
        value(metric.after),
        format!("{:.2}x", metric.ratio),
        interval.unwrap_or_else(|| "-".into()),
        metric.outcome.as_text().to_owned(),
    ]
}
