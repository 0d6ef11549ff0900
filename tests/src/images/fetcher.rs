//! Builds the fetcher image as users build it, with `manifests/build-image`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, cache, ensure, programs};

/// Image name that test pods use.
pub const REFERENCE: &str = "localhost/model-fetcher:test";

/// The machines of ELF headers.
pub const X86_64: u8 = 62;
pub const AARCH64: u8 = 183;

/// Builds the archive of the image with the program under test in the folder, without a container engine.
pub fn build_archive(folder: &Path) -> Outcome<PathBuf> {
    build_archive_of(&[programs::model_fetcher()], folder, REFERENCE)
}

/// Builds the archive of an image with a program for each platform in the folder.
pub fn build_archive_of(programs: &[PathBuf], folder: &Path, reference: &str) -> Outcome<PathBuf> {
    let archive = folder.join("fetcher-image.tar");
    let output = Command::new(cache::repository().join("manifests/build-image"))
        .args(programs)
        .arg(&archive)
        .arg(reference)
        .output()?;
    ensure!(output.status.success(), "build-image: {}", String::from_utf8_lossy(&output.stderr));
    Ok(archive)
}

/// Writes the header of a 64-bit little-endian ELF program for the machine with this number, which is all that
/// `manifests/build-image` reads.
pub fn write_program_header(folder: &Path, name: &str, machine: u8) -> io::Result<PathBuf> {
    let mut header = [0; 64];
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    header[18] = machine;
    let path = folder.join(name);
    fs::write(&path, header)?;
    Ok(path)
}
