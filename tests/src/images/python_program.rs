//! An image with a Python program from PyPI: the files of the runtime images, and the packages of a private environment
//! that another tier installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Image;
use crate::{Outcome, cache, ensure};

/// Returns the archive of the image with this reference. `environment` is the Python environment with the program.
pub fn build_archive(reference: &str, environment: &Path, program: &str) -> Outcome<PathBuf> {
    let runtime = cache::folder().join("runtime-images/current/root");
    let folder = cache::folder().join(format!("{program}-image"));
    let archive = folder.join("image.tar");
    if !archive.is_file() {
        let staging = folder.join("staging");
        let (libraries, programs) = (staging.join("opt").join(program), staging.join("usr/local/bin"));
        let _ = fs::remove_dir_all(&staging);
        fs::create_dir_all(&libraries)?;
        fs::create_dir_all(&programs)?;
        let python = fs::read_dir(environment.join("lib"))?.next().ok_or("the environment is empty")??;
        let packages = python.path().join("site-packages");
        // Hard links: the packages can have more than 1 GB.
        let status = Command::new("cp").arg("-al").args([&packages, &libraries.join("site")]).status()?;
        ensure!(status.success(), "cp: {status}");
        let script = fs::read_to_string(environment.join("bin").join(program))?;
        let body = script.split_once('\n').ok_or("the program is not a script")?.1;
        let script = programs.join(program);
        fs::write(&script, format!("#!/usr/bin/python3\n{body}"))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Image::new(reference)
            .environment("PYTHONPATH", &format!("/opt/{program}/site"))
            .environment("PYTHONDONTWRITEBYTECODE", "1")
            .write(&[&runtime, &staging], &archive)?;
        fs::remove_dir_all(staging)?;
    }
    Ok(archive)
}
