//! The Dynamo runtime images of the node tier: Debian, Python and Dynamo from PyPI, under the real image's name.

use std::path::PathBuf;

use super::Image;
use crate::{Outcome, cache};

/// The name under which pods ask for the newer release's image.
pub const REFERENCE: &str = "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1";
/// The releases there are images of.
pub const NEWER: &str = "1.6.1";
pub const OLDER: &str = "1.5.1";

/// Why the images cannot be had, if they cannot.
pub fn missing() -> Option<String> {
    let needed = [NEWER, OLDER].map(|release| folder().join("releases").join(release));
    let missing = needed.into_iter().find(|folder| !folder.is_dir())?;
    Some(format!("{} is missing: `tests/run node` makes it", missing.display()))
}

/// The archive of a release's image, made from the files that `tests/runtime-image/build` gathered; kept beside them.
pub fn archive(release: &str) -> Outcome<PathBuf> {
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
