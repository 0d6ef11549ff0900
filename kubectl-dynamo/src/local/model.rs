//! Provides the model folder of a local deployment: the built-in model, a folder of the user, or a fetched
//! model.

use std::path::{Path, PathBuf};

use model_fetcher::FetchOptions;
use model_fetcher_contract::ProgressEvent;

use super::{Folders, LocalError, LocalEvent, LocalObserver, tiny_model};

/// Writes the built-in model and returns its folder.
///
/// # Errors
/// The cache folder cannot be written.
pub fn write_built_in(folders: &Folders, name: &str) -> Result<PathBuf, LocalError> {
    let folder = folders.built_in_model(name);
    tiny_model::write(&folder)?;
    Ok(folder)
}

/// Checks that a folder contains a model and returns its absolute path.
///
/// # Errors
/// The folder does not exist, or a file that every frontend reads is missing.
pub fn check_folder(path: &Path) -> Result<PathBuf, LocalError> {
    let folder = path.canonicalize().ok().filter(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| LocalError::ModelFolderNotFound { path: path.to_owned() })?;
    let has = |names: &[&str]| names.iter().any(|name| folder.join(name).is_file());
    for (missing, names) in [
        ("config.json", ["config.json"].as_slice()),
        ("tokenizer.json", &["tokenizer.json", "tokenizer.model", "tiktoken.model"]),
    ] {
        if !has(names) {
            return Err(LocalError::IncompleteModel { path: folder, missing });
        }
    }
    Ok(folder)
}

/// Fetches a model from the hub unless it is already complete, and returns its folder.
///
/// # Errors
/// The fetcher failed.
pub async fn fetch(options: &FetchOptions, observer: LocalObserver<'_>) -> Result<PathBuf, LocalError> {
    let mut forward = |event: &ProgressEvent| {
        if let Some(progress) = to_local_event(event) {
            observer(progress);
        }
    };
    model_fetcher::fetch(options, &mut forward).await.map_err(LocalError::Fetch)?;
    check_folder(&options.folder())
}

/// Converts an event of the fetcher; `None` for events that are not shown.
fn to_local_event(event: &ProgressEvent) -> Option<LocalEvent> {
    let waiting = |waits_for: String| Some(LocalEvent::ModelFetchWaiting { waits_for });
    match event {
        ProgressEvent::Started { repository, revision, .. } => {
            waiting(format!("the hub to list {repository} at {revision}"))
        }
        ProgressEvent::Progress {
            bytes_done,
            bytes_total,
            bytes_per_second,
            files_done,
            files_total,
            ..
        } => Some(LocalEvent::ModelFetch {
            done: *bytes_done,
            total: *bytes_total,
            bytes_per_second: *bytes_per_second,
            note: format!("{files_done}/{files_total} files"),
        }),
        ProgressEvent::Waiting { detail, seconds, .. } => waiting(format!("{detail} for {seconds} s")),
        ProgressEvent::Warning { text } => Some(LocalEvent::Warning { text: text.clone() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_folder_requires_config_and_tokenizer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = |path: &Path| match check_folder(path) {
            Err(LocalError::IncompleteModel { missing, .. }) => Some(missing),
            Err(_) => Some("folder"),
            Ok(_) => None,
        };
        assert_eq!(missing(&folder.path().join("none")), Some("folder"));
        assert_eq!(missing(folder.path()), Some("config.json"));
        std::fs::write(folder.path().join("config.json"), "{}").expect("writable");
        assert_eq!(missing(folder.path()), Some("tokenizer.json"));
        std::fs::write(folder.path().join("tokenizer.json"), "{}").expect("writable");
        assert_eq!(missing(folder.path()), None);
    }
}
