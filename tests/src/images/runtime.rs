//! The Dynamo runtime images of the node tier: Debian, Python, and Dynamo from PyPI, under the real image's
//! name.

use std::path::PathBuf;

use super::Image;
use crate::{Outcome, cache};

/// Image name that pods of the newer release use.
pub const REFERENCE: &str = "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1";
/// The releases that have an image.
pub const NEWER: &str = "1.6.1";
pub const OLDER: &str = "0.9.1";

/// Returns why the images are not available, if they are not.
pub fn missing() -> Option<String> {
    let needed = [NEWER, OLDER].map(|release| folder().join("releases").join(release));
    let missing = needed.into_iter().find(|folder| !folder.is_dir())?;
    Some(format!("{} not found: run `tests/run node` to build it", missing.display()))
}

/// Returns the archive of a release's image, built from the files that `tests/runtime-image/build` collected
/// and stored next to them.
pub fn build_archive(release: &str) -> Outcome<PathBuf> {
    let archive = folder().join(format!("image-{release}.tar"));
    if !archive.is_file() {
        let (repository, _) = REFERENCE.split_once(':').unwrap_or_default();
        Image::new(&format!("{repository}:{release}"))
            .user("1000")
            .workdir("/workspace")
            .environment("HOME", "/home/dynamo")
            .environment("PYTHONPATH", "/opt/dynamo/site")
            .write(&[&folder().join("root"), &folder().join("releases").join(release)], &archive)?;
    }
    Ok(archive)
}

fn folder() -> PathBuf {
    cache::folder().join("runtime-images/current")
}
