//! The error that a file requested by the user cannot be written. Files of the plugin itself have their own
//! errors.

use std::io;
use std::path::{Path, PathBuf};

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::error::Explain;

/// A file that cannot be written, with the cause.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {cause}", path.display())]
pub(crate) struct WriteError {
    path: PathBuf,
    cause: io::Error,
}

impl WriteError {
    /// Returns a function that converts an I/O error of this path.
    pub(crate) fn for_path(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self { path, cause }
    }
}

impl Explain for WriteError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::UnwritableOutputFile)
    }

    fn hint(&self) -> Option<Fix> {
        Some("choose a path that you can write to".into())
    }
}
