//! The table and the JSON document of `fit`. It must not calculate memory.

use serde::Serialize;
use serde_json::{Value, json};

use crate::render::table::table;
use crate::workflow::fit::{FitQuery, FitResult, FitRow};
use kubectl_dynamo_core::fit::{ContextLength, Fit, ParallelismViolation, RequestedLength};
use kubectl_dynamo_core::release::{CATALOG, MemoryRules, Release};

/// Returns the lines that describe the model, the hardware, and the request length.
pub(crate) fn heading(query: &FitQuery) -> String {
    let name =
        query.architecture.as_ref().map_or("unknown architecture", |architecture| architecture.name.as_str());
    let mut text = format!("{} · {name} · {} weights\n", query.model.name, format_bytes(query.model.bytes));
    text += &format!(
        "{}, {} each, {:.0} % for the engine",
        query.hardware,
        format_bytes(query.hardware.gpu_memory),
        query.utilization() * 100.0
    );
    let Some(context) = context_length(query, &query.rules) else { return text };
    match query.engine.max_model_len {
        RequestedLength::Tokens(tokens) => text += &format!(" · requests up to {tokens} tokens"),
        RequestedLength::LongestThatFits => text += " · the longest requests that fit",
        RequestedLength::ModelDefault => text += &format!(" · requests up to {} tokens", context.default),
    }
    for note in length_notes(query, context) {
        text += &format!("\n{note}");
    }
    text
}

/// Explains a length that is not the only one: of a model that supports more than the engine starts with, and
/// of releases that derive different lengths.
fn length_notes(query: &FitQuery, context: ContextLength) -> Vec<String> {
    let mut notes = Vec::new();
    if query.engine.max_model_len != RequestedLength::ModelDefault {
        return notes;
    }
    if context.maximum > context.default {
        notes.push(format!("the model supports up to {} tokens with --max-model-len", context.maximum));
    }
    if query.release.is_some() {
        return notes;
    }
    let default_of =
        |release: &Release| context_length(query, &release.memory).map_or(0, |context| context.default);
    for releases in CATALOG.chunk_by(|one, next| default_of(one) == default_of(next)) {
        let (starts, tokens) = match releases {
            [] => continue,
            [one] => (format!("release {} starts", one.version), default_of(one)),
            [first, .., last] => {
                (format!("releases {} to {} start", first.version, last.version), default_of(first))
            }
        };
        if tokens != context.default {
            notes.push(format!("{starts} with {tokens} tokens"));
        }
    }
    notes
}

fn context_length(query: &FitQuery, rules: &MemoryRules) -> Option<ContextLength> {
    Some(query.architecture.as_ref()?.context_length(&query.engine, rules))
}

pub(crate) fn table_text(query: &FitQuery, rows: &[FitRow]) -> String {
    let rows = rows.iter().map(|row| {
        let fit_cell = |render: &dyn Fn(&Fit) -> String| row.fit.as_ref().map_or_else(|| "-".into(), render);
        vec![
            row.parallelism.tensor.to_string(),
            row.parallelism.pipeline.to_string(),
            row.nodes.to_string(),
            format_bytes(row.weights),
            fit_cell(&|fit| format_bytes(fit.kv_capacity)),
            fit_cell(&|fit| format_bytes(fit.kv_per_request)),
            fit_cell(&|fit| fit.concurrent_requests().to_string()),
            result_text(&row.result),
        ]
    });
    let headings = ["TP", "PP", "NODES", "WEIGHTS", "KV CACHE", "KV/REQ", "REQUESTS", ""];
    format!("{}\n{}", heading(query), table(&headings, rows.collect()))
}

pub(crate) fn row_document(row: &FitRow) -> Value {
    json!({
        "tensorParallelSize": row.parallelism.tensor, "pipelineParallelSize": row.parallelism.pipeline,
        "nodes": row.nodes, "fits": row.fits(), "text": result_text(&row.result),
        "bytesPerGpu": {
            "weights": row.weights, "overhead": row.fit.map(|fit| fit.overhead),
            "kvCapacity": row.fit.map(|fit| fit.kv_capacity), "kvPerToken": row.fit.map(|fit| fit.kv_per_token),
            "kvPerRequest": row.fit.map(|fit| fit.kv_per_request),
        },
        "concurrentRequests": row.fit.map(|fit| fit.concurrent_requests()),
        "longestFittingTokens": row.fit.map(|fit| fit.longest_request),
    })
}

pub(crate) fn document_head(query: &FitQuery) -> Value {
    let context = context_length(query, &query.rules);
    let longest = match query.engine.max_model_len {
        RequestedLength::Tokens(tokens) => Some(tokens),
        RequestedLength::ModelDefault | RequestedLength::LongestThatFits => {
            context.map(|context| context.default)
        }
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "Fit",
        "model": query.model.name,
        "architecture": query.architecture.as_ref().map(|architecture| &architecture.name),
        "weightBytes": query.model.bytes,
        "hardware": query.hardware.to_string(),
        "gpuMemoryBytes": query.hardware.gpu_memory,
        "gpuMemoryUtilization": query.utilization(),
        "release": query.release.map(|release| release.version),
        "longestRequestTokens": longest.unwrap_or(0),
        "supportedTokens": context.map(|context| context.maximum),
    })
}

pub(crate) fn document(query: &FitQuery, rows: &[FitRow]) -> Value {
    json!(FitDocument { head: document_head(query), shapes: rows.iter().map(row_document).collect() })
}

#[derive(Serialize)]
struct FitDocument {
    #[serde(flatten)]
    head: Value,
    shapes: Vec<Value>,
}

pub(crate) fn result_text(result: &FitResult) -> String {
    match result {
        FitResult::Fits { longest: None } => "fits".into(),
        FitResult::Fits { longest: Some(tokens) } => format!("fits (max {tokens})"),
        FitResult::TooShort { tokens } => format!("max {tokens} tokens"),
        FitResult::TooLarge => "too large".into(),
        FitResult::AboveModelLimit { tokens } => format!("model limit {tokens}"),
        FitResult::Impossible(ParallelismViolation::Heads { heads, .. }) => {
            format!("{heads} heads not divisible")
        }
        FitResult::Impossible(ParallelismViolation::KvHeads { kv_heads, .. }) => {
            format!("{kv_heads} KV heads not divisible")
        }
        FitResult::Impossible(ParallelismViolation::NoExperts) => "no experts".into(),
        FitResult::Impossible(ParallelismViolation::Layers { layers, .. }) => format!("only {layers} layers"),
    }
}

/// Formats bytes briefly, so that a row fits in 80 columns.
pub(crate) fn format_bytes(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        0.0 => "0".into(),
        mebibytes if mebibytes < 1024.0 => format!("{mebibytes:.0} MiB"),
        mebibytes => format!("{:.1} GiB", mebibytes / 1024.0),
    }
}
