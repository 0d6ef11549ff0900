//! The registry of the module `tests/registry`, which stores images in a folder and asks for the login of the tests.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::LOGIN;
use crate::kubernetes::programs::compiled_program;
use crate::{Outcome, ensure};

/// The password of [`LOGIN`] as bcrypt stores it. It is not a secret.
const PASSWORD_HASH: &str = "$2y$05$abcdefghijklmnopqrstuuzN6p/Ww7Qzo8QXBQ7XjnndrNLHWr8.6";

/// A running registry without TLS.
#[derive(Debug)]
pub struct RegistryProgram {
    _process: KilledOnDrop,
    address: SocketAddr,
}

#[derive(Debug)]
struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl RegistryProgram {
    /// Returns why no image can be pushed to a registry on this machine, if none can.
    pub fn missing_reason() -> Option<String> {
        let skopeo = which::which("skopeo").map_err(|_| "`skopeo` is not installed".to_owned());
        compiled_program("registry").map_err(|error| error.to_string()).and(skopeo).err()
    }

    /// Starts it on a free port of loopback. It stores its images in `folder`.
    ///
    /// # Errors
    /// It is not compiled, or it exits before it listens.
    pub fn start(folder: &Path) -> Outcome<Self> {
        let (config, passwords) = (folder.join("registry.json"), folder.join("passwords"));
        fs::write(&passwords, format!("{}:{PASSWORD_HASH}\n", LOGIN.0))?;
        // JSON is YAML.
        let settings = json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": folder.join("images") } },
            "http": { "addr": "127.0.0.1:0" },
            "auth": { "htpasswd": { "realm": "tests", "path": passwords } },
        });
        fs::write(&config, settings.to_string())?;
        let mut process = Command::new(compiled_program("registry")?)
            .arg("serve")
            .arg(config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map(KilledOnDrop)?;
        let mut log = BufReader::new(process.0.stderr.take().ok_or("stderr is a pipe")?);
        let mut read = String::new();
        let address = loop {
            let start = read.len();
            ensure!(log.read_line(&mut read)? > 0, "the registry exited:\n{read}");
            let address =
                read[start..].split_once("listening on ").and_then(|(_, rest)| rest.split('"').next());
            if let Some(address) = address {
                break address.parse()?;
            }
        };
        // A full pipe would block it.
        std::thread::spawn(move || log.read_to_end(&mut Vec::new()));
        Ok(Self { _process: process, address })
    }

    /// The host of its images.
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}
