//! Calculates where a model fits: weights and KV cache per GPU for each parallelism, or for each role of a
//! deployment. It accesses a cluster only for the GPUs of its nodes, and must not download weights. The memory
//! arithmetic is in the core.

mod model_weights;
mod roles;

use crate::context::Context;
use kubectl_dynamo_cluster::FactsRequest;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::fit::{
    Architecture, EngineMemory, Fit, FitRequest, Hardware, ParallelismViolation, RequestedLength,
    fit as fit_worker, min_weights_per_gpu, parallelism_violations,
};
use kubectl_dynamo_core::intent::Parallelism;
use kubectl_dynamo_core::intent::request::MergedSettings;
use kubectl_dynamo_core::plan::model_cache::load_format_of;
use kubectl_dynamo_core::preflight::{self, ClusterHardwareError, Fact};
use kubectl_dynamo_core::release::{MemoryRules, Release};
use model_weights::read_model_weights;
pub(crate) use model_weights::{ModelWeights, read_model_files};
pub(crate) use roles::{PlacementError, RoleFit, RoleFits, role_fits};

/// Options of `fit`.
pub(crate) struct FitOptions {
    /// Model ID on the hub, or a folder.
    pub model: String,
    pub hardware: Hardware,
    /// The release whose rules apply; those of all releases that need the most memory if not set.
    pub release: Option<&'static Release>,
    /// Maximum request length; that of the engine arguments if not set.
    pub max_model_len: Option<RequestedLength>,
    pub settings: MergedSettings,
}

/// What fits.
pub(crate) enum FitReport {
    /// One row for each parallelism of a single worker.
    Shapes(Vec<FitRow>),
    /// The roles of a deployment.
    Roles(RoleFits),
}

impl FitReport {
    /// Returns whether any parallelism fits, or the complete deployment.
    pub(crate) fn fits(&self) -> bool {
        match self {
            Self::Shapes(rows) => rows.iter().any(FitRow::fits),
            Self::Roles(fits) => fits.fits(),
        }
    }
}

/// Returns the GPUs of the cluster that kubectl's flags select.
///
/// # Errors
/// The cluster cannot be reached, or its nodes do not have GPUs of one kind.
pub(crate) async fn cluster_hardware(context: &Context) -> Result<Hardware> {
    let cluster = context.cluster().await?;
    let request = FactsRequest { nodes: true, ..FactsRequest::default() };
    Ok(match cluster.collect_facts(&request).await?.nodes {
        Fact::Known(nodes) => preflight::cluster_hardware(&nodes)?,
        Fact::Unavailable(reason) => return Err(ClusterHardwareError::Unavailable { reason }.into()),
        Fact::NotQueried => preflight::cluster_hardware(&[])?,
    })
}

/// Reads the facts about a model and calculates where it fits.
///
/// # Errors
/// A model that cannot be read, or settings that contradict each other.
pub(crate) async fn fit(options: FitOptions, context: &Context) -> Result<(FitQuery, FitReport)> {
    let FitOptions { model, hardware, release, max_model_len, settings } = options;
    let engine_args = engine_args(&settings);
    let mut engine = EngineMemory::from_args(&engine_args)?;
    if let Some(length) = max_model_len {
        engine.max_model_len = length;
    }
    let format = load_format_of(&engine_args).unwrap_or_default();
    let mut model = read_model_weights(&model, format, context).await?;
    model.config = engine.overrides.apply(&model.config);
    let architecture = Architecture::from_config(&model.config);
    if let Err(unknown) = &architecture {
        let text = format!("{unknown}; only weights are counted, assuming an even split");
        context.report.warn(Some(MessageCode::UnknownModelArchitecture), text, None);
    }
    let query = FitQuery {
        hardware,
        architecture: architecture.ok(),
        model,
        engine,
        release,
        rules: release.map_or_else(MemoryRules::most_demanding, |release| release.memory),
        expert: settings.get("worker.enableExpertParallel").is_some_and(|found| found.setting.value == true),
    };
    if roles::is_deployment_request(&settings) {
        let fits = roles::role_fits(&query, &settings)?;
        return Ok((query, FitReport::Roles(fits)));
    }
    let candidates = query.candidate_parallelisms(&settings).into_iter();
    let rows = candidates.map(|parallelism| query.evaluate(parallelism)).collect();
    Ok((query, FitReport::Shapes(rows)))
}

/// The engine arguments after `--`.
fn engine_args(settings: &MergedSettings) -> Vec<String> {
    let given = settings.all("engineArgs").filter_map(|found| found.setting.value.as_array()).flatten();
    given.filter_map(|arg| arg.as_str().map(ToOwned::to_owned)).collect()
}

/// The model, the hardware, and the engine's memory settings.
#[derive(Clone)]
pub(crate) struct FitQuery {
    pub hardware: Hardware,
    pub architecture: Option<Architecture>,
    pub model: ModelWeights,
    pub engine: EngineMemory,
    /// The release that the user named.
    pub release: Option<&'static Release>,
    pub rules: MemoryRules,
    pub expert: bool,
}

/// The result for one parallelism.
pub(crate) struct FitRow {
    pub parallelism: Parallelism,
    pub nodes: u32,
    pub weights: u64,
    /// The memory fit; `None` if the architecture is unknown.
    pub fit: Option<Fit>,
    pub result: FitResult,
}

/// Whether a parallelism fits.
pub(crate) enum FitResult {
    /// Requests of the maximum length fit. `longest` is the length of the longest that fits, if the model
    /// supports longer ones.
    Fits {
        longest: Option<u64>,
    },
    /// The KV cache is too small; a request can have at most this many tokens.
    TooShort {
        tokens: u64,
    },
    TooLarge,
    /// The model does not support requests of the maximum length.
    AboveModelLimit {
        tokens: u64,
    },
    Impossible(ParallelismViolation),
}

impl FitRow {
    pub(crate) fn fits(&self) -> bool {
        matches!(self.result, FitResult::Fits { .. })
    }
}

impl FitQuery {
    /// Returns the parallelisms to show, in powers of two: tensor parallelism within a node, pipeline
    /// parallelism across nodes.
    fn candidate_parallelisms(&self, settings: &MergedSettings) -> Vec<Parallelism> {
        let fixed_size = |path: &str| {
            let count = settings.get(path)?.setting.value.as_u64()?;
            u32::try_from(count).ok().filter(|count| *count > 0)
        };
        let with_sizes =
            |tensor: u32, pipeline: u32| Parallelism { tensor, pipeline, data: 1, expert: self.expert };
        let powers_of_two = |max: u32| {
            std::iter::successors(Some(1_u32), |n| n.checked_mul(2)).take_while(move |n| *n <= max)
        };
        match (fixed_size("worker.tensorParallelSize"), fixed_size("worker.pipelineParallelSize")) {
            (Some(tensor), Some(pipeline)) => vec![with_sizes(tensor, pipeline)],
            (Some(tensor), None) => {
                powers_of_two(self.hardware.gpus() / tensor.max(1)).map(|n| with_sizes(tensor, n)).collect()
            }
            (None, Some(pipeline)) => powers_of_two(self.hardware.gpus() / pipeline.max(1))
                .map(|n| with_sizes(n, pipeline))
                .collect(),
            (None, None) => {
                let widest = powers_of_two(self.hardware.gpus_per_node).last().unwrap_or(1);
                let within_node = powers_of_two(self.hardware.gpus_per_node).map(|n| with_sizes(n, 1));
                within_node
                    .chain(powers_of_two(self.hardware.nodes).skip(1).map(|n| with_sizes(widest, n)))
                    .collect()
            }
        }
    }

    fn evaluate(&self, parallelism: Parallelism) -> FitRow {
        let nodes = parallelism.gpus().div_ceil(self.hardware.gpus_per_node);
        let Some(architecture) = &self.architecture else {
            let weights =
                min_weights_per_gpu(&self.model.config, self.model.bytes, parallelism, &self.engine);
            let usable = (self.hardware.gpu_memory as f64 * self.utilization()) as u64;
            let result = match weights < usable {
                true => FitResult::Fits { longest: None },
                false => FitResult::TooLarge,
            };
            return FitRow { parallelism, nodes, weights, fit: None, result };
        };
        let worker = FitRequest {
            parallelism,
            gpu_memory: self.hardware.gpu_memory,
            engine: &self.engine,
            rules: &self.rules,
        };
        let fit = fit_worker(architecture, self.model.bytes, &worker);
        let result = match parallelism_violations(architecture, parallelism).into_iter().next() {
            Some(limit) => FitResult::Impossible(limit),
            None if fit.exceeds_model() => FitResult::AboveModelLimit { tokens: fit.context.maximum },
            None if fit.can_serve() => FitResult::Fits {
                longest: Some(fit.longest_request).filter(|longest| *longest < fit.context.maximum),
            },
            None if fit.longest_request == 0 => FitResult::TooLarge,
            None => FitResult::TooShort { tokens: fit.longest_request },
        };
        FitRow { parallelism, nodes, weights: fit.weights, fit: Some(fit), result }
    }

    pub(crate) fn utilization(&self) -> f64 {
        self.engine.utilization(&self.rules)
    }
}
