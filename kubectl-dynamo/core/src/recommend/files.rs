//! Reads the predictor's files: a table with the best configurations of a mode, and two YAML files for each of them.
//! A row of the table is one unit of a deployment, and the files repeat what the units add up to. They must agree.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{FileProblem, Prediction, RecommendError, RolePrediction};
use crate::intent::request::{TopologyMode, group_by_flag};
use crate::intent::{Parallelism, Topology, WorkerGroup, WorkerRole};

/// The table and the files of one mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PredictionFiles {
    pub mode: TopologyMode,
    /// `best_config_topn.csv`.
    pub table: String,
    /// For each row of the table, in order.
    pub configs: Vec<TopConfigFiles>,
}

/// The files of one row: `topN/generator_config.yaml` and `topN/k8s_deploy.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopConfigFiles {
    pub generator_config: String,
    /// A DynamoGraphDeployment. Only the engine arguments in it are used.
    pub manifest: String,
}

/// The name of the table, for messages.
const TABLE: &str = "best_config_topn.csv";
const GENERATOR_CONFIG: &str = "generator_config.yaml";
const MANIFEST: &str = "k8s_deploy.yaml";

/// Engine arguments that other fields of a request set, that name the model, or that the platform sets.
///
/// `--max-model-len` is left out as well. The predictor derives it from the lengths of the request, but it would reject
/// longer requests of clients, and its memory estimate does not depend on it.
const REPLACED_ARGUMENTS: &[&str] = &[
    "--model",
    "--served-model-name",
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--data-parallel-size",
    EXPERT_PARALLEL,
    "--max-model-len",
    "--disaggregation-mode",
    "--kv-transfer-config",
];
const EXPERT_PARALLEL: &str = "--enable-expert-parallel";

/// A row of the table. The columns of the other mode are missing.
#[derive(Debug, Clone, Deserialize)]
struct TableRow {
    ttft: f64,
    tpot: f64,
    concurrency: f64,
    #[serde(rename = "seq/s")]
    requests_per_second: f64,
    #[serde(rename = "tokens/s/gpu")]
    tokens_per_second_per_gpu: f64,
    #[serde(rename = "tokens/s/user")]
    tokens_per_second_per_user: f64,
    #[serde(rename = "num_total_gpus")]
    unit_gpus: f64,
    bs: Option<f64>,
    memory: Option<f64>,
    version: Option<String>,
    #[serde(rename = "(p)bs")]
    prefill_bs: Option<f64>,
    #[serde(rename = "(p)memory")]
    prefill_memory: Option<f64>,
    #[serde(rename = "(d)bs")]
    decode_bs: Option<f64>,
    #[serde(rename = "(d)memory")]
    decode_memory: Option<f64>,
    #[serde(rename = "(d)version")]
    decode_version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct GeneratorConfig {
    #[serde(rename = "WorkerConfig")]
    workers: WorkerCounts,
    #[serde(rename = "NodeConfig")]
    node: NodeSize,
    params: RoleSizes,
}

#[derive(Debug, Deserialize)]
struct NodeSize {
    num_gpus_per_node: u32,
}

#[derive(Debug, Deserialize)]
struct WorkerCounts {
    prefill_workers: u32,
    decode_workers: u32,
    agg_workers: u32,
}

#[derive(Debug, Deserialize)]
struct RoleSizes {
    #[serde(default)]
    prefill: WorkerSizes,
    #[serde(default)]
    decode: WorkerSizes,
    #[serde(default)]
    agg: WorkerSizes,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WorkerSizes {
    tensor_parallel_size: Option<u32>,
    pipeline_parallel_size: Option<u32>,
    data_parallel_size: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    spec: ManifestSpec,
}

#[derive(Debug, Deserialize)]
struct ManifestSpec {
    services: BTreeMap<String, ManifestService>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestService {
    component_type: Option<String>,
    sub_component_type: Option<String>,
    extra_pod_spec: Option<ManifestPod>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestPod {
    main_container: Option<ManifestContainer>,
}

#[derive(Debug, Deserialize)]
struct ManifestContainer {
    #[serde(default)]
    args: Vec<String>,
}

fn problem(file: &str, problem: FileProblem) -> RecommendError {
    RecommendError::InvalidFile { file: file.into(), problem }
}

fn parse_table(text: &str) -> Result<Vec<TableRow>, RecommendError> {
    let rows: Result<Vec<TableRow>, csv::Error> =
        csv::Reader::from_reader(text.as_bytes()).deserialize().collect();
    rows.map_err(|error| problem(TABLE, FileProblem::Syntax(error.to_string())))
}

fn parse_yaml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, RecommendError> {
    // The message of the parser has several lines, with a part of the file.
    let first_line =
        |error: serde_saphyr::Error| error.to_string().lines().next().unwrap_or_default().to_owned();
    serde_saphyr::from_str(text).map_err(|error| problem(file, FileProblem::Syntax(first_line(error))))
}

/// The lowest latencies in a table: to the first token, and between tokens, in milliseconds.
///
/// # Errors
/// A table that cannot be read or is empty.
pub fn best_latencies(table: &str) -> Result<(f64, f64), RecommendError> {
    let rows = parse_table(table)?;
    if rows.is_empty() {
        return Err(problem(TABLE, FileProblem::Empty));
    }
    let lowest = |of: fn(&TableRow) -> f64| rows.iter().map(of).fold(f64::INFINITY, f64::min);
    Ok((lowest(|row| row.ttft), lowest(|row| row.tpot)))
}

/// Reads the predictions of a mode. `gpus_per_node` determines the nodes of a worker.
///
/// # Errors
/// A file that cannot be read, or files that contradict each other.
pub fn read_predictions(
    files: &PredictionFiles,
    gpus_per_node: u32,
) -> Result<Vec<Prediction>, RecommendError> {
    let rows = parse_table(&files.table)?;
    if rows.is_empty() {
        return Err(problem(TABLE, FileProblem::Empty));
    }
    if rows.len() != files.configs.len() {
        let counts = FileProblem::ConfigsMissing { rows: rows.len(), configs: files.configs.len() };
        return Err(problem(TABLE, counts));
    }
    rows.iter()
        .zip(&files.configs)
        .map(|(row, config)| prediction(files.mode, row, config, gpus_per_node))
        .collect()
}

fn prediction(
    mode: TopologyMode,
    row: &TableRow,
    config: &TopConfigFiles,
    gpus_per_node: u32,
) -> Result<Prediction, RecommendError> {
    let generator: GeneratorConfig = parse_yaml(GENERATOR_CONFIG, &config.generator_config)?;
    let manifest: Manifest = parse_yaml(MANIFEST, &config.manifest)?;
    let RoleSizes { prefill, decode, agg } = &generator.params;
    let group = |role, replicas, sizes| worker_group(&manifest, role, replicas, sizes);
    let workers = &generator.workers;
    let (mut topology, roles, version) = match mode {
        TopologyMode::Aggregated => (
            Topology::Aggregated { worker: group(WorkerRole::Aggregated, workers.agg_workers, agg)? },
            vec![role_prediction(WorkerRole::Aggregated, row.bs, row.memory)?],
            &row.version,
        ),
        TopologyMode::Disaggregated => (
            Topology::Disaggregated {
                prefill: group(WorkerRole::Prefill, workers.prefill_workers, prefill)?,
                decode: group(WorkerRole::Decode, workers.decode_workers, decode)?,
            },
            vec![
                role_prediction(WorkerRole::Prefill, row.prefill_bs, row.prefill_memory)?,
                role_prediction(WorkerRole::Decode, row.decode_bs, row.decode_memory)?,
            ],
            &row.decode_version,
        ),
    };
    set_nodes(&mut topology, gpus_per_node);
    let mut prediction = Prediction {
        topology,
        roles,
        tokens_per_second_per_gpu: row.tokens_per_second_per_gpu,
        tokens_per_second_per_user: row.tokens_per_second_per_user,
        requests_per_second: 0.0,
        concurrency: 0.0,
        ttft: row.ttft,
        itl: row.tpot,
        gpus_per_node: generator.node.num_gpus_per_node,
        vllm_version: version.clone().ok_or_else(|| problem(TABLE, FileProblem::MissingColumn("version")))?,
    };
    let units = units(&prediction, row)?;
    prediction.requests_per_second = row.requests_per_second * units;
    prediction.concurrency = row.concurrency * units;
    Ok(prediction)
}

/// How many units of the row the deployment has.
fn units(prediction: &Prediction, row: &TableRow) -> Result<f64, RecommendError> {
    let gpus = prediction.gpus();
    let units = f64::from(gpus) / row.unit_gpus;
    // A division by zero is not a whole number either.
    match gpus > 0 && units >= 1.0 && units.is_finite() && units.fract() == 0.0 {
        true => Ok(units),
        false => Err(problem(GENERATOR_CONFIG, FileProblem::OtherGpus { gpus, unit_gpus: row.unit_gpus })),
    }
}

fn worker_group(
    manifest: &Manifest,
    role: WorkerRole,
    replicas: u32,
    sizes: &WorkerSizes,
) -> Result<WorkerGroup, RecommendError> {
    let args = engine_args(manifest, role)?;
    let size = |size: Option<u32>| size.filter(|size| *size > 0);
    let (Some(tensor), Some(pipeline), Some(data)) = (
        size(sizes.tensor_parallel_size),
        size(sizes.pipeline_parallel_size),
        size(sizes.data_parallel_size),
    ) else {
        return Err(problem(GENERATOR_CONFIG, FileProblem::NoParallelism(role)));
    };
    let expert = args.iter().any(|arg| arg == EXPERT_PARALLEL);
    Ok(WorkerGroup {
        replicas,
        parallelism: Parallelism { tensor, pipeline, data, expert },
        nodes: 1,
        engine_args: carried_args(args),
    })
}

/// The arguments of the worker with this role.
fn engine_args(manifest: &Manifest, role: WorkerRole) -> Result<&[String], RecommendError> {
    let is_role = |service: &&ManifestService| match role {
        WorkerRole::Prefill => service.sub_component_type.as_deref() == Some("prefill"),
        WorkerRole::Decode => service.sub_component_type.as_deref() == Some("decode"),
        WorkerRole::Aggregated | WorkerRole::Frontend => {
            service.component_type.as_deref() == Some("worker") && service.sub_component_type.is_none()
        }
    };
    let service = manifest.spec.services.values().find(is_role);
    let container = service.and_then(|service| service.extra_pod_spec.as_ref()?.main_container.as_ref());
    let args = container.map(|container| container.args.as_slice()).filter(|args| !args.is_empty());
    args.ok_or_else(|| problem(MANIFEST, FileProblem::NoWorker(role)))
}

/// The arguments that a request must carry, one word for each flag.
fn carried_args(args: &[String]) -> Vec<String> {
    let is_default = |words: &[String]| words.iter().any(|word| word == "auto");
    let carried = group_by_flag(args)
        .into_iter()
        .filter(|(flag, words)| !REPLACED_ARGUMENTS.contains(&flag.as_str()) && !is_default(words));
    carried.map(|(_, words)| words.join("=")).collect()
}

fn role_prediction(
    role: WorkerRole,
    batch: Option<f64>,
    gibibytes: Option<f64>,
) -> Result<RolePrediction, RecommendError> {
    let missing = |column| problem(TABLE, FileProblem::MissingColumn(column));
    let batch = batch.ok_or_else(|| missing("bs"))?;
    let gibibytes = gibibytes.ok_or_else(|| missing("memory"))?;
    Ok(RolePrediction { role, batch: batch as u64, memory: (gibibytes * f64::from(1 << 30)) as u64 })
}

/// A worker with more GPUs than a node has spans several.
fn set_nodes(topology: &mut Topology, gpus_per_node: u32) {
    let set = |group: &mut WorkerGroup| {
        group.nodes = group.parallelism.gpus().div_ceil(gpus_per_node.max(1)).max(1)
    };
    match topology {
        Topology::Aggregated { worker } => set(worker),
        Topology::Disaggregated { prefill, decode } => {
            set(prefill);
            set(decode);
        }
    }
}

#[cfg(test)]
mod tests;
