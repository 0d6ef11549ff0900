//! The krew package: the rules of krew's manifest and index, and an installation with krew's steps (staging
//! folder, checksum, file moves into the store, one link in the bin folder).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::programs;

const BASE_URL: &str = "https://downloads.example/dynamo";

/// A packaged release in a folder.
pub(crate) struct KrewPackage {
    folder: PathBuf,
    pub(crate) manifest: KrewManifest,
}

/// A plugin manifest with the fields that krew knows. Other fields are rejected, as in krew's index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KrewManifest {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    version: String,
    homepage: String,
    short_description: String,
    description: String,
    caveats: String,
    platforms: Vec<Platform>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Platform {
    selector: Selector,
    uri: String,
    sha256: String,
    files: Vec<FileMove>,
    bin: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMove {
    from: String,
    to: String,
}

impl KrewPackage {
    /// Returns the built plugin, packaged once for all cases.
    pub(crate) fn for_plugin() -> &'static Self {
        static RELEASE: LazyLock<KrewPackage> = LazyLock::new(|| {
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
            KrewPackage::pack(&[&programs::kubectl_dynamo()], &folder, &[])
        });
        &RELEASE
    }

    /// Packages programs with `krew/release`.
    fn pack(programs: &[&Path], folder: &Path, options: &[&str]) -> Self {
        let mut arguments = vec![OsStr::new("--output"), folder.as_os_str()];
        for program in programs {
            arguments.extend([OsStr::new("--binary"), program.as_os_str()]);
        }
        arguments.extend(options.iter().map(OsStr::new));
        programs::run_repository_command("krew/release", &arguments);
        let text = fs::read_to_string(folder.join("dynamo.yaml")).expect("the manifest was written");
        let manifest = serde_saphyr::from_str(&text).expect("krew knows every field");
        Self { folder: folder.to_path_buf(), manifest }
    }

    fn archive(&self, platform: &Platform) -> PathBuf {
        self.folder.join(platform.uri.rsplit('/').next().unwrap_or_default())
    }

    /// Installs the package for linux/amd64 below `krew_root` as krew does, and returns the folder for PATH.
    pub(crate) fn install(&self, krew_root: &Path) -> PathBuf {
        let spec = &self.manifest.spec;
        let labels = BTreeMap::from([("os".into(), "linux".into()), ("arch".into(), "amd64".into())]);
        let platform = spec.platforms.iter().find(|platform| platform.selector.match_labels == labels);
        let platform = platform.expect("an archive for linux/amd64 exists");

        let staging = tempfile::tempdir().expect("can create a temporary folder");
        unpack(&self.archive(platform), &platform.sha256, staging.path());
        let store = krew_root.join("store").join(&self.manifest.metadata.name).join(&spec.version);
        fs::create_dir_all(&store).expect("can create the store");
        for step in &platform.files {
            let target = if step.to == "." { &step.from } else { &step.to };
            fs::copy(staging.path().join(&step.from), store.join(target))
                .expect("the archive contains the file");
        }
        let bin = krew_root.join("bin");
        fs::create_dir_all(&bin).expect("can create the bin folder");
        let link = format!("kubectl-{}", self.manifest.metadata.name.replace('-', "_"));
        std::os::unix::fs::symlink(store.join(&platform.bin), bin.join(link)).expect("the link is new");
        bin
    }
}

/// Verifies the checksum and unpacks. krew only accepts folders and regular files with paths inside the
/// archive.
fn unpack(archive: &Path, sha256: &str, into: &Path) {
    assert_eq!(checksum(archive), sha256);
    for entry in archive_entries(archive) {
        assert!(entry.path.components().all(|part| matches!(part, Component::Normal(_))), "{:?}", entry.path);
    }
    let file = GzDecoder::new(File::open(archive).expect("the archive exists"));
    tar::Archive::new(file).unpack(into).expect("the archive is complete");
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    mode: u32,
    modified: u64,
    owner: u64,
}

fn archive_entries(archive: &Path) -> Vec<Entry> {
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(archive).expect("the archive exists")));
    let entries = tar.entries().expect("the archive is a tar");
    let read = entries.map(|entry| {
        let entry = entry.expect("the archive is complete");
        let header = entry.header();
        assert!(header.entry_type().is_file(), "only regular files are packed");
        Entry {
            path: entry.path().expect("paths are UTF-8").into_owned(),
            mode: header.mode().expect("a mode is a number"),
            modified: header.mtime().expect("a time is a number"),
            owner: header.uid().expect("an owner is a number"),
        }
    });
    read.collect()
}

fn checksum(file: &Path) -> String {
    let bytes = fs::read(file).expect("the archive exists");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The headers of programs for the platforms, from which `krew/release` reads the platform: an ELF file with the machine in
/// bytes 18 and 19, and a Mach-O file with the type of the processor in bytes 4 to 7.
const HEADERS: [(&str, &str, [u8; 20]); 4] = [
    ("darwin", "amd64", *b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0\0\0\0\0"),
    ("darwin", "arm64", *b"\xcf\xfa\xed\xfe\x0c\0\0\x01\0\0\0\0\x02\0\0\0\0\0\0\0"),
    ("linux", "amd64", *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0"),
    ("linux", "arm64", *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0"),
];

/// Returns a small file for each platform instead of a program, if only the packaging matters.
fn small_programs(folder: &Path) -> Vec<PathBuf> {
    let write = |(os, architecture, header): &(&str, &str, [u8; 20])| {
        let path = folder.join(format!("program-{os}-{architecture}"));
        fs::write(&path, header).expect("can write a file");
        path
    };
    HEADERS.iter().map(write).collect()
}

/// Returns a small file for linux/amd64.
fn small_program(folder: &Path) -> PathBuf {
    small_programs(folder).swap_remove(2)
}

#[test]
fn manifest_follows_krew_rules() {
    let manifest = &KrewPackage::for_plugin().manifest;
    assert_eq!(manifest.api_version, "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest.kind, "Plugin");
    assert_eq!(manifest.metadata.name, "dynamo");
    let spec = &manifest.spec;
    assert_eq!(spec.version, concat!("v", env!("CARGO_PKG_VERSION")));
    assert!(spec.homepage.starts_with("https://"));
    assert!((1..=50).contains(&spec.short_description.len()), "{}", spec.short_description);
    assert!(!spec.short_description.contains(['\r', '\n']));
    assert!(spec.description.len() > spec.short_description.len());
    assert!(spec.caveats.contains("kubectl dynamo completion --install"));
    assert!(!spec.platforms.is_empty());
    for platform in &spec.platforms {
        let keys: Vec<&str> = platform.selector.match_labels.keys().map(String::as_str).collect();
        assert_eq!(keys, ["arch", "os"]);
        assert!(platform.uri.starts_with("https://") && platform.uri.ends_with(".tar.gz"));
        assert!(
            platform.sha256.len() == 64 && platform.sha256.chars().all(|c| "0123456789abcdef".contains(c))
        );
        assert_eq!(platform.bin, "kubectl-dynamo");
        let moved: Vec<&str> = platform.files.iter().map(|step| step.from.as_str()).collect();
        assert!(moved.contains(&"LICENSE") && moved.contains(&platform.bin.as_str()), "{moved:?}");
        assert!(platform.files.iter().all(|step| step.to == "."), "krew rejects targets that are not clean");
    }
}

#[test]
fn base_url_option_sets_the_download_url() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let program = small_program(folder.path());
    let uri = |options: &[&str]| {
        KrewPackage::pack(&[&program], folder.path(), options).manifest.spec.platforms.remove(0).uri
    };
    let version = env!("CARGO_PKG_VERSION");
    let archive = format!("kubectl-dynamo-v{version}-linux-amd64.tar.gz");
    assert_eq!(uri(&["--base-url", BASE_URL]), format!("{BASE_URL}/{archive}"));
    assert_eq!(
        uri(&["--base-url", "https://a.example/x?a=1&b=2|3/"]),
        format!("https://a.example/x?a=1&b=2|3/{archive}")
    );
    let default = format!("{}/releases/download/v{version}/{archive}", env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(uri(&[]), default);
}

#[test]
fn archive_contains_only_program_and_license() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let program = small_program(folder.path());
    let release = KrewPackage::pack(&[&program], &folder.path().join("one"), &[]);
    let platform = &release.manifest.spec.platforms[0];
    let entry = |path: &str, mode| Entry { path: path.into(), mode, modified: 0, owner: 0 };
    let archive = release.archive(platform);
    assert_eq!(archive_entries(&archive), [entry("LICENSE", 0o644), entry("kubectl-dynamo", 0o755)]);
    let again = KrewPackage::pack(&[&program], &folder.path().join("other"), &[]);
    assert_eq!(again.manifest.spec.platforms[0].sha256, platform.sha256);
}

#[test]
fn release_has_an_archive_for_each_program() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let programs = small_programs(folder.path());
    let mut programs: Vec<&Path> = programs.iter().map(PathBuf::as_path).collect();
    let release = KrewPackage::pack(&programs, &folder.path().join("one"), &[]);
    let platforms = &release.manifest.spec.platforms;
    assert_eq!(platforms.len(), HEADERS.len());
    let mut sums = String::new();
    for (platform, (os, architecture, header)) in platforms.iter().zip(HEADERS) {
        let labels = &platform.selector.match_labels;
        assert_eq!((labels["os"].as_str(), labels["arch"].as_str()), (os, architecture));
        let into = folder.path().join(format!("unpacked-{os}-{architecture}"));
        unpack(&release.archive(platform), &platform.sha256, &into);
        assert_eq!(fs::read(into.join(&platform.bin)).expect("the program is unpacked"), header);
        let name = format!("kubectl-dynamo-v{}-{os}-{architecture}.tar.gz", env!("CARGO_PKG_VERSION"));
        sums += &format!("{}  {name}\n", platform.sha256);
    }
    let file = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).expect("it was written");
    assert_eq!(file(&release.folder, "SHA256SUMS"), sums);
    programs.reverse();
    let again = KrewPackage::pack(&programs, &folder.path().join("other"), &[]);
    for name in ["SHA256SUMS", "dynamo.yaml"] {
        assert_eq!(file(&again.folder, name), file(&release.folder, name), "{name} depends on the order");
    }
}

#[test]
fn programs_of_one_platform_and_other_files_are_rejected() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let program = small_program(folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../krew/release");
    for (programs, message) in [
        (vec![&program, &program], "are both for linux-amd64"),
        (vec![&script], "is not a program for Linux or macOS on amd64 or arm64"),
    ] {
        let output = folder.path().join("dist");
        let mut command = std::process::Command::new(&script);
        command.arg("--output").arg(&output);
        programs.iter().for_each(|program| {
            command.arg("--binary").arg(program);
        });
        let result = command.output().expect("the script runs");
        let stderr = String::from_utf8_lossy(&result.stderr);
        assert!(!result.status.success() && stderr.contains(message), "{stderr}");
        assert!(!output.join("dynamo.yaml").exists(), "a manifest was written");
    }
}
