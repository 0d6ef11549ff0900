//! The fetcher's own image, for the node tier: made from the program under test as its users make it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cache, ensure, programs};

/// The name under which pods of the tests ask for it.
pub const REFERENCE: &str = "localhost/model-fetcher:test";

/// Makes the image's archive in the folder, without a container engine.
pub fn archive(folder: &Path) -> Outcome<PathBuf> {
    let archive = folder.join("fetcher-image.tar");
    let output = Command::new(cache::repository().join("manifests/build-image"))
        .arg(programs::model_fetcher())
        .arg(&archive)
        .arg(REFERENCE)
        .output()?;
    ensure!(output.status.success(), "build-image: {}", String::from_utf8_lossy(&output.stderr));
    Ok(archive)
}
