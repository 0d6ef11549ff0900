//! Reads the configuration and the size of the weights of a model, from a folder or from the hub.
//! It must not download weights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model_fetcher_contract::weights::LoadFormat;
use serde_json::Value;

use crate::context::Context;
use crate::local::LocalError;
use crate::report::Stage;
use crate::workflow::local::environment as local_environment;

use crate::workflow::model_config::{
    self, CONFIG_FILE as CONFIGURATION, WEIGHT_SUFFIXES, read_config, read_indexes, weight_bytes,
};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::error::{Explain, Result};
use kubectl_dynamo_core::intent::ModelRef;

/// The time without data after which a request to the hub fails. The requests are small, and a user is
/// waiting.
const HUB_TIMEOUT: Duration = Duration::from_secs(30);

/// The facts about a model that determine its memory.
#[derive(Clone)]
pub(crate) struct ModelWeights {
    /// The model's name as the user typed it.
    pub name: String,
    pub config: Value,
    /// The size of the weight files that the engine loads, in bytes.
    pub bytes: u64,
    /// The folder of this machine with the configuration.
    pub folder: PathBuf,
}

/// An error of a model whose size cannot be determined.
#[derive(Debug, thiserror::Error)]
pub(super) enum ModelSizeError {
    #[error("cannot read {CONFIGURATION} of model \"{name}\": {reason}")]
    UnreadableConfig { name: String, reason: String },
    #[error("model \"{name}\" does not contain weights ({})", WEIGHT_SUFFIXES.join(", "))]
    NoWeights { name: String },
}

impl Explain for ModelSizeError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::UnknownModelSize)
    }

    fn hint(&self) -> Option<Fix> {
        Some("pass a model ID on the hub such as Qwen/Qwen3-0.6B, or a model folder".into())
    }
}

/// Returns the configuration and weight size of a model, by its ID on the hub or its folder.
///
/// # Errors
/// A model that cannot be reached or read, or that does not have weights.
pub(super) async fn read_model_weights(
    model: &str,
    format: LoadFormat,
    context: &Context,
) -> Result<ModelWeights> {
    let found = read_model_files(model, format, context).await?;
    match found.bytes {
        0 => Err(ModelSizeError::NoWeights { name: found.name }.into()),
        _ => Ok(found),
    }
}

/// Returns the configuration and weight size of a model. The size is zero if it has only a configuration.
///
/// # Errors
/// A model that cannot be reached or read.
pub(crate) async fn read_model_files(
    model: &str,
    format: LoadFormat,
    context: &Context,
) -> Result<ModelWeights> {
    match ModelRef::parse_path_or_hub_id(model)? {
        ModelRef::Folder { path } => from_folder(&path, format),
        ModelRef::Hub { repository, revision } => {
            from_hub(&repository, revision.as_deref(), format, context).await
        }
        ModelRef::BuiltIn => Err(ModelSizeError::NoWeights { name: model.into() }.into()),
    }
}

fn from_folder(path: &Path, format: LoadFormat) -> Result<ModelWeights> {
    let name = path.display().to_string();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|_| LocalError::ModelFolderNotFound { path: path.into() })? {
        let entry = entry?;
        files
            .push((entry.file_name().to_string_lossy().into_owned(), std::fs::metadata(entry.path())?.len()));
    }
    from_files(name, path, &files, format)
}

async fn from_hub(
    repository: &str,
    revision: Option<&str>,
    format: LoadFormat,
    context: &Context,
) -> Result<ModelWeights> {
    let folders = local_environment::folders()?;
    context.report.waiting(Stage::ModelFetch, format!("the hub to list {repository}"));
    let mut options = local_environment::fetch_options(repository, revision, &folders);
    options.stall_timeout = HUB_TIMEOUT;
    // A model that is complete on this machine does not need a request.
    if model_fetcher::check(&options).is_ok() {
        return from_folder(&options.folder(), format)
            .map(|found| ModelWeights { name: repository.into(), ..found });
    }
    let listing = model_fetcher::listing(&options).await.map_err(LocalError::Fetch)?;
    let folder = model_config::fetch_config(options, &folders).await.map_err(LocalError::Fetch)?;
    let files: Vec<(String, u64)> = listing.files.iter().map(|file| (file.path.clone(), file.size)).collect();
    from_files(repository.into(), &folder, &files, format)
}

fn from_files(
    name: String,
    folder: &Path,
    files: &[(String, u64)],
    format: LoadFormat,
) -> Result<ModelWeights> {
    let config = read_config(folder).map_err(|error| ModelSizeError::UnreadableConfig {
        name: name.clone(),
        reason: error.to_string(),
    })?;
    let bytes = weight_bytes(files, &read_indexes(folder, files), format);
    Ok(ModelWeights { name, config, bytes, folder: folder.to_owned() })
}
