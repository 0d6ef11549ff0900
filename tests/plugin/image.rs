//! The fetcher image that `manifests/build-image` writes: digests, configuration, and files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::GzDecoder;
use kubectl_dynamo_tests::cache;
use kubectl_dynamo_tests::images::fetcher::{AARCH64, X86_64, write_program_header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::programs;

const REFERENCE: &str = "registry.example:5000/team/model-fetcher:1";

/// The files of an archive by path.
type Files = BTreeMap<String, Vec<u8>>;

fn build_image(folder: &Path, name: &str) -> Vec<u8> {
    build_image_of(folder, name, &[&programs::model_fetcher()])
}

fn build_image_of(folder: &Path, name: &str, programs: &[&Path]) -> Vec<u8> {
    let output = folder.join(name);
    programs::run_repository_command("manifests/build-image", &arguments(folder, &output, programs));
    fs::read(output).expect("the archive was written")
}

fn arguments(folder: &Path, output: &Path, programs: &[&Path]) -> Vec<OsString> {
    let authorities = folder.join("authorities.pem");
    fs::write(&authorities, "certificates").expect("the folder is writable");
    let mut arguments: Vec<OsString> =
        programs.iter().map(|program| program.as_os_str().to_owned()).collect();
    arguments.extend([output.into(), REFERENCE.into(), "--ca-bundle".into(), authorities.into_os_string()]);
    arguments
}

/// Runs `manifests/build-image`, which must fail without writing an archive, and returns its message.
fn fail_to_build(folder: &Path, programs: &[&Path]) -> String {
    let output = folder.join("refused.tar");
    let result = Command::new(cache::repository().join("manifests/build-image"))
        .args(arguments(folder, &output, programs))
        .output()
        .expect("the command is executable");
    assert_eq!(result.status.code(), Some(1));
    assert!(!output.exists(), "an archive was written");
    String::from_utf8(result.stderr).expect("messages are UTF-8")
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

    assert_is_image(&files, descriptor, architecture(), &programs::model_fetcher());
}

/// Asserts that the image has the fetcher's configuration and contains only `program` and the certificates.
fn assert_is_image(files: &Files, descriptor: &Value, architecture: &str, program: &Path) {
    let manifest = parse_json(read_blob(files, descriptor));
    let config = parse_json(read_blob(files, &manifest["config"]));
    assert_eq!(config["os"], "linux");
    assert_eq!(config["architecture"], architecture);
    assert_eq!(config["config"]["Entrypoint"], json!(["/model-fetcher"]));
    assert_eq!(config["config"]["User"], "1000:1000");
    let labels = &config["config"]["Labels"];
    assert_eq!(labels["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(labels["org.opencontainers.image.licenses"], env!("CARGO_PKG_LICENSE"));

    let mut layer = Vec::new();
    GzDecoder::new(read_blob(files, &manifest["layers"][0]))
        .read_to_end(&mut layer)
        .expect("the layer is gzip");
    assert_eq!(config["rootfs"]["diff_ids"], json!([format!("sha256:{}", sha256(&layer))]));
    let root = unpack(layer.as_slice());
    assert_eq!(root.keys().collect::<Vec<_>>(), ["etc/ssl/certs/ca-certificates.crt", "model-fetcher"]);
    assert_eq!(root["etc/ssl/certs/ca-certificates.crt"], b"certificates");
    assert!(root["model-fetcher"] == fs::read(program).expect("the program exists"));
}

#[test]
fn image_of_two_programs_is_an_index_of_two_platforms() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let amd64 = write_program_header(folder.path(), "amd64", X86_64).expect("the folder is writable");
    let arm64 = write_program_header(folder.path(), "arm64", AARCH64).expect("the folder is writable");
    let archive = build_image_of(folder.path(), "index.tar", &[&amd64, &arm64]);
    let files = unpack(archive.as_slice());

    let layout = parse_json(&files["index.json"]);
    assert_eq!(layout["manifests"].as_array().map(Vec::len), Some(1));
    let descriptor = &layout["manifests"][0];
    assert_eq!(descriptor["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(descriptor["annotations"]["io.containerd.image.name"], REFERENCE);
    assert_eq!(descriptor["annotations"]["org.opencontainers.image.ref.name"], "1");

    let index = parse_json(read_blob(&files, descriptor));
    assert_eq!(index["mediaType"], descriptor["mediaType"]);
    let images = index["manifests"].as_array().expect("an index has manifests");
    assert_eq!(images.len(), 2);
    for (image, (architecture, program)) in images.iter().zip([("amd64", &amd64), ("arm64", &arm64)]) {
        assert_eq!(image["platform"], json!({ "os": "linux", "architecture": architecture }));
        assert_is_image(&files, image, architecture, program);
    }
    // `oci-layout` and `index.json`, and the blobs of the index and of two images with a manifest, a configuration, and a layer.
    assert_eq!(files.len(), 2 + 1 + 2 * 3);
    assert!(archive == build_image_of(folder.path(), "reversed.tar", &[&arm64, &amd64]));
}

#[test]
fn programs_of_other_or_equal_platforms_are_refused() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let program = |name: &str, machine| {
        write_program_header(folder.path(), name, machine).expect("the folder is writable")
    };
    let (one, other) = (program("one", AARCH64), program("other", AARCH64));
    let message = fail_to_build(folder.path(), &[&one, &other]);
    assert!(message.ends_with("/other are both for linux/arm64\n"), "{message}");

    let riscv = program("riscv", 243);
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\nexec model-fetcher\n").expect("the folder is writable");
    for wrong in [&riscv, &script] {
        let message = fail_to_build(folder.path(), &[&one, wrong]);
        assert!(message.ends_with("is not a program for x86-64 or arm64\n"), "{message}");
    }
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
