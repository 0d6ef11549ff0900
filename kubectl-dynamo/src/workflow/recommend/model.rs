//! The configuration of the model: from a folder, from the hub, or from the predictor's package if the hub cannot be
//! read. It must not download weights.

use std::path::Path;

use model_fetcher_contract::weights::LoadFormat;
use serde::Serialize;

use super::RecommendFailure;
use crate::context::Context;
use crate::local::predictor::{PACKAGE, Predictor};
use crate::workflow::fit::{ModelWeights, read_model_files};
use crate::workflow::model_config::read_config;
use kubectl_dynamo_core::error::{Error, Exit};
use kubectl_dynamo_core::fit::Architecture;
use kubectl_dynamo_core::intent::ModelRef;

/// Where the size of the weights comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WeightSource {
    /// The weight files.
    Files,
    /// Calculated from the configuration, because there are no files.
    Configuration,
}

/// A model that can be predicted.
pub(super) struct FoundModel {
    pub(super) weights: ModelWeights,
    pub(super) source: WeightSource,
}

/// Finds the configuration of a model. `folder` receives the files of the predictor's package if they are needed.
///
/// # Errors
/// [`RecommendFailure::ModelUnreadable`].
pub(super) async fn find_model(
    model: &ModelRef,
    predictor: &Predictor,
    folder: &Path,
    context: &Context,
) -> Result<FoundModel, RecommendFailure> {
    let name = model.to_string();
    let unreadable =
        |reason: String, exit: Exit| RecommendFailure::ModelUnreadable { model: name.clone(), reason, exit };
    let read = read_model_files(&name, LoadFormat::default(), context).await;
    let mut weights = match read {
        Ok(weights) => weights,
        Err(error) => match from_package(model, predictor, folder) {
            Ok(Some(weights)) => {
                let text = format!("{error}; using the configuration of {name} in {PACKAGE}");
                context.report.warn(error.code(), text, None);
                weights
            }
            Ok(None) => return Err(unreadable(error.to_string(), model_exit(&error))),
            Err(error) => return Err(unreadable(error.to_string(), Exit::Failed)),
        },
    };
    weights.folder =
        weights.folder.canonicalize().map_err(|error| unreadable(error.to_string(), Exit::Model))?;
    let source = match weights.bytes {
        0 => WeightSource::Configuration,
        _ => WeightSource::Files,
    };
    if source == WeightSource::Configuration {
        weights.bytes = Architecture::from_config(&weights.config).map_or(0, |found| found.accounted_bytes());
    }
    Ok(FoundModel { weights, source })
}

/// The exit code of a model that cannot be read.
fn model_exit(error: &Error) -> Exit {
    match error.exit() {
        Exit::Access => Exit::Access,
        _ => Exit::Model,
    }
}

/// Copies the configuration of the predictor's package to a model folder. `None` if the package does not contain it.
fn from_package(
    model: &ModelRef,
    predictor: &Predictor,
    folder: &Path,
) -> std::io::Result<Option<ModelWeights>> {
    let ModelRef::Hub { repository, .. } = model else { return Ok(None) };
    let files = predictor.model_files(repository);
    if files.is_empty() {
        return Ok(None);
    }
    let folder = folder.join("model");
    std::fs::create_dir(&folder)?;
    for (name, path) in files {
        std::fs::copy(path, folder.join(name))?;
    }
    let config = read_config(&folder)?;
    Ok(Some(ModelWeights { name: repository.clone(), config, bytes: 0, folder }))
}
