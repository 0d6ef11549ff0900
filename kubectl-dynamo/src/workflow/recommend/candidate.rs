//! A prediction with the request that serves it, and what `fit` calculates for it.

use crate::workflow::fit::{FitQuery, FitResult, RoleFit, RoleFits, role_fits};
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::fit::{EngineMemory, RequestedLength};
use kubectl_dynamo_core::intent::ModelRef;
use kubectl_dynamo_core::intent::request::{MergedSettings, Setting};
use kubectl_dynamo_core::recommend::{
    MemoryComparison, MemoryDifference, Prediction, PredictionTarget, RolePrediction, request_document,
    request_settings, up_command,
};
use serde_json::Value;

/// A predicted deployment.
pub(crate) struct Candidate {
    pub prediction: Prediction,
    /// The fit of requests with the lengths of the target.
    pub fits: RoleFits,
    /// For each role of the prediction; `None` if the architecture of the model is unknown.
    pub comparisons: Vec<Option<MemoryComparison>>,
    pub differences: Vec<MemoryDifference>,
    /// Whether the prediction is for nodes with more GPUs.
    pub assumes_larger_nodes: bool,
    /// The request without the model.
    settings: Vec<Setting>,
}

impl Candidate {
    /// Returns whether the GPUs can serve it as predicted.
    pub(crate) fn is_servable(&self) -> bool {
        self.fits.fits() && !self.assumes_larger_nodes
    }

    /// The command of `up`.
    pub(crate) fn command(&self, model: &ModelRef) -> SuggestedCommand {
        up_command(model, &self.settings)
    }

    /// The content of a request file.
    pub(crate) fn request(&self, model: &ModelRef) -> Value {
        request_document(model, &self.settings)
    }
}

/// Adds the request and the fit to each prediction.
pub(super) fn candidates(
    predictions: Vec<Prediction>,
    query: &FitQuery,
    target: &PredictionTarget,
) -> Result<Vec<Candidate>> {
    predictions.into_iter().map(|prediction| candidate(prediction, query, target)).collect()
}

fn candidate(prediction: Prediction, query: &FitQuery, target: &PredictionTarget) -> Result<Candidate> {
    let settings = MergedSettings::from_layers([request_settings(&prediction, None)]);
    let fits = role_fits(query, &settings)?;
    let with_model_length = FitQuery {
        engine: EngineMemory { max_model_len: RequestedLength::ModelDefault, ..query.engine.clone() },
        ..query.clone()
    };
    let limit = length_limit(&role_fits(&with_model_length, &settings)?, target);
    let compare =
        |(role, fit): (RolePrediction, &RoleFit)| Some(MemoryComparison::new(role, fit.row.fit.as_ref()?));
    let comparisons: Vec<Option<MemoryComparison>> =
        prediction.roles.iter().copied().zip(&fits.roles).map(compare).collect();
    let differences = comparisons.iter().flatten().filter_map(MemoryComparison::difference).collect();
    let settings = request_settings(&prediction, limit).settings;
    let assumes_larger_nodes = prediction.assumes_larger_nodes(query.hardware.gpus_per_node);
    Ok(Candidate { prediction, fits, comparisons, differences, assumes_larger_nodes, settings })
}

/// The length that requests must be limited to, because the engine would not start with the length of the model.
fn length_limit(fits: &RoleFits, target: &PredictionTarget) -> Option<u64> {
    let limits = fits.roles.iter().filter_map(|role| match role.row.result {
        FitResult::TooShort { tokens } => Some(tokens),
        _ => None,
    });
    // A multiple of common block sizes.
    limits.min().map(|tokens| (tokens / 256 * 256).max(target.request_tokens()))
}
