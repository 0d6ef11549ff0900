//! Installs the program that kubectl runs to complete `kubectl dynamo`: a short shell script in a folder in
//! PATH. It must not overwrite a program that this plugin did not create.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::file_modes::make_executable;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Explain, Result};

/// kubectl looks for this name in PATH.
const SHIM_NAME: &str = "kubectl_complete-dynamo";
/// Marks a shim that this plugin created, so that another program of that name is not overwritten.
const MARKER: &str =
    "# Made by `kubectl dynamo completion --install`; kubectl runs it to complete `kubectl dynamo`.";

/// The result of an installation.
pub(super) struct ShimInstallation {
    path: PathBuf,
    is_in_path: bool,
    is_changed: bool,
}

impl ShimInstallation {
    /// Returns the lines for the terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let status = if self.is_changed { "installed" } else { "unchanged" };
        let mut lines = vec![format!("{status}: {}", self.path.display())];
        match self.path.parent().filter(|_| !self.is_in_path) {
            Some(folder) => lines.push(format!("add {} to PATH so that kubectl finds it", folder.display())),
            None => {
                lines.push("next: source <(kubectl completion bash), or the script for your shell".into())
            }
        }
        lines
    }
}

#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("no writable folder in PATH")]
    NoWritableFolder,
    #[error("file \"{path}\" was not created by kubectl-dynamo", path = .0.display())]
    NotManaged(PathBuf),
    #[error("cannot write file \"{path}\": {cause}", path = .path.display())]
    Write { path: PathBuf, cause: std::io::Error },
}

impl Explain for ShimError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::CompletionScriptNotInstalled)
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::NoWritableFolder | Self::Write { .. } => {
                let install =
                    SuggestedCommand::plugin("completion").flag("--install").flag("--dir").flag("FOLDER");
                install.after("choose a writable folder in PATH: ")
            }
            Self::NotManaged(path) => {
                format!("choose another folder with --dir, or remove the file: rm {}", path.display()).into()
            }
        })
    }
}

/// Installs the shim in `folder`, else next to the plugin, else in the first writable folder in PATH.
pub(super) fn install(folder: Option<&Path>) -> Result<ShimInstallation> {
    let path_folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let content =
        format!("#!/bin/sh\n{MARKER}\nexec {} {} \"$@\"\n", super::PROGRAM, super::COMPLETE_COMMAND);
    let installation = |folder: &Path, changed| ShimInstallation {
        path: folder.join(SHIM_NAME),
        is_in_path: path_folders.iter().any(|candidate| candidate == folder),
        is_changed: changed,
    };
    if let Some(folder) = folder {
        return Ok(installation(folder, write(folder, &content)?));
    }
    let plugin_folder =
        which::which(super::PROGRAM).ok().and_then(|plugin| plugin.parent().map(Path::to_path_buf));
    for folder in plugin_folder.iter().chain(&path_folders) {
        match write(folder, &content) {
            Err(ShimError::Write { .. }) => {}
            result => return Ok(installation(folder, result?)),
        }
    }
    Err(ShimError::NoWritableFolder.into())
}

/// Writes the shim atomically and returns whether the file changed.
fn write(folder: &Path, content: &str) -> std::result::Result<bool, ShimError> {
    let path = folder.join(SHIM_NAME);
    match fs::read_to_string(&path) {
        Ok(existing) if existing == content => return Ok(false),
        Ok(existing) if existing.contains(MARKER) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(_) | Err(_) => return Err(ShimError::NotManaged(path)),
    }
    let temporary = folder.join(format!(".{SHIM_NAME}.{}", std::process::id()));
    let write = || {
        let mut file = fs::File::create(&temporary)?;
        file.write_all(content.as_bytes())?;
        make_executable(&file)?;
        drop(file);
        fs::rename(&temporary, &path)
    };
    write().map_err(|cause| {
        // Clean up after the failed write; the write error is the one to report.
        let _ = fs::remove_file(&temporary);
        ShimError::Write { path, cause }
    })?;
    Ok(true)
}
