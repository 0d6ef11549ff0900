//! Renders the load of deployments as tables and as JSON documents.

pub(crate) mod numbers;
pub(crate) mod screen;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::fmt::Write;

use serde_json::{Value, json};

use crate::output::{DocumentFormat, DocumentSeparator, PrintFormat, TableFormat};
use crate::render::table::{columns, table};
use crate::workflow::top::DeploymentTop;
use kubectl_dynamo_core::error::{Explain, Result};
use kubectl_dynamo_core::prometheus::Quantile;
use kubectl_dynamo_core::top::{DeploymentLoad, LatencyQuantiles, RequestRates, WorkerLoad};
use numbers::{ABSENT, count, duration, latency, percent, rate, whole};

/// Renders one report.
///
/// # Errors
/// A template that does not fit the document.
pub(crate) fn render(deployments: &[DeploymentTop], format: &PrintFormat<TableFormat>) -> Result<String> {
    format.text(
        || document(deployments),
        |_| match deployments {
            [one] => screen(one),
            all => deployment_table(all),
        },
    )
}

/// Renders one of several reports: a JSON document is one line, and a table ends with an empty one.
///
/// # Errors
/// A template that does not fit the document.
pub(crate) fn render_next(
    deployments: &[DeploymentTop],
    format: &PrintFormat<TableFormat>,
    separator: &mut DocumentSeparator,
) -> Result<String> {
    Ok(match format {
        PrintFormat::Document(DocumentFormat::Json) => format!("{}\n", document(deployments)),
        PrintFormat::Own(_) => render(deployments, format)? + "\n",
        _ => separator.separate(render(deployments, format)?, format),
    })
}

fn screen(top: &DeploymentTop) -> String {
    let mut text = heading(top);
    text.push_str("\n\n");
    let rows = summary(&top.report.load).map(|(name, values)| [vec![name.to_owned()], values].concat());
    let _ = writeln!(text, "{}", columns(rows, 3));
    if !top.report.workers.is_empty() {
        text.push('\n');
        let rows = top.report.workers.iter().map(|worker| worker_row(worker).to_vec());
        text.push_str(&table(&WORKER_HEADINGS, rows.collect()));
    }
    text
}

/// The first line about a deployment.
pub(crate) fn heading(top: &DeploymentTop) -> String {
    let place = match &top.namespace {
        Some(namespace) => format!("namespace {namespace}"),
        None => "this machine".to_owned(),
    };
    let period = top.report.period.as_secs_f64();
    format!("{} · {place} · {} · Dynamo {} · last {period:.1} s", top.name, top.model, top.release)
}

/// The load of a deployment as lines: a name and its values.
pub(crate) fn summary(load: &DeploymentLoad) -> [(&'static str, Vec<String>); 5] {
    let requests = load.requests.as_ref();
    let mut failed = format!("{}/s failed", rate(requests.map(RequestRates::failed)));
    let errors = requests.iter().flat_map(|rates| &rates.errors).filter(|(_, rate)| **rate > 0.0);
    let errors: Vec<_> =
        errors.map(|(outcome, errors)| format!("{outcome} {}", rate(Some(*errors)))).collect();
    if !errors.is_empty() {
        let _ = write!(failed, " ({})", errors.join(", "));
    }
    let quantiles = |name: &str, found: Option<LatencyQuantiles>| {
        let text = |pick: fn(LatencyQuantiles) -> Quantile| latency(found.map(pick));
        format!("{name} p50 {}, p99 {}", text(|of| of.p50), text(|of| of.p99))
    };
    let idle = load.gpus.idle.map_or_else(|| ABSENT.to_owned(), |idle| idle.to_string());
    [
        (
            "requests",
            vec![
                format!("{}/s succeeded", rate(requests.map(|rates| rates.success))),
                format!("{} in flight, {} queued", count(load.in_flight), count(load.queued)),
                failed,
            ],
        ),
        (
            "latency",
            vec![quantiles("TTFT", load.time_to_first_token), quantiles("ITL", load.inter_token_latency)],
        ),
        (
            "tokens",
            vec![
                format!("{}/s in", rate(load.input_tokens)),
                format!("{}/s out", rate(load.output_tokens)),
                format!("{} of input cached", percent(load.cached_share)),
            ],
        ),
        (
            "processes",
            vec![
                format!("{}/{} frontends answer", load.frontends.answering, load.frontends.total),
                format!("{}/{} workers answer", load.workers.answering, load.workers.total),
                format!("KV cache {} used", percent(load.kv_cache_use)),
            ],
        ),
        (
            "GPUs",
            vec![format!("{} allocated", load.gpus.allocated), format!("{idle} idle since top started")],
        ),
    ]
}

/// The columns of the table of workers.
pub(crate) const WORKER_HEADINGS: [&str; 10] =
    ["WORKER", "ROLE", "REQ/S", "ERR/S", "RUNNING", "WAITING", "KV", "PREEMPTIONS", "GPUS", "IDLE"];

/// A row of the table of workers.
pub(crate) fn worker_row(worker: &WorkerLoad) -> [String; 10] {
    let idle = match (worker.is_answering, worker.idle) {
        (false, _) => "no answer".to_owned(),
        (true, idle) => idle.map_or_else(|| ABSENT.to_owned(), duration),
    };
    [
        worker.name.clone(),
        worker.role.component_name().to_owned(),
        rate(worker.requests),
        rate(worker.errors),
        count(worker.running),
        count(worker.waiting),
        percent(worker.kv_cache_use),
        count(worker.preemptions),
        worker.gpus.to_string(),
        idle,
    ]
}

/// The columns of the table of deployments.
pub(crate) const DEPLOYMENT_HEADINGS: [&str; 15] = [
    "NAMESPACE",
    "NAME",
    "WORKERS",
    "REQ/S",
    "ERR/S",
    "FLIGHT",
    "QUEUED",
    "TTFT-P50",
    "TTFT-P99",
    "ITL-P50",
    "TOK/S-IN",
    "TOK/S-OUT",
    "CACHED",
    "KV",
    "GPUS-IDLE",
];

/// A row of the table of deployments.
pub(crate) fn deployment_row(top: &DeploymentTop) -> [String; 15] {
    let load = &top.report.load;
    let requests = load.requests.as_ref();
    let gpus = load.gpus;
    [
        top.namespace.clone().unwrap_or_else(|| "-".into()),
        top.name.clone(),
        format!("{}/{}", load.workers.answering, load.workers.total),
        rate(requests.map(RequestRates::total)),
        rate(requests.map(RequestRates::failed)),
        count(load.in_flight),
        count(load.queued),
        latency(load.time_to_first_token.map(|of| of.p50)),
        latency(load.time_to_first_token.map(|of| of.p99)),
        latency(load.inter_token_latency.map(|of| of.p50)),
        rate(load.input_tokens),
        rate(load.output_tokens),
        percent(load.cached_share),
        percent(load.kv_cache_use),
        format!(
            "{}/{}",
            gpus.idle.map_or_else(|| ABSENT.to_owned(), |idle| idle.to_string()),
            gpus.allocated
        ),
    ]
}

fn deployment_table(deployments: &[DeploymentTop]) -> String {
    table(&DEPLOYMENT_HEADINGS, deployments.iter().map(|top| deployment_row(top).to_vec()).collect())
}

fn document(deployments: &[DeploymentTop]) -> Value {
    let items: Vec<Value> = deployments.iter().map(deployment_json).collect();
    json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Top", "items": items })
}

fn deployment_json(top: &DeploymentTop) -> Value {
    let load = &top.report.load;
    let requests = load
        .requests
        .as_ref()
        .map(|rates| json!({ "success": rates.success, "failed": rates.failed(), "errors": rates.errors }));
    let problems = top.problems.iter().map(|problem| {
        json!({
            "process": problem.process, "code": problem.error.code(), "text": problem.error.to_string(),
        })
    });
    json!({
        "name": top.name, "namespace": top.namespace, "model": top.model, "release": top.release,
        "seconds": top.report.period.as_secs_f64(),
        "requestsPerSecond": requests, "inFlight": whole(load.in_flight), "queued": whole(load.queued),
        "timeToFirstToken": load.time_to_first_token.map(quantiles_json),
        "interTokenLatency": load.inter_token_latency.map(quantiles_json),
        "inputTokensPerSecond": load.input_tokens, "outputTokensPerSecond": load.output_tokens,
        "cachedShare": load.cached_share, "kvCacheUse": load.kv_cache_use,
        "gpus": { "allocated": load.gpus.allocated, "idle": load.gpus.idle },
        "frontends": { "total": load.frontends.total, "answering": load.frontends.answering },
        "workers": top.report.workers.iter().map(worker_json).collect::<Vec<_>>(),
        "problems": problems.collect::<Vec<_>>(),
    })
}

/// The bucket has no upper bound if the values are above all bounds.
fn quantiles_json(quantiles: LatencyQuantiles) -> Value {
    let quantile = |of: Quantile| {
        let upper = of.upper.is_finite().then_some(of.upper);
        json!({ "seconds": of.value, "bucket": { "lower": of.lower, "upper": upper } })
    };
    json!({ "p50": quantile(quantiles.p50), "p99": quantile(quantiles.p99) })
}

fn worker_json(worker: &WorkerLoad) -> Value {
    json!({
        "name": worker.name, "role": worker.role.component_name(), "node": worker.node,
        "answering": worker.is_answering, "requestsPerSecond": worker.requests, "errorsPerSecond": worker.errors,
        "running": whole(worker.running), "waiting": whole(worker.waiting), "kvCacheUse": worker.kv_cache_use,
        "preemptions": whole(worker.preemptions), "gpus": worker.gpus, "active": worker.was_active,
        "idleSeconds": worker.idle.map(|idle| idle.as_secs_f64()),
    })
}
