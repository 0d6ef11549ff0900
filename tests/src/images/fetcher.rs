//! The fetcher's image for the node tier: the static program and the certificates it trusts, nothing else.

use std::path::{Path, PathBuf};

use super::Image;
use crate::Outcome;

/// The name under which pods of the tests ask for it.
pub const REFERENCE: &str = "localhost/model-fetcher:test";

/// Writes the image's archive into the folder.
pub fn archive(program: &Path, folder: &Path) -> Outcome<PathBuf> {
    let root = folder.join("fetcher-image");
    std::fs::create_dir_all(root.join("etc/ssl/certs"))?;
    std::fs::copy(program, root.join("model-fetcher"))?;
    let certificates = Path::new("etc/ssl/certs/ca-certificates.crt");
    std::fs::copy(Path::new("/").join(certificates), root.join(certificates))?;
    let archive = folder.join("fetcher-image.tar");
    Image::new(REFERENCE).entrypoint(&["/model-fetcher"]).user("1000").write(&root, &archive)?;
    Ok(archive)
}
