//! Recommends the sizes of a deployment: asks the predictor, compares its memory with `fit`, and derives the request
//! that serves each prediction. It does not change a cluster, and it leaves no files besides the installed predictor.

mod candidate;
mod error;
mod model;
mod prediction_folder;
mod predictions;

use std::path::Path;

pub(crate) use candidate::Candidate;
pub(crate) use error::RecommendFailure;
pub(crate) use model::WeightSource;

use crate::context::Context;
use crate::local::LocalFeature;
use crate::local::predictor::{self, PACKAGE, Predictor};
use crate::report::{Report, Stage};
use crate::workflow::fit::{FitQuery, ModelWeights};
use crate::workflow::local::environment;
use crate::workflow::local::session::report_progress;
use candidate::candidates;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::fit::{Architecture, EngineMemory, Hardware, RequestedLength};
use kubectl_dynamo_core::intent::ModelRef;
use kubectl_dynamo_core::intent::request::TopologyMode;
use kubectl_dynamo_core::recommend::{
    GpuSystem, PredictionQuery, PredictionTarget, RecommendError, Sizing, rank,
};
use kubectl_dynamo_core::release::{AICONFIGURATOR_VERSION, MemoryRules};
use model::find_model;
use predictions::Predicting;

/// Options of `recommend`.
pub(crate) struct RecommendOptions {
    /// Model ID on the hub, or a folder with a configuration.
    pub model: String,
    pub hardware: Hardware,
    pub target: PredictionTarget,
    pub sizing: Sizing,
}

/// The predictions, best first, and what they are based on.
pub(crate) struct Recommendation {
    pub model: ModelRef,
    pub hardware: Hardware,
    pub system: GpuSystem,
    pub target: PredictionTarget,
    pub sizing: Sizing,
    pub weights: WeightSource,
    pub weight_bytes: u64,
    pub candidates: Vec<Candidate>,
    /// The first candidate that fits the GPUs and their memory; else the first.
    best: usize,
    /// Modes without a prediction: none meets the limits, or aiconfigurator failed for the mode.
    pub other_modes: Vec<TopologyMode>,
}

impl Recommendation {
    /// The candidate that the command serves.
    pub(crate) fn best(&self) -> &Candidate {
        &self.candidates[self.best]
    }

    /// Returns whether this is the candidate that the command serves.
    pub(crate) fn is_best(&self, at: usize) -> bool {
        at == self.best
    }

    /// Fails if the best candidate needs more GPUs than there are.
    ///
    /// # Errors
    /// [`RecommendFailure::NotEnoughGpus`].
    pub(crate) fn check_gpus(&self) -> std::result::Result<(), RecommendFailure> {
        let (needed, available) = (self.best().prediction.gpus(), self.hardware.gpus());
        match needed > available {
            true => Err(RecommendFailure::NotEnoughGpus { needed, available }),
            false => Ok(()),
        }
    }

    /// The command that serves the best candidate.
    pub(crate) fn command(&self) -> SuggestedCommand {
        self.best().command(&self.model)
    }
}

/// Predicts the deployments of a model and ranks them.
///
/// # Errors
/// Invalid options, a model whose configuration cannot be read, a predictor that fails, or limits that no deployment meets.
pub(crate) async fn recommend(options: RecommendOptions, context: &Context) -> Result<Recommendation> {
    let report = &context.report;
    let model = ModelRef::parse_path_or_hub_id(&options.model)?;
    let system = GpuSystem::find(&options.hardware)?;
    let supervisor = environment::current_executable()?;
    let predictor = prepare_predictor(&supervisor, report).await?;
    let folder = prediction_folder::create()?;
    let found = find_model(&model, &predictor, folder.path(), context).await?;
    let fit = fit_query(&options, &found.weights, report)?;
    let query = PredictionQuery {
        model_folder: found.weights.folder.display().to_string(),
        system,
        target: options.target,
        sizing: options.sizing,
    };
    let predicting =
        Predicting { predictor: &predictor, supervisor: &supervisor, folder: folder.path(), report };
    let mut predicted = predicting.predict(&query, options.hardware.gpus_per_node).await?;
    rank(&mut predicted.predictions, options.sizing.objective());
    report.done(Stage::Prediction, format!("{} deployments predicted", predicted.predictions.len()));
    let candidates = candidates(predicted.predictions, &fit, &options.target)?;
    let best = candidates.iter().position(Candidate::is_servable).unwrap_or(0);
    for difference in candidates.get(best).iter().flat_map(|best| &best.differences) {
        report.warn(Some(MessageCode::PredictedMemoryDiffers), difference.to_string(), None);
    }
    Ok(Recommendation {
        model,
        hardware: options.hardware,
        system,
        target: options.target,
        sizing: options.sizing,
        weights: found.source,
        weight_bytes: found.weights.bytes,
        candidates,
        best,
        other_modes: predicted.other_modes,
    })
}

async fn prepare_predictor(supervisor: &Path, report: &Report) -> Result<Predictor> {
    let folders = environment::folders_for(LocalFeature::Aiconfigurator)?;
    let observer = |progress| report_progress(progress, report);
    let predictor = predictor::prepare(&folders, supervisor, &observer).await?;
    let state = if predictor.reused { "already installed" } else { "installed" };
    report.done(Stage::Runtime, format!("{PACKAGE} {AICONFIGURATOR_VERSION} {state}"));
    Ok(predictor)
}

/// Prepares the arithmetic of `fit` for requests of the target's length.
fn fit_query(options: &RecommendOptions, model: &ModelWeights, report: &Report) -> Result<FitQuery> {
    let architecture = Architecture::from_config(&model.config);
    let tokens = options.target.request_tokens();
    let engine = EngineMemory { max_model_len: RequestedLength::Tokens(tokens), ..EngineMemory::default() };
    let rules = MemoryRules::most_demanding();
    match &architecture {
        Ok(architecture) => {
            let maximum = architecture.context_length(&engine, &rules).maximum;
            if tokens > maximum {
                return Err(RecommendError::LongerThanModel { tokens, maximum }.into());
            }
        }
        Err(unknown) => {
            let text = format!("{unknown}; fit cannot check the memory of the predictions");
            report.warn(Some(MessageCode::UnknownModelArchitecture), text, None);
        }
    }
    Ok(FitQuery {
        hardware: options.hardware.clone(),
        architecture: architecture.ok(),
        model: model.clone(),
        engine,
        release: None,
        rules,
        expert: false,
    })
}
