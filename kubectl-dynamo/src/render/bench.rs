//! The result of a benchmark as text: the screen, CSV, and Markdown. The numbers on the screen are rounded, and those of
//! CSV are not.

use std::fmt::Write;

use crate::output::printable;
use crate::render::bench_prediction;
use crate::render::findings::{BAD, GOOD, NOTE};
use crate::render::table::{columns, table};
use kubectl_dynamo_core::bench::{
    BenchEndpoint, BenchRun, BenchVerdict, HEADLINE_METRICS, LevelResult, MeasurementPlan, aiperf_arguments,
};
use kubectl_dynamo_core::intent::StringEnum;

/// Returns the lines before the first measurement: what runs, and the flags of AIPerf for each level.
pub(crate) fn plan_lines(run: &BenchRun, endpoint: &BenchEndpoint) -> Vec<String> {
    let workload = &run.workload;
    let repeats = if workload.runs > 1 { format!(" · {} runs", workload.runs) } else { String::new() };
    let mut lines = vec![format!("{}{repeats}", heading(run))];
    let first_run = |plan: &MeasurementPlan<'_>| plan.run == 1;
    for plan in workload.measurements().into_iter().filter(first_run) {
        let arguments = aiperf_arguments(&plan, endpoint, &plan.folder());
        lines.push(format!("  aiperf {}", shell_words::join(arguments)));
    }
    lines
}

/// `tiny-check-1 · check · tiny at http://…/v1 · AIPerf …`
fn heading(run: &BenchRun) -> String {
    let gpus = match run.target.gpus() {
        Some(1) => " · 1 GPU".to_owned(),
        Some(gpus) => format!(" · {gpus} GPUs"),
        None => String::new(),
    };
    let deployment = run.target.deployment.as_ref();
    let version = deployment.map(|deployment| format!(" · Dynamo {}", deployment.version));
    format!(
        "{} · {} · {} at {}{}{gpus} · AIPerf {}",
        run.name,
        run.workload.kind.as_str(),
        run.target.model,
        run.target.url,
        version.unwrap_or_default(),
        run.versions.aiperf
    )
}

/// A column of the table: its heading, the metric, and how its value is written.
struct Column {
    heading: &'static str,
    metric: &'static str,
    format: fn(f64) -> String,
}

const fn column(heading: &'static str, metric: &'static str, format: fn(f64) -> String) -> Column {
    Column { heading, metric, format }
}

const COLUMNS: &[Column] = &[
    column("REQ/S", "requests_per_second", |value| format!("{value:.2}")),
    column("TOK/S", "output_tokens_per_second", |value| format!("{value:.1}")),
    column("TOK/S/USER", "output_tokens_per_second_per_user", |value| format!("{value:.1}")),
    column("TTFT P50", "ttft_p50", milliseconds),
    column("TTFT P95", "ttft_p95", milliseconds),
    column("ITL P50", "itl_p50", milliseconds),
    column("ITL P95", "itl_p95", milliseconds),
    column("LATENCY P95", "latency_p95", milliseconds),
    column("GOODPUT", "goodput", |value| format!("{value:.2}/s")),
    column("CACHED", "cached_percent", |value| format!("{value:.1} %")),
];

/// A time in milliseconds: `8.31 ms`, `402 ms`, `4.10 s`.
fn milliseconds(value: f64) -> String {
    match value {
        value if value < 100.0 => format!("{value:.2} ms"),
        value if value < 10_000.0 => format!("{value:.0} ms"),
        value => format!("{:.2} s", value / 1000.0),
    }
}

/// Returns the screen of a run, with the colors of its verdict.
pub(crate) fn screen(run: &BenchRun) -> String {
    let mut text = format!("{}\n", printable(&heading(run)));
    if !run.levels.is_empty() {
        let (headings, rows) = cells(run);
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let _ = write!(text, "{}", table(&headings, rows));
    }
    if run.levels.len() > 1 {
        let _ = write!(text, "\n{}", throughput_chart(run));
    }
    if let Some(prediction) = &run.prediction {
        let _ = write!(text, "\n{}", bench_prediction::screen(prediction, run));
    }
    write_verdict(&mut text, run);
    text
}

/// The cells of all levels. A column without any value is left out.
fn cells(run: &BenchRun) -> (Vec<String>, Vec<Vec<String>>) {
    let shown: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| run.levels.iter().any(|level| level.mean(column.metric).is_some()))
        .collect();
    let per_gpu = run.target.gpus().is_some();
    let mut headings = vec!["LEVEL".to_owned()];
    headings.extend(shown.iter().map(|column| column.heading.to_owned()));
    if per_gpu {
        headings.push("TOK/S/GPU".into());
    }
    headings.extend(["REQUESTS".into(), "FAILED".into()]);
    let row = |level: &LevelResult| {
        let value = |column: &&Column| level.mean(column.metric).map_or_else(|| "-".into(), column.format);
        let mut row = vec![level.load.to_string()];
        row.extend(shown.iter().map(value));
        if per_gpu {
            let value = level.output_tokens_per_second_per_gpu;
            row.push(value.map_or_else(|| "-".into(), |value| format!("{value:.1}")));
        }
        let (requests, failed) = level.requests();
        row.extend([requests.to_string(), failed.to_string()]);
        row
    };
    (headings, run.levels.iter().map(row).collect())
}

/// Width of the longest bar.
const BAR_WIDTH: f64 = 40.0;

/// A bar of the throughput for each level; the knee is marked.
fn throughput_chart(run: &BenchRun) -> String {
    let throughput = |level: &LevelResult| level.mean("output_tokens_per_second").unwrap_or_default();
    let highest = run.levels.iter().map(throughput).fold(0.0, f64::max);
    let row = |(at, level): (usize, &LevelResult)| {
        let value = throughput(level);
        let width = if highest > 0.0 { (value / highest * BAR_WIDTH).round() as usize } else { 0 };
        let knee = if run.analysis.knee == Some(at) { " knee" } else { "" };
        vec![format!("  {}", level.load), "█".repeat(width), format!("{value:.1} tok/s{knee}")]
    };
    format!("{}\n", columns(run.levels.iter().enumerate().map(row), 2))
}

fn write_verdict(text: &mut String, run: &BenchRun) {
    let BenchVerdict { is_good, findings } = &run.verdict;
    let _ = match is_good {
        true => writeln!(text, "\n{GOOD}✔ the numbers can be trusted{GOOD:#}"),
        false => {
            writeln!(text, "\n{BAD}✗ the numbers cannot be trusted{BAD:#} (run {})", run.status.as_text())
        }
    };
    for finding in findings {
        let (style, mark) = if finding.is_failure { (BAD, "✗") } else { (NOTE, "!") };
        let message = printable(&finding.message).into_owned();
        let _ = writeln!(text, "  {style}{mark} {}{style:#} {message}", finding.code);
    }
    for level in run.levels.iter().filter(|level| level.runs.len() > 1 && level.runs.len() < 3) {
        let _ =
            writeln!(text, "  level {}: use --runs 3 or more for a useful confidence interval", level.load);
    }
}

/// Returns one line for each level with unrounded values.
pub(crate) fn csv(run: &BenchRun) -> String {
    let mut headings = vec!["level", "runs", "requests", "failed"];
    headings.extend(HEADLINE_METRICS.iter().map(|metric| metric.name));
    headings.push("output_tokens_per_second_per_gpu");
    let mut text = format!("{}\n", headings.join(","));
    for level in &run.levels {
        let (requests, failed) = level.requests();
        let mut row = vec![
            level.load.to_string(),
            level.runs.len().to_string(),
            requests.to_string(),
            failed.to_string(),
        ];
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        row.extend(HEADLINE_METRICS.iter().map(|metric| number(level.mean(metric.name))));
        row.push(number(level.output_tokens_per_second_per_gpu));
        let _ = writeln!(text, "{}", row.join(","));
    }
    text
}

/// Returns a Markdown table and the verdict.
pub(crate) fn markdown(run: &BenchRun) -> String {
    let (headings, rows) = cells(run);
    let mut text = format!("{}\n\n", heading(run));
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text += &line(&headings);
    text += &format!("|{}\n", "---|".repeat(headings.len()));
    rows.iter().for_each(|row| text += &line(row));
    if let Some(prediction) = &run.prediction {
        let _ = write!(text, "\n{}", bench_prediction::markdown(prediction, run));
    }
    let verdict = if run.verdict.is_good { "can be trusted" } else { "cannot be trusted" };
    let _ = writeln!(text, "\nThe numbers {verdict}.");
    if !run.verdict.findings.is_empty() {
        text.push('\n');
    }
    for finding in &run.verdict.findings {
        let _ = writeln!(text, "- {}: {}", finding.code, finding.message);
    }
    text
}

/// Returns the table of `bench list`.
pub(crate) fn list(runs: &[BenchRun]) -> String {
    let row = |run: &BenchRun| {
        let levels = format!("{}/{}", run.levels.len(), run.workload.levels.len());
        let verdict = if run.verdict.is_good { "good" } else { "not good" };
        vec![
            run.name.clone(),
            run.target.name().to_owned(),
            run.workload.kind.as_str().to_owned(),
            run.status.as_text().to_owned(),
            levels,
            verdict.to_owned(),
            run.started_at.chars().take(19).collect(),
        ]
    };
    table(
        &["NAME", "TARGET", "WORKLOAD", "STATUS", "LEVELS", "VERDICT", "STARTED"],
        runs.iter().map(row).collect(),
    )
}
