//! Builds the fetcher image for the node tier from the program under test, as users build it.
//! It uses `manifests/build-image`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cache, ensure, programs};

/// Image name that test pods use.
pub const REFERENCE: &str = "localhost/model-fetcher:test";

/// Builds the image's archive in the folder, without a container engine.
pub fn build_archive(folder: &Path) -> Outcome<PathBuf> {
    let archive = folder.join("fetcher-image.tar");
    let output = Command::new(cache::repository().join("manifests/build-image"))
        .arg(programs::model_fetcher())
        .arg(&archive)
        .arg(REFERENCE)
        .output()?;
    ensure!(output.status.success(), "build-image: {}", String::from_utf8_lossy(&output.stderr));
    Ok(archive)
}
