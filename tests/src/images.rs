//! Builds container images without a container engine: an archive of a folder that `ctr image import`
//! accepts.

pub mod fetcher;
pub mod python_program;
pub mod runtime;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The configuration of an image.
#[derive(Debug, Clone)]
pub struct Image {
    reference: String,
    entrypoint: Vec<String>,
    environment: Vec<String>,
    user: String,
    workdir: String,
}

impl Image {
    /// Creates an image named `reference` that starts as root in `/`.
    pub fn new(reference: &str) -> Self {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Self {
            reference: reference.to_owned(),
            entrypoint: Vec::new(),
            environment: vec![path.to_owned()],
            user: String::new(),
            workdir: "/".to_owned(),
        }
    }

    pub fn entrypoint(mut self, args: &[&str]) -> Self {
        self.entrypoint = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push(format!("{name}={value}"));
        self
    }

    pub fn user(mut self, user: &str) -> Self {
        self.user = user.to_owned();
        self
    }

    pub fn workdir(mut self, folder: &str) -> Self {
        self.workdir = folder.to_owned();
        self
    }

    /// Writes the image as an archive with one layer for the files below each of `roots`. The archive gets
    /// its name when it is complete.
    pub fn write(&self, roots: &[&Path], archive: &Path) -> io::Result<()> {
        let (layer, unfinished) = (archive.with_extension("layer"), archive.with_extension("unfinished"));
        let mut builder = tar::Builder::new(File::create(&unfinished)?);
        let (mut names, mut digests) = (Vec::new(), Vec::new());
        for (position, root) in roots.iter().enumerate() {
            let name = format!("layer-{position}.tar");
            digests.push(write_layer(root, &layer)?);
            builder.append_path_with_name(&layer, &name)?;
            names.push(name);
        }
        fs::remove_file(layer)?;
        let configuration = self.configuration(&digests).to_string();
        let configuration_name = format!("{}.json", hexadecimal(&Sha256::digest(&configuration)));
        let manifest = json!([{"Config": configuration_name, "RepoTags": [self.reference], "Layers": names}]);
        append_file(&mut builder, &configuration_name, configuration.as_bytes())?;
        append_file(&mut builder, "manifest.json", manifest.to_string().as_bytes())?;
        builder.into_inner()?.sync_all()?;
        fs::rename(unfinished, archive)
    }

    fn configuration(&self, layers: &[String]) -> Value {
        // A fixed time: the same files produce the same image.
        let created = "2026-01-01T00:00:00Z";
        json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "created": created,
            "config": {
                "Env": self.environment,
                "Entrypoint": self.entrypoint,
                "WorkingDir": self.workdir,
                "User": self.user,
            },
            "rootfs": {"type": "layers", "diff_ids": layers},
            "history": vec![json!({"created": created}); layers.len()],
        })
    }
}

/// Writes the files below `root` as one uncompressed layer and returns its digest.
fn write_layer(root: &Path, layer: &Path) -> io::Result<String> {
    let mut builder = tar::Builder::new(HashingWriter {
        file: io::BufWriter::new(File::create(layer)?),
        hash: Sha256::new(),
    });
    builder.follow_symlinks(false);
    builder.append_dir_all("", root)?;
    let mut written = builder.into_inner()?;
    written.flush()?;
    Ok(format!("sha256:{}", hexadecimal(&written.hash.finalize())))
}

fn append_file(builder: &mut tar::Builder<File>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct HashingWriter<W> {
    file: W,
    hash: Sha256,
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
