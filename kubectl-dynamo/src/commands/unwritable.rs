//! That a file cannot be written which a verb was asked for.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Explain;

#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written: {cause}", path.display())]
pub(super) struct Unwritable {
    path: PathBuf,
    cause: io::Error,
}

impl Unwritable {
    /// What an error at this path becomes.
    pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self { path, cause }
    }
}

impl Explain for Unwritable {
    fn code(&self) -> Option<&'static str> {
        Some("KD0011")
    }

    fn hint(&self) -> Option<String> {
        Some("name a place that you may write to".into())
    }
}
