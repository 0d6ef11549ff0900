//! The archive of `report`. It must not decide what the archive contains.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::file_modes::create_private_file;
use crate::workflow::snapshot::BundleFile;

/// Writes a gzipped tar archive with one folder. Only the owner can read it (mode 0600).
pub(super) fn write(path: &Path, folder: &str, files: &[BundleFile]) -> io::Result<()> {
    let file = create_private_file(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(&mut header, format!("{folder}/{}", file.name), file.text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()
}
