//! That a file cannot be written which a verb was asked for.

use std::io;
use std::path::PathBuf;

use crate::error::Explain;

#[derive(Debug, thiserror::Error)]
#[error("{} cannot be written: {cause}", path.display())]
pub(super) struct Unwritable {
    pub path: PathBuf,
    pub cause: io::Error,
}

impl Explain for Unwritable {
    fn code(&self) -> Option<&'static str> {
        Some("KD0011")
    }

    fn hint(&self) -> Option<String> {
        Some("name a place that you may write to".into())
    }
}
