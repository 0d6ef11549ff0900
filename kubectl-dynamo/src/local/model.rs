//! The model's folder on this machine: written here, given by its path, or fetched from the hub.

use std::path::{Path, PathBuf};

use super::{Folders, LocalError, tiny_model};

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
