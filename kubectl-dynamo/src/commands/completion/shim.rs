//! The program that kubectl runs to complete `kubectl dynamo`: two lines of shell in a folder of PATH.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Explain, Result};

/// kubectl looks for this name in PATH.
const NAME: &str = "kubectl_complete-dynamo";
/// Marks a shim as ours, so that no other program of that name is overwritten.
const MARK: &str =
    "# Made by `kubectl dynamo completion --install`; kubectl runs it to complete `kubectl dynamo`.";

/// What an installation came to.
pub(super) struct Placed {
    path: PathBuf,
    in_path: bool,
    changed: bool,
}

impl Placed {
    /// For the terminal.
    pub(super) fn lines(&self) -> Vec<String> {
        let what = if self.changed { "placed" } else { "unchanged" };
        let mut lines = vec![format!("{what}: {}", self.path.display())];
        match self.path.parent().filter(|_| !self.in_path) {
            Some(folder) => lines.push(format!("kubectl finds it once {} is in PATH", folder.display())),
            None => lines.push("next: source <(kubectl completion bash), or that of your shell".into()),
        }
        lines
    }
}

#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("no folder of PATH can be written")]
    NoFolder,
    #[error("{path} was not made by this program", path = .0.display())]
    NotOurs(PathBuf),
    #[error("{path} cannot be written: {cause}", path = .path.display())]
    Write { path: PathBuf, cause: std::io::Error },
}

impl Explain for ShimError {
    fn code(&self) -> Option<&'static str> {
        Some("KD0003")
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoFolder | Self::Write { .. } => {
                "kubectl dynamo completion --install --dir FOLDER, with a folder of yours that is in PATH"
                    .into()
            }
            Self::NotOurs(path) => {
                format!("remove it first, or choose another folder with --dir: rm {}", path.display())
            }
        })
    }
}

/// Places the shim in `folder`, else beside the plugin, else in the first folder of PATH that can be written.
pub(super) fn install(folder: Option<&Path>) -> Result<Placed> {
    let searched: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    let content = format!("#!/bin/sh\n{MARK}\nexec {} {} \"$@\"\n", super::PROGRAM, super::ASK);
    let placed = |folder: &Path, changed| Placed {
        path: folder.join(NAME),
        in_path: searched.iter().any(|of| of == folder),
        changed,
    };
    if let Some(folder) = folder {
        return Ok(placed(folder, write(folder, &content)?));
    }
    let beside = which::which(super::PROGRAM).ok().and_then(|plugin| plugin.parent().map(Path::to_path_buf));
    for folder in beside.iter().chain(&searched) {
        match write(folder, &content) {
            Err(ShimError::Write { .. }) => {}
            result => return Ok(placed(folder, result?)),
        }
    }
    Err(ShimError::NoFolder.into())
}

/// Writes the shim and says whether that changed anything. It appears whole or not at all.
fn write(folder: &Path, content: &str) -> std::result::Result<bool, ShimError> {
    let path = folder.join(NAME);
    match fs::read_to_string(&path) {
        Ok(present) if present == content => return Ok(false),
        Ok(present) if present.contains(MARK) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Ok(_) | Err(_) => return Err(ShimError::NotOurs(path)),
    }
    let unfinished = folder.join(format!(".{NAME}.{}", std::process::id()));
    let write = || {
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(content.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        drop(file);
        fs::rename(&unfinished, &path)
    };
    write().map_err(|cause| {
        // What is left of an attempt that failed; that failure is the one to tell.
        let _ = fs::remove_file(&unfinished);
        ShimError::Write { path, cause }
    })?;
    Ok(true)
}
