//! The image index of both platforms: containerd imports what `manifests/build-image` writes, and finds each program
//! under its platform.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use kubectl_dynamo_tests::images::fetcher::build_archive_of;
use kubectl_dynamo_tests::programs::model_fetcher;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde::Deserialize;

use crate::Shared;

const REFERENCE: &str = "registry.example/team/model-fetcher:1";

/// containerd with its state in one folder. It ends with the test program.
struct Containerd {
    process: tokio::process::Child,
    socket: PathBuf,
}

/// An image in the manifest of an exported archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ExportedImage {
    layers: Vec<String>,
}

pub(crate) async fn containerd_selects_the_program_of_each_platform(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let programs = [("linux/amd64", model_fetcher()), ("linux/arm64", shared.program("model-fetcher"))];
    let archive = build_archive_of(&programs.clone().map(|(_, program)| program), folder.path(), REFERENCE)?;

    let mut containerd = Containerd::start(folder.path()).await?;
    containerd.ctr(&["images", "import", "--all-platforms", path(&archive)?])?;
    let list = String::from_utf8(containerd.ctr(&["images", "list"])?.stdout)?;
    ensure!(list.contains(REFERENCE) && list.contains("linux/amd64,linux/arm64"), "{list}");
    let check = String::from_utf8(containerd.ctr(&["images", "check"])?.stdout)?;
    ensure!(check.contains("complete"), "{check}");
    for (platform, program) in &programs {
        let exported = folder.path().join("exported.tar");
        containerd.ctr(&["images", "export", "--platform", platform, path(&exported)?, REFERENCE])?;
        ensure!(program_of(&exported)? == fs::read(program)?, "{platform} has another program");
    }
    containerd.process.kill().await?;
    Ok(())
}

impl Containerd {
    async fn start(folder: &Path) -> Outcome<Self> {
        let socket = folder.join("containerd.sock");
        let settings = folder.join("containerd.toml");
        let content = format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {socket:?}\n",
            folder.join("root"),
            folder.join("state"),
        );
        fs::write(&settings, content)?;
        let log = folder.join("containerd.log");
        let process = tokio::process::Command::new("containerd")
            .arg("--config")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("containerd: {error}"))?;
        let mut containerd = Self { process, socket };
        let limit = Instant::now() + Duration::from_secs(60);
        // A daemon that does not listen yet does not send an event to wait for.
        while let Err(error) = containerd.ctr(&["version"]) {
            let running = containerd.process.try_wait()?.is_none() && Instant::now() < limit;
            ensure!(running, "{error}\n{}", fs::read_to_string(&log)?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(containerd)
    }

    fn ctr(&self, arguments: &[&str]) -> Outcome<Output> {
        let output = Command::new("ctr").arg("--address").arg(&self.socket).args(arguments).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ctr {}: {}", arguments.join(" "), stderr.trim());
        Ok(output)
    }
}

fn path(path: &Path) -> Outcome<&str> {
    Ok(path.to_str().ok_or("a path is not UTF-8")?)
}

/// Returns the fetcher in the only layer of an archive that containerd exported.
fn program_of(archive: &Path) -> Outcome<Vec<u8>> {
    let images: Vec<ExportedImage> =
        serde_json::from_slice(&read_file(File::open(archive)?, "manifest.json")?)?;
    let layer =
        images.first().and_then(|image| image.layers.first()).ok_or("the image does not have a layer")?;
    let layer = read_file(File::open(archive)?, layer)?;
    read_file(GzDecoder::new(layer.as_slice()), "model-fetcher")
}

/// Returns the content of a file in a tar archive.
fn read_file(archive: impl Read, name: &str) -> Outcome<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()? == Path::new(name) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    Err(format!("{name} not found in the archive").into())
}
