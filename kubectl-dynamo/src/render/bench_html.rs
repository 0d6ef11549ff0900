//! The result of a benchmark as one HTML file without any other file: tables, and charts as plain SVG. The colors follow
//! the light or dark mode of the browser.

mod chart;

use std::fmt::Write;

use chart::{Axis, Chart, Mark, Series};

use crate::render::bench_prediction;
use kubectl_dynamo_core::bench::{BenchDeployment, BenchRun, HEADLINE_METRICS, LevelResult};
use kubectl_dynamo_core::intent::StringEnum;

const STYLE: &str = include_str!("bench_html/style.css");

/// Replaces the characters that HTML reads as markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Returns the complete page.
pub(crate) fn page(run: &BenchRun) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(&run.name)
    );
    write_summary(&mut page, run);
    if !run.levels.is_empty() {
        page += "<h2>Levels</h2>\n<div class=\"scroll\">\n";
        write_levels(&mut page, run);
        page += "</div>\n<div class=\"charts\">\n";
        charts(run).iter().for_each(|chart| page += &chart.svg());
        page += "</div>\n";
    }
    write_prediction(&mut page, run);
    write_errors(&mut page, run);
    write_plan(&mut page, run);
    page += "</body>\n</html>\n";
    page
}

fn write_summary(page: &mut String, run: &BenchRun) {
    let (class, verdict) = match run.verdict.is_good {
        true => ("good", "The numbers can be trusted."),
        false => ("bad", "The numbers cannot be trusted."),
    };
    let _ = write!(
        page,
        "<h1>{}</h1>\n<p>{} · {} at {} · AIPerf {} · {} · {}</p>\n<p class=\"{class}\">{verdict}</p>\n",
        escape(&run.name),
        run.workload.kind.as_str(),
        escape(&run.target.model),
        escape(&run.target.url),
        escape(&run.versions.aiperf),
        escape(&start_time(run)),
        run.status.as_text(),
    );
    if !run.verdict.findings.is_empty() {
        page.push_str("<ul>\n");
        for finding in &run.verdict.findings {
            let class = if finding.is_failure { "bad" } else { "note" };
            let (code, message) = (escape(&finding.code), escape(&finding.message));
            let _ = writeln!(page, "<li><span class=\"{class}\">{code}</span> {message}</li>");
        }
        page.push_str("</ul>\n");
    }
}

/// The start of a run to the second, such as `2026-11-30 19:48:29 UTC`.
fn start_time(run: &BenchRun) -> String {
    match run.started_at.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => run.started_at.clone(),
    }
}

/// The heading of a metric, such as `TTFT p95`.
fn heading(metric: &str) -> String {
    match metric {
        "requests_per_second" => "requests".into(),
        "output_tokens_per_second" => "output tokens".into(),
        "output_tokens_per_second_per_user" => "per user".into(),
        "cached_percent" => "cached".into(),
        "effective_concurrency" => "in flight".into(),
        other => other.replace("ttft", "TTFT").replace("itl", "ITL").replace('_', " "),
    }
}

fn write_levels(page: &mut String, run: &BenchRun) {
    let shown = || {
        HEADLINE_METRICS
            .iter()
            .filter(|metric| run.levels.iter().any(|level| level.summary.contains_key(metric.name)))
    };
    page.push_str("<table>\n<tr><th>level</th>");
    for metric in shown() {
        let (name, heading, unit) = (metric.name, heading(metric.name), metric.unit);
        let _ = write!(page, "<th title=\"{name}\">{heading}<br><small>{unit}</small></th>");
    }
    page.push_str("<th>requests</th><th>failed</th></tr>\n");
    for (at, level) in run.levels.iter().enumerate() {
        let knee = if run.analysis.knee == Some(at) { " (knee)" } else { "" };
        let _ = write!(page, "<tr><td>{}{knee}</td>", level.load);
        for metric in shown() {
            let value = level.mean(metric.name).map(|value| format!("{value:.2}")).unwrap_or_default();
            let _ = write!(page, "<td>{value}</td>");
        }
        let (requests, failed) = level.requests();
        let _ = writeln!(page, "<td>{requests}</td><td>{failed}</td></tr>");
    }
    page.push_str("</table>\n");
}

/// The charts over the levels of load, and over each other.
fn charts(run: &BenchRun) -> Vec<Chart> {
    let levels: Vec<String> = run.levels.iter().map(|level| level.load.to_string()).collect();
    let over_load = |title: &str, unit: &str, metrics: &[(&str, &str)]| {
        let series = metrics.iter().map(|(name, metric)| Series {
            name: (*name).to_owned(),
            points: run
                .levels
                .iter()
                .enumerate()
                .filter_map(|(at, level)| Some((at as f64, level.mean(metric)?)))
                .collect(),
        });
        Chart {
            title: title.to_owned(),
            x: Axis::Labels { title: "load".into(), labels: levels.clone() },
            y_title: unit.to_owned(),
            series: series.collect(),
            marks: knee_mark(run, metrics.first().map_or("", |(_, metric)| *metric)),
        }
    };
    vec![
        over_load("Throughput over load", "tok/s", &[("output tokens", "output_tokens_per_second")]),
        over_load("Time to first token over load", "ms", &[("p50", "ttft_p50"), ("p95", "ttft_p95")]),
        over_load("Inter-token latency over load", "ms", &[("p50", "itl_p50"), ("p95", "itl_p95")]),
        over_load("Request latency over load", "ms", &[("p50", "latency_p50"), ("p95", "latency_p95")]),
        pareto(run),
        distribution(run, &levels),
    ]
}

fn knee_mark(run: &BenchRun, metric: &str) -> Vec<Mark> {
    let mark = run.analysis.knee.and_then(|at| {
        let value = run.levels.get(at)?.mean(metric)?;
        Some(Mark { x: at as f64, y: value, text: "knee".into() })
    });
    mark.into_iter().collect()
}

/// The throughput over the rate of one user: every level, and the line of those that no other level beats.
fn pareto(run: &BenchRun) -> Chart {
    let mut points: Vec<(f64, f64)> = run
        .analysis
        .pareto
        .iter()
        .map(|point| (point.output_tokens_per_second_per_user, point.output_tokens_per_second))
        .collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let gpus = f64::from(run.target.gpus().unwrap_or(1));
    let mark = |(at, level): (usize, &LevelResult)| {
        let knee = if run.analysis.knee == Some(at) { " knee" } else { "" };
        Some(Mark {
            x: level.mean("output_tokens_per_second_per_user")?,
            y: level.mean("output_tokens_per_second")? / gpus,
            text: format!("{}{knee}", level.load),
        })
    };
    let y_title = if run.analysis.is_per_gpu { "tok/s per GPU" } else { "tok/s" };
    Chart {
        title: "Throughput over speed for one user".into(),
        x: Axis::Numbers { title: "tok/s per user".into() },
        y_title: y_title.into(),
        series: vec![Series { name: "Pareto".into(), points }],
        marks: run.levels.iter().enumerate().filter_map(mark).collect(),
    }
}

/// The percentiles of the time to first token at each level, from the first repeat.
fn distribution(run: &BenchRun, levels: &[String]) -> Chart {
    let series = ["p5", "p25", "p50", "p75", "p95", "p99"].map(|statistic| Series {
        name: statistic.to_owned(),
        points: run
            .levels
            .iter()
            .enumerate()
            .filter_map(|(at, level)| {
                Some((at as f64, level.runs.first()?.measurement.value("time_to_first_token", statistic)?))
            })
            .collect(),
    });
    Chart {
        title: "Distribution of the time to first token".into(),
        x: Axis::Labels { title: "load".into(), labels: levels.to_vec() },
        y_title: "ms".into(),
        series: series.into(),
        marks: Vec::new(),
    }
}

/// The predicted values next to the measured ones.
fn write_prediction(page: &mut String, run: &BenchRun) {
    let Some(prediction) = &run.prediction else { return };
    let heading = escape(&bench_prediction::heading(prediction));
    let _ = write!(page, "<h2>Prediction</h2>\n<p>{heading}</p>\n<div class=\"scroll\"><table>\n<tr>");
    for title in bench_prediction::HEADINGS {
        let _ = write!(page, "<th>{}</th>", title.to_lowercase());
    }
    page.push_str("</tr>\n");
    for row in bench_prediction::rows(prediction, run) {
        let _ = writeln!(page, "<tr>{}</tr>", row.map(|cell| format!("<td>{}</td>", escape(&cell))).concat());
    }
    page.push_str("</table></div>\n");
    for note in bench_prediction::notes(prediction, run) {
        let _ = writeln!(page, "<p class=\"note\">{}</p>", escape(&note));
    }
}

fn write_errors(page: &mut String, run: &BenchRun) {
    let errors: Vec<_> = run
        .levels
        .iter()
        .flat_map(|level| level.runs.iter().map(move |one| (level, one)))
        .flat_map(|(level, one)| one.measurement.errors.iter().map(move |error| (level, one, error)))
        .collect();
    if errors.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Errors</h2>\n<div class=\"scroll\"><table>\n<tr><th>level</th><th>run</th><th>count</th><th>error</th></tr>\n",
    );
    for (level, one, error) in errors {
        let code = error.code.map(|code| code.to_string()).unwrap_or_default();
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{code} {} {}</td></tr>",
            level.load,
            one.run,
            error.count,
            escape(&error.kind),
            escape(&error.message)
        );
    }
    page.push_str("</table></div>\n");
}

/// Such as `8 GPUs (NVIDIA-H200)`.
fn gpus(deployment: &BenchDeployment) -> String {
    let models: Vec<&str> = deployment.gpus_by_model.keys().map(String::as_str).collect();
    let models = if models.is_empty() { String::new() } else { format!(" ({})", models.join(", ")) };
    match deployment.gpus {
        0 => "no GPU".into(),
        1 => escape(&format!("1 GPU{models}")),
        gpus => escape(&format!("{gpus} GPUs{models}")),
    }
}

/// The deployment's resolved request and the commands of AIPerf.
fn write_plan(page: &mut String, run: &BenchRun) {
    if let Some(deployment) = &run.target.deployment {
        let _ = write!(
            page,
            "<h2>Deployment</h2>\n<p>{} · Dynamo {} · {}</p>\n\
             <details>\n<summary>Resolved request</summary>\n<pre>{}</pre>\n</details>\n",
            escape(&deployment.name),
            escape(&deployment.version),
            gpus(deployment),
            escape(&format!("{:#}", deployment.intent))
        );
    }
    page.push_str("<h2>Commands</h2>\n<pre>");
    for one in run.levels.iter().flat_map(|level| &level.runs) {
        let _ = writeln!(page, "{}", escape(&shell_words::join(&one.command)));
    }
    page.push_str("</pre>\n");
}
