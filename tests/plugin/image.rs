//! The fetcher's image as `manifests/build-image` writes it: every digest, the configuration, the files.

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

fn build(folder: &Path, name: &str) -> Vec<u8> {
    let output = folder.join(name);
    let authorities = folder.join("authorities.pem");
    fs::write(&authorities, "certificates").expect("the folder can be written");
    let arguments = [
        programs::model_fetcher().into_os_string(),
        output.clone().into_os_string(),
        REFERENCE.into(),
        "--ca-bundle".into(),
        authorities.into_os_string(),
    ];
    programs::run("manifests/build-image", &arguments);
    fs::read(output).expect("the archive was written")
}

fn unpack(tar: impl Read) -> Files {
    let mut archive = tar::Archive::new(tar);
    let mut files = Files::new();
    for entry in archive.entries().expect("it is a tar") {
        let mut entry = entry.expect("the archive is whole");
        assert_eq!(entry.header().mtime().expect("a time is a number"), 0);
        assert_eq!(entry.header().uid().expect("an owner is a number"), 0);
        let path = entry.path().expect("paths are text").to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("the archive is whole");
        if entry.header().entry_type().is_file() {
            files.insert(path, content);
        }
    }
    files
}

/// The blob of a descriptor, after its size and digest were found right.
fn blob<'a>(files: &'a Files, descriptor: &Value) -> &'a [u8] {
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

fn document(content: &[u8]) -> Value {
    serde_json::from_slice(content).expect("it is JSON")
}

#[test]
fn the_image_is_a_whole_oci_layout() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let files = unpack(build(folder.path(), "image.tar").as_slice());
    assert_eq!(document(&files["oci-layout"]), json!({ "imageLayoutVersion": "1.0.0" }));

    let index = document(&files["index.json"]);
    let descriptor = &index["manifests"][0];
    assert_eq!(descriptor["annotations"]["io.containerd.image.name"], REFERENCE);
    assert_eq!(descriptor["annotations"]["org.opencontainers.image.ref.name"], "1");
    assert_eq!(descriptor["platform"], json!({ "os": "linux", "architecture": architecture() }));

    let manifest = document(blob(&files, descriptor));
    let config = document(blob(&files, &manifest["config"]));
    assert_eq!(config["os"], "linux");
    assert_eq!(config["architecture"], architecture());
    assert_eq!(config["config"]["Entrypoint"], json!(["/model-fetcher"]));
    assert_eq!(config["config"]["User"], "1000:1000");
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], env!("CARGO_PKG_LICENSE"));

    let mut layer = Vec::new();
    GzDecoder::new(blob(&files, &manifest["layers"][0])).read_to_end(&mut layer).expect("the layer is gzip");
    assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{}", sha256(&layer))]));
    let root = unpack(layer.as_slice());
    assert_eq!(root.keys().collect::<Vec<_>>(), ["etc/ssl/certs/ca-certificates.crt", "model-fetcher"]);
    assert_eq!(root["etc/ssl/certs/ca-certificates.crt"], b"certificates");
    assert!(root["model-fetcher"] == fs::read(programs::model_fetcher()).expect("the program is there"));
}

#[test]
fn equal_inputs_make_equal_images() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    assert!(build(folder.path(), "one.tar") == build(folder.path(), "other.tar"));
}

#[test]
fn the_containerfile_says_the_same() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/Containerfile");
    let text = fs::read_to_string(file).expect("the Containerfile is there");
    for line in ["FROM scratch", "USER 1000:1000", "ENTRYPOINT [\"/model-fetcher\"]"] {
        assert!(text.lines().any(|of| of == line), "{line}");
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}
