//! A model's configuration and the size of its weights, of a folder or of the hub. Weights are not fetched.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::commands::{Context, local};
use crate::error::{Exit, Explain, Result};
use crate::intent::ModelRef;
use crate::local::LocalError;
use crate::report::Stage;

use crate::commands::configuration::{self, FILE as CONFIGURATION};
/// In the order in which vLLM looks for them; the first that is there is what it loads.
const WEIGHTS: [&str; 3] = [".safetensors", ".bin", ".pt"];

/// A person waits for the answer, and no large byte is on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// What decides over memory.
#[derive(Clone)]
pub(super) struct Weighed {
    /// As it was named.
    pub name: String,
    pub config: Value,
    /// Bytes of the files of weights that an engine loads.
    pub bytes: u64,
}

/// A model whose size cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWeighed {
    #[error("{name} has no {CONFIGURATION} that can be read: {reason}")]
    Configuration { name: String, reason: String },
    #[error("{name} holds no weights ({})", WEIGHTS.join(", "))]
    Weights { name: String },
}

impl Explain for NotWeighed {
    fn code(&self) -> Option<&'static str> {
        Some("KD0442")
    }

    fn hint(&self) -> Option<String> {
        Some("name a model of the hub, as in Qwen/Qwen3-0.6B, or the folder of one".into())
    }

    fn exit(&self) -> Exit {
        Exit::Model
    }
}

/// Looks at a model by its name on the hub or its folder.
///
/// # Errors
/// Models that cannot be reached or read.
pub(super) async fn weighed(given: &str, context: &Context) -> Result<Weighed> {
    match ModelRef::named(given)? {
        ModelRef::Folder { path } => of_folder(&path),
        ModelRef::Hub { repository, revision } => of_hub(&repository, revision.as_deref(), context).await,
        ModelRef::BuiltIn => Err(NotWeighed::Weights { name: given.into() }.into()),
    }
}

fn of_folder(path: &Path) -> Result<Weighed> {
    let name = path.display().to_string();
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|_| LocalError::NoModelFolder { path: path.into() })? {
        let entry = entry?;
        files
            .push((entry.file_name().to_string_lossy().into_owned(), std::fs::metadata(entry.path())?.len()));
    }
    finish(name, path, &files)
}

async fn of_hub(repository: &str, revision: Option<&str>, context: &Context) -> Result<Weighed> {
    let folders = local::folders()?;
    context.report.waiting(Stage::ModelFetch, format!("the hub to list {repository}"));
    let mut options = local::fetch_options(repository, revision, &folders);
    options.stall_timeout = PATIENCE;
    // A model that is on this machine already is asked of nobody.
    if model_fetcher::check(&options).is_ok() {
        return of_folder(&options.folder()).map(|found| Weighed { name: repository.into(), ..found });
    }
    let listing = model_fetcher::listing(&options).await.map_err(LocalError::Fetch)?;
    let folder = configuration::fetch(options, &folders).await.map_err(LocalError::Fetch)?;
    let files: Vec<(String, u64)> = listing.files.iter().map(|file| (file.path.clone(), file.size)).collect();
    finish(repository.into(), &folder, &files)
}

fn finish(name: String, folder: &Path, files: &[(String, u64)]) -> Result<Weighed> {
    let unreadable = |reason: String| NotWeighed::Configuration { name: name.clone(), reason };
    let text =
        std::fs::read_to_string(folder.join(CONFIGURATION)).map_err(|error| unreadable(error.to_string()))?;
    let config = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    let bytes = weight_bytes(files);
    if bytes == 0 {
        return Err(NotWeighed::Weights { name }.into());
    }
    Ok(Weighed { name, config, bytes })
}

/// The bytes of the first kind of weights that is there. Neither Mistral's own copy beside the shards nor anything in a
/// folder below is loaded as well.
pub(in crate::commands) fn weight_bytes(files: &[(String, u64)]) -> u64 {
    let is_loaded = |path: &str| !path.contains('/') && !path.starts_with("consolidated");
    let of = |ending: &str| {
        let all = files.iter().filter(|(path, _)| path.ends_with(ending) && is_loaded(path));
        all.map(|(_, size)| size).sum::<u64>()
    };
    WEIGHTS.iter().map(|ending| of(ending)).find(|bytes| *bytes > 0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_counted_once() {
        let files = |names: &[(&str, u64)]| {
            names.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect::<Vec<_>>()
        };
        let both = files(&[
            ("model-1.safetensors", 5),
            ("model-2.safetensors", 7),
            ("consolidated.safetensors", 12),
            ("pytorch_model.bin", 12),
            ("original/model.safetensors", 12),
            ("config.json", 1),
        ]);
        assert_eq!(weight_bytes(&both), 12);
        assert_eq!(weight_bytes(&files(&[("pytorch_model.bin", 9)])), 9);
        assert_eq!(weight_bytes(&files(&[("tokenizer.json", 9)])), 0);
    }
}
