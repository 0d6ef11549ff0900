//! The fetcher image that `manifests/build-image` writes: digests, configuration, and files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::programs;

const REFERENCE: &str = "registry.example:5000/team/model-fetcher:1";

/// The files of an archive by path.
type Files = BTreeMap<String, Vec<u8>>;

fn build_image(folder: &Path, name: &str) -> Vec<u8> {
    let output = folder.join(name);
    let authorities = folder.join("authorities.pem");
    fs::write(&authorities, "certificates").expect("the folder is writable");
    let arguments = [
        programs::model_fetcher().into_os_string(),
        output.clone().into_os_string(),
        REFERENCE.into(),
        "--ca-bundle".into(),
        authorities.into_os_string(),
    ];
    programs::run_repository_command("manifests/build-image", &arguments);
    fs::read(output).expect("the archive was written")
}

fn unpack(tar: impl Read) -> Files {
    let mut archive = tar::Archive::new(tar);
    let mut files = Files::new();
    for entry in archive.entries().expect("it is a tar") {
        let mut entry = entry.expect("the archive is complete");
        assert_eq!(entry.header().mtime().expect("a time is a number"), 0);
        assert_eq!(entry.header().uid().expect("an owner is a number"), 0);
        let path = entry.path().expect("paths are UTF-8").to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("the archive is complete");
        if entry.header().entry_type().is_file() {
            files.insert(path, content);
        }
    }
    files
}

/// Returns the blob of a descriptor after checking its size and digest.
fn read_blob<'a>(files: &'a Files, descriptor: &Value) -> &'a [u8] {
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    let hex = digest.strip_prefix("sha256:").expect("digests are sha256");
    let content = &files[&format!("blobs/sha256/{hex}")];
    assert_eq!(sha256(content), hex);
    assert_eq!(descriptor["size"], content.len());
    content
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse_json(content: &[u8]) -> Value {
    serde_json::from_slice(content).expect("it is JSON")
}

#[test]
fn image_is_a_complete_oci_layout() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let files = unpack(build_image(folder.path(), "image.tar").as_slice());
    assert_eq!(parse_json(&files["oci-layout"]), json!({ "imageLayoutVersion": "1.0.0" }));

    let index = parse_json(&files["index.json"]);
    let descriptor = &index["manifests"][0];
    assert_eq!(descriptor["annotations"]["io.containerd.image.name"], REFERENCE);
    assert_eq!(descriptor["annotations"]["org.opencontainers.image.ref.name"], "1");
    assert_eq!(descriptor["platform"], json!({ "os": "linux", "architecture": architecture() }));

    let manifest = parse_json(read_blob(&files, descriptor));
    let config = parse_json(read_blob(&files, &manifest["config"]));
    assert_eq!(config["os"], "linux");
    assert_eq!(config["architecture"], architecture());
    assert_eq!(config["config"]["Entrypoint"], json!(["/model-fetcher"]));
    assert_eq!(config["config"]["User"], "1000:1000");
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], env!("CARGO_PKG_LICENSE"));

    let mut layer = Vec::new();
    GzDecoder::new(read_blob(&files, &manifest["layers"][0]))
        .read_to_end(&mut layer)
        .expect("the layer is gzip");
    assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{}", sha256(&layer))]));
    let root = unpack(layer.as_slice());
    assert_eq!(root.keys().collect::<Vec<_>>(), ["etc/ssl/certs/ca-certificates.crt", "model-fetcher"]);
    assert_eq!(root["etc/ssl/certs/ca-certificates.crt"], b"certificates");
    assert!(root["model-fetcher"] == fs::read(programs::model_fetcher()).expect("the program exists"));
}

#[test]
fn image_build_is_reproducible() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    assert!(build_image(folder.path(), "one.tar") == build_image(folder.path(), "other.tar"));
}

#[test]
fn containerfile_matches_the_image() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/Containerfile");
    let text = fs::read_to_string(file).expect("the Containerfile exists");
    for line in ["FROM scratch", "USER 1000:1000", "ENTRYPOINT [\"/model-fetcher\"]"] {
        assert!(text.lines().any(|existing| existing == line), "{line}");
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}
