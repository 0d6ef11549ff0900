//! The model's folder on this machine: written here, given by its path, or fetched from the hub.

use std::path::{Path, PathBuf};

use model_fetcher::FetchOptions;
use model_fetcher::contract::ProgressEvent;

use super::{Folders, LocalError, Observer, Progress, tiny_model};

/// Writes the built-in model; says its folder.
///
/// # Errors
/// A cache folder that cannot be written.
pub fn built_in(folders: &Folders, name: &str) -> Result<PathBuf, LocalError> {
    let folder = folders.built_in_model(name);
    tiny_model::write(&folder)?;
    Ok(folder)
}

/// Checks that a given folder holds a model; says its absolute path.
///
/// # Errors
/// No folder, or one that lacks what every frontend reads.
pub fn given(path: &Path) -> Result<PathBuf, LocalError> {
    let folder = path.canonicalize().ok().filter(|folder| folder.is_dir());
    let folder = folder.ok_or_else(|| LocalError::NoModelFolder { path: path.to_owned() })?;
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

/// Fetches a model of the hub, or finds it complete; says its folder.
///
/// # Errors
/// What the fetcher could not do.
pub async fn fetched(options: &FetchOptions, observer: Observer<'_>) -> Result<PathBuf, LocalError> {
    let mut pass_on = |event: &ProgressEvent| {
        if let Some(progress) = progress(event) {
            observer(progress);
        }
    };
    model_fetcher::fetch(options, &mut pass_on).await.map_err(LocalError::Fetch)?;
    given(&options.folder())
}

/// What of the fetcher's news is shown while it works.
fn progress(event: &ProgressEvent) -> Option<Progress> {
    let waits = |waits_for: String| Some(Progress::ModelFetchWaits { waits_for });
    match event {
        ProgressEvent::Started { repository, revision, .. } => {
            waits(format!("the hub to list {repository} at {revision}"))
        }
        ProgressEvent::Progress {
            bytes_done,
            bytes_total,
            bytes_per_second,
            files_done,
            files_total,
            ..
        } => Some(Progress::ModelFetch {
            done: *bytes_done,
            total: *bytes_total,
            bytes_per_second: *bytes_per_second,
            note: format!("{files_done}/{files_total} files"),
        }),
        ProgressEvent::Waiting { detail, seconds, .. } => waits(format!("{detail} for {seconds} s")),
        ProgressEvent::Warning { text } => Some(Progress::Warning { text: text.clone() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_must_hold_what_a_frontend_reads() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let missing = |path: &Path| match given(path) {
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
