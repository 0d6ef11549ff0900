//! The table and the JSON document of `recommend`. Every number of the predictor is labeled as a prediction.

use serde_json::{Value, json};

use crate::local::predictor::PACKAGE;
use crate::output::DocumentFormat;
use crate::render::fit::{format_bytes, result_text};
use crate::render::table::table;
use crate::typed_command::typed;
use crate::workflow::fit::{PlacementError, RoleFit};
use crate::workflow::recommend::{Candidate, Recommendation, WeightSource};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::{StringEnum, Topology, WorkerGroup, WorkerRole};
use kubectl_dynamo_core::recommend::{MemoryComparison, Sizing};
use kubectl_dynamo_core::release::{AICONFIGURATOR_VERSION, DEFAULT_RELEASE, Release};

/// The beginning of the flag that stores the KV cache in 8 bits.
const FP8_CACHE: &str = "--kv-cache-dtype=fp8";

/// Returns the ranked table, then the command and the request file of the best deployment.
///
/// # Errors
/// None in practice: every request can be written as YAML.
pub(crate) fn table_text(found: &Recommendation) -> Result<String> {
    let headings =
        ["", "MODE", "WORKERS", "GPUS", "TOK/S/GPU", "TOK/S/USER", "REQ/S", "TTFT", "ITL", "MEM/GPU", "FIT"];
    let rows = found.candidates.iter().enumerate().map(|(at, candidate)| row(found, at, candidate));
    let mut text = format!("{}\n\n{}\n", heading(found), table(&headings, rows.collect()));
    for note in notes(found) {
        text += &format!("{note}\n");
    }
    let request = DocumentFormat::Yaml.text(&found.best().request(&found.model))?;
    text += &format!("\nServe the marked one:\n  {}\n", typed(found.command()));
    text += "\nThe same as a file for `up -f`:\n";
    for line in request.lines() {
        text += &format!("  {line}\n");
    }
    Ok(text)
}

/// Returns the command of the best deployment in one line.
pub(crate) fn command_text(found: &Recommendation) -> String {
    format!("{}\n", typed(found.command()))
}

fn heading(found: &Recommendation) -> String {
    let target = &found.target;
    let load = match found.sizing {
        Sizing::Gpus(_) => String::new(),
        Sizing::RequestRate(rate) => format!(" · {rate} requests/s"),
        Sizing::Concurrency(concurrency) => format!(" · {concurrency} requests in flight"),
    };
    format!(
        "{} · {} ({}) · {} tokens in, {} out{load} · TTFT up to {} ms, ITL up to {} ms\n{}",
        found.model,
        found.hardware,
        found.system.name(),
        target.input_tokens,
        target.output_tokens,
        target.ttft.milliseconds(),
        target.itl.milliseconds(),
        prediction_label(found),
    )
}

/// Says that the numbers are predictions, and from which data.
fn prediction_label(found: &Recommendation) -> String {
    let data = &found.best().prediction.vllm_version;
    let mut label =
        format!("predicted by {PACKAGE} {AICONFIGURATOR_VERSION} from data of vLLM {data}, not measured");
    if let Some(vllm) = release_vllm() {
        label += &format!("; Dynamo {DEFAULT_RELEASE} runs vLLM {vllm}");
    }
    label
}

fn release_vllm() -> Option<&'static str> {
    Release::find(DEFAULT_RELEASE).ok().map(Release::vllm_version)
}

fn row(found: &Recommendation, at: usize, candidate: &Candidate) -> Vec<String> {
    let prediction = &candidate.prediction;
    let mark = if found.is_best(at) { "→" } else { " " };
    vec![
        format!("{mark} {}", at + 1),
        prediction.topology.mode().into(),
        workers(&prediction.topology),
        prediction.gpus().to_string(),
        format!("{:.0}", prediction.tokens_per_second_per_gpu),
        format!("{:.1}", prediction.tokens_per_second_per_user),
        format!("{:.2}", prediction.requests_per_second),
        format!("{:.0} ms", prediction.ttft),
        format!("{:.1} ms", prediction.itl),
        join(prediction.roles.iter().map(|role| format_bytes(role.memory))),
        fit_cell(candidate),
    ]
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// The calculated memory of each role, or why it does not fit.
fn fit_cell(candidate: &Candidate) -> String {
    match &candidate.fits.gpus_needed {
        Err(PlacementError::NotEnoughGpus { available, .. }) => return format!("only {available} GPUs"),
        Err(PlacementError::WorkerTooLarge { needed, .. }) => {
            return format!("needs {needed} nodes per worker");
        }
        Ok(_) if candidate.assumes_larger_nodes => {
            return format!("predicted for {} GPUs per node", candidate.prediction.gpus_per_node);
        }
        Ok(_) => {}
    }
    let cell = |(role, comparison): (&RoleFit, &Option<MemoryComparison>)| match comparison {
        Some(comparison) if role.row.fits() => format_bytes(comparison.calculated),
        Some(_) => result_text(&role.row.result),
        None => "-".into(),
    };
    join(candidate.fits.roles.iter().zip(&candidate.comparisons).map(cell))
}

fn workers(topology: &Topology) -> String {
    join(topology.groups().into_iter().map(|(role, group)| match role {
        WorkerRole::Prefill | WorkerRole::Decode => format!("{} {role}", group_text(group)),
        WorkerRole::Aggregated | WorkerRole::Frontend => group_text(group),
    }))
}

/// Such as `8×TP1`, or `1×TP2 PP2 DP4 EP`.
fn group_text(group: &WorkerGroup) -> String {
    let parallelism = group.parallelism;
    let mut text = format!("{}×TP{}", group.replicas, parallelism.tensor);
    for (name, size) in [("PP", parallelism.pipeline), ("DP", parallelism.data)] {
        if size > 1 {
            text += &format!(" {name}{size}");
        }
    }
    if parallelism.expert {
        text += " EP";
    }
    text
}

fn notes(found: &Recommendation) -> Vec<String> {
    let mut notes = Vec::new();
    let best = found.best();
    if !best.is_servable() {
        notes.push("no deployment fits these GPUs as predicted: see the column FIT".into());
    }
    notes.push(format!(
        "the latencies are predicted for {:.0} requests in flight",
        best.prediction.concurrency
    ));
    for mode in &found.other_modes {
        notes.push(format!("{}: no configuration meets the limits", mode.as_str()));
    }
    if found.weights == WeightSource::Configuration {
        let size = format_bytes(found.weight_bytes);
        notes.push(format!("weights: {size}, calculated from config.json because there are no weight files"));
    }
    for difference in &best.differences {
        notes.push(format!("{} {difference}", MessageCode::PredictedMemoryDiffers));
    }
    let groups = best.prediction.topology.groups();
    if groups.iter().any(|(_, group)| group.engine_args.iter().any(|arg| arg.starts_with(FP8_CACHE))) {
        notes.push(format!("{FP8_CACHE}: the prediction assumes it, and it changes answers slightly"));
    }
    notes
}

/// Returns the document of all predictions.
pub(crate) fn document(found: &Recommendation) -> Value {
    let target = &found.target;
    let (request_rate, concurrency) = match found.sizing {
        Sizing::Gpus(_) => (None, None),
        Sizing::RequestRate(rate) => (Some(rate), None),
        Sizing::Concurrency(concurrency) => (None, Some(concurrency)),
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "Recommendation",
        "model": found.model.to_string(),
        "hardware": found.hardware.to_string(),
        "weightBytes": found.weight_bytes,
        "weightSource": found.weights,
        "target": {
            "inputTokens": target.input_tokens, "outputTokens": target.output_tokens,
            "ttftMilliseconds": target.ttft, "itlMilliseconds": target.itl,
            "objective": found.sizing.objective().as_str(),
            "requestRate": request_rate, "concurrency": concurrency,
        },
        "predictor": {
            "name": PACKAGE, "version": AICONFIGURATOR_VERSION, "system": found.system.name(),
            "vllmVersion": found.best().prediction.vllm_version,
            "release": DEFAULT_RELEASE, "releaseVllmVersion": release_vllm(),
        },
        "isMeasured": false,
        "modesWithoutPrediction": found.other_modes.iter().map(|mode| mode.as_str()).collect::<Vec<_>>(),
        "command": typed(found.command()),
        "request": found.best().request(&found.model),
        "predictions": found.candidates.iter().enumerate().map(|(at, one)| prediction_document(found, at, one)).collect::<Vec<_>>(),
    })
}

fn prediction_document(found: &Recommendation, at: usize, candidate: &Candidate) -> Value {
    let prediction = &candidate.prediction;
    let groups = prediction.topology.groups();
    let roles =
        groups.iter().zip(&prediction.roles).zip(candidate.fits.roles.iter().zip(&candidate.comparisons));
    json!({
        "rank": at + 1,
        "isRecommended": found.is_best(at),
        "mode": prediction.topology.mode(),
        "gpus": prediction.gpus(),
        "tokensPerSecondPerGpu": prediction.tokens_per_second_per_gpu,
        "tokensPerSecondPerUser": prediction.tokens_per_second_per_user,
        "requestsPerSecond": prediction.requests_per_second,
        "concurrency": prediction.concurrency,
        "ttftMilliseconds": prediction.ttft,
        "itlMilliseconds": prediction.itl,
        "assumedGpusPerNode": prediction.gpus_per_node,
        "fits": candidate.is_servable(),
        "text": candidate.fits.gpus_needed.as_ref().err().map(ToString::to_string),
        "memoryDifferences": candidate.differences.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "command": typed(candidate.command(&found.model)),
        "roles": roles.map(|(((role, group), predicted), (fit, comparison))| json!({
            "role": role.to_string(),
            "replicas": group.replicas,
            "tensorParallelSize": group.parallelism.tensor,
            "pipelineParallelSize": group.parallelism.pipeline,
            "dataParallelSize": group.parallelism.data,
            "enableExpertParallel": group.parallelism.expert,
            "nodes": group.nodes,
            "engineArgs": group.engine_args,
            "batch": predicted.batch,
            "predictedBytesPerGpu": predicted.memory,
            "calculatedBytesPerGpu": comparison.map(|comparison| comparison.calculated),
            "concurrentRequestsThatFit": comparison.map(|comparison| comparison.concurrent_requests),
            "fits": fit.row.fits(),
            "fitText": result_text(&fit.row.result),
        })).collect::<Vec<_>>(),
    })
}
