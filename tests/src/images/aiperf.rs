//! The image with AIPerf for the Job of a benchmark: the files of the runtime images, and AIPerf from the private
//! environment that the aiperf tier installs, under the name of NVIDIA's image.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Image;
use crate::{Outcome, cache, ensure};
use kubectl_dynamo_core::release::AIPERF_IMAGE;

/// Returns the archive of the image. `environment` is the Python environment with AIPerf.
pub fn build_archive(environment: &Path) -> Outcome<PathBuf> {
    let runtime = cache::folder().join("runtime-images/current/root");
    let folder = cache::folder().join("aiperf-image");
    let archive = folder.join("image.tar");
    if !archive.is_file() {
        let staging = folder.join("staging");
        let (libraries, programs) = (staging.join("opt/aiperf"), staging.join("usr/local/bin"));
        let _ = fs::remove_dir_all(&staging);
        fs::create_dir_all(&libraries)?;
        fs::create_dir_all(&programs)?;
        let python = fs::read_dir(environment.join("lib"))?.next().ok_or("the environment is empty")??;
        let packages = python.path().join("site-packages");
        // Hard links: the packages have more than 1 GB.
        let status = Command::new("cp").arg("-al").args([&packages, &libraries.join("site")]).status()?;
        ensure!(status.success(), "cp: {status}");
        let script = fs::read_to_string(environment.join("bin/aiperf"))?;
        let body = script.split_once('\n').ok_or("the program is not a script")?.1;
        let program = programs.join("aiperf");
        fs::write(&program, format!("#!/usr/bin/python3\n{body}"))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Image::new(AIPERF_IMAGE)
            .environment("PYTHONPATH", "/opt/aiperf/site")
            .environment("PYTHONDONTWRITEBYTECODE", "1")
            .write(&[&runtime, &staging], &archive)?;
        fs::remove_dir_all(staging)?;
    }
    Ok(archive)
}
