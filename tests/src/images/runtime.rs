//! The Dynamo runtime image of the node tier: Debian, Python and Dynamo from PyPI, under the real image's name.

use std::path::PathBuf;

use super::Image;
use crate::{Outcome, cache};

/// The name under which pods ask for it.
pub const REFERENCE: &str = "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1";

/// Why the image cannot be had, if it cannot.
pub fn missing() -> Option<String> {
    let root = folder().join("root");
    (!root.is_dir()).then(|| format!("{} is missing: `tests/run node` makes it", root.display()))
}

/// The image's archive, made from the files that `tests/runtime-image/build` gathered; kept beside them.
pub fn archive() -> Outcome<PathBuf> {
    let archive = folder().join("image.tar");
    if !archive.is_file() {
        Image::new(REFERENCE)
            .user("1000")
            .workdir("/workspace")
            .environment("HOME", "/home/dynamo")
            .environment("PYTHONPATH", "/opt/dynamo/site")
            .write(&folder().join("root"), &archive)?;
    }
    Ok(archive)
}

fn folder() -> PathBuf {
    cache::folder().join("runtime-image/current")
}
