//! The files that `krew/release` writes: archives, checksums, Debian packages, and the Homebrew formula.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use kubectl_dynamo_tests::cache;
use sha2::{Digest, Sha256};

use crate::programs;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A release in a folder.
pub(crate) struct Release {
    pub(crate) folder: PathBuf,
}

impl Release {
    /// Returns the release of the built programs, packed once for all cases.
    pub(crate) fn of_built_programs() -> &'static Self {
        static RELEASE: LazyLock<Release> = LazyLock::new(|| {
            let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
            let _ = fs::remove_dir_all(&root);
            let built = root.join("programs");
            fs::create_dir_all(&built).expect("the folder is writable");
            for program in [programs::kubectl_dynamo(), programs::model_fetcher()] {
                let name = program.file_name().expect("a program has a name");
                fs::copy(&program, built.join(name)).expect("the program can be copied");
            }
            Release::pack(&[built], &root.join("dist"), &[])
        });
        &RELEASE
    }

    /// Packs folders with programs.
    pub(crate) fn pack(folders: &[PathBuf], output: &Path, options: &[&str]) -> Self {
        programs::run_repository_command("krew/release", &arguments(folders, output, options));
        Self { folder: output.to_path_buf() }
    }

    /// Returns the path of a file of the release.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the text of a file of the release.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).expect("the file was written")
    }

    /// Unpacks an archive of the release.
    fn unpack(&self, name: &str, into: &Path) {
        let file = GzDecoder::new(File::open(self.file(name)).expect("the archive exists"));
        tar::Archive::new(file).unpack(into).expect("the archive is complete");
    }
}

fn arguments(folders: &[PathBuf], output: &Path, options: &[&str]) -> Vec<OsString> {
    let folders = folders.iter().flat_map(|folder| ["--programs".into(), folder.clone().into_os_string()]);
    let options = options.iter().map(OsString::from);
    folders.chain(["--output".into(), output.into()]).chain(options).collect()
}

/// Runs `krew/release`, which must fail without writing a file, and returns its message.
fn fail_to_pack(folders: &[PathBuf], output: &Path, options: &[&str]) -> String {
    let command = cache::repository().join("krew/release");
    let result = Command::new(command)
        .args(arguments(folders, output, options))
        .env("KUBECTL_DYNAMO_BIN", programs::kubectl_dynamo())
        .output()
        .expect("the command is executable");
    assert_eq!(result.status.code(), Some(1), "{result:?}");
    assert!(!output.exists(), "files were written");
    String::from_utf8(result.stderr).expect("messages are UTF-8")
}

/// The headers of programs for the platforms, from which `krew/release` reads the platform: an ELF file with the machine in
/// bytes 18 and 19, and a Mach-O file with the type of the processor in bytes 4 to 7.
pub(crate) const HEADERS: [(&str, &str, [u8; 20]); 4] = [
    ("darwin", "amd64", *b"\xcf\xfa\xed\xfe\x07\0\0\x01\x03\0\0\0\x02\0\0\0\0\0\0\0"),
    ("darwin", "arm64", *b"\xcf\xfa\xed\xfe\x0c\0\0\x01\0\0\0\0\x02\0\0\0\0\0\0\0"),
    ("linux", "amd64", *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0"),
    ("linux", "arm64", *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0"),
];

/// Returns a folder for each platform with stand-ins of the programs, which are only a header, and of their SBOMs. This
/// machine cannot build programs for macOS, and packing only reads the header.
pub(crate) fn stand_ins(folder: &Path) -> Vec<PathBuf> {
    let write = |(os, architecture, header): &(&str, &str, [u8; 20])| {
        let folder = folder.join(format!("stand-in-{os}-{architecture}"));
        fs::create_dir(&folder).expect("the folder is writable");
        for name in ["kubectl-dynamo", "model-fetcher"] {
            fs::write(folder.join(name), header).expect("the folder is writable");
            fs::write(folder.join(format!("{name}.cdx.json")), "{}\n").expect("the folder is writable");
        }
        fs::write(folder.join("build-environment.txt"), format!("{os} {architecture}\n"))
            .expect("the folder is writable");
        folder
    };
    HEADERS.iter().map(write).collect()
}

fn checksum(file: &Path) -> String {
    let bytes = fs::read(file).expect("the file exists");
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a program of this machine, which must succeed.
fn run(program: &str, arguments: &[&Path]) -> Output {
    let output = Command::new(program).args(arguments).output().expect("the program is installed");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    path: String,
    mode: u32,
    modified: u64,
    owner: u64,
}

/// Returns the entries of an archive, which are regular files.
fn archive_files(archive: &Path) -> Vec<Entry> {
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(archive).expect("the archive exists")));
    let entries = tar.entries().expect("the archive is a tar");
    let read = entries.map(|entry| {
        let entry = entry.expect("the archive is complete");
        let header = entry.header();
        assert!(header.entry_type().is_file(), "only regular files are packed");
        Entry {
            path: entry.path().expect("the path is valid").to_string_lossy().into_owned(),
            mode: header.mode().expect("a mode is a number"),
            modified: header.mtime().expect("a time is a number"),
            owner: header.uid().expect("an owner is a number"),
        }
    });
    read.collect()
}

#[test]
fn archives_contain_program_license_completion_and_man_pages() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let programs = stand_ins(folder.path());
    let release = Release::pack(&programs[2..3], &folder.path().join("dist"), &[]);

    let entry = |path: &str, mode| Entry { path: path.into(), mode, modified: 0, owner: 0 };
    let plugin = archive_files(&release.file(&format!("kubectl-dynamo-v{VERSION}-linux-amd64.tar.gz")));
    let (man_pages, plugin): (Vec<Entry>, Vec<Entry>) =
        plugin.into_iter().partition(|entry| entry.path.starts_with("man/"));
    for name in ["kubectl-dynamo", "kubectl-dynamo-bench-run", "model-fetcher-fetch"] {
        assert!(man_pages.contains(&entry(&format!("man/{name}.1"), 0o644)), "{name}: {man_pages:?}");
    }
    let expected = [
        entry("LICENSE", 0o644),
        entry("completions/_kubectl-dynamo", 0o644),
        entry("completions/kubectl-dynamo.bash", 0o644),
        entry("completions/kubectl-dynamo.fish", 0o644),
        entry("kubectl-dynamo", 0o755),
    ];
    assert_eq!(plugin, expected);
    let fetcher = archive_files(&release.file(&format!("model-fetcher-v{VERSION}-linux-amd64.tar.gz")));
    assert_eq!(fetcher, [entry("LICENSE", 0o644), entry("model-fetcher", 0o755)]);

    let package = release.file(&format!("kubectl-dynamo_{VERSION}_amd64.deb"));
    let listed = run("dpkg-deb", &[Path::new("--contents"), &package]);
    let listed = String::from_utf8(listed.stdout).expect("paths are UTF-8");
    assert!(listed.contains("./usr/share/man/man1/kubectl-dynamo-bench-run.1.gz"), "{listed}");
}

#[test]
fn release_has_the_files_of_each_platform_in_any_order() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let mut programs = stand_ins(folder.path());
    let release = Release::pack(&programs, &folder.path().join("one"), &[]);
    let mut expected = vec![
        "dynamo.yaml".to_owned(),
        "kubectl-dynamo.rb".to_owned(),
        format!("model-fetcher-v{VERSION}-image.tar"),
        format!("kubectl-dynamo_{VERSION}_amd64.deb"),
        format!("kubectl-dynamo_{VERSION}_arm64.deb"),
    ];
    for (os, architecture, header) in HEADERS {
        let platform = format!("{os}-{architecture}");
        expected.push(format!("build-environment-{platform}.txt"));
        for name in ["kubectl-dynamo", "model-fetcher"] {
            let archive = format!("{name}-v{VERSION}-{platform}.tar.gz");
            let into = folder.path().join(&archive);
            release.unpack(&archive, &into);
            assert_eq!(fs::read(into.join(name)).expect("the program is unpacked"), header);
            expected.extend([archive, format!("{name}-v{VERSION}-{platform}.cdx.json")]);
        }
    }
    expected.sort();
    let sums = release.text("SHA256SUMS");
    let mut listed: Vec<&str> = sums.lines().filter_map(|line| Some(line.split_once("  ")?.1)).collect();
    listed.sort_unstable();
    assert_eq!(listed, expected);
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").expect("a line has a sum and a name");
        assert_eq!(sum, checksum(&release.file(name)), "{name}");
    }

    programs.reverse();
    let again = Release::pack(&programs, &folder.path().join("other"), &[]);
    assert_eq!(again.text("SHA256SUMS"), sums);
}

#[test]
fn programs_of_one_platform_and_other_files_are_rejected() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let output = folder.path().join("dist");
    let programs = stand_ins(folder.path());
    let twice = [programs[0].clone(), programs[0].clone()];
    let message = fail_to_pack(&twice, &output, &[]);
    assert!(message.contains("both have kubectl-dynamo for darwin-amd64"), "{message}");

    let message = fail_to_pack(&[folder.path().to_path_buf()], &output, &[]);
    assert!(message.contains("does not have kubectl-dynamo or model-fetcher"), "{message}");

    fs::write(programs[0].join("kubectl-dynamo"), "#!/bin/sh\n").expect("the folder is writable");
    let message = fail_to_pack(&programs, &output, &[]);
    assert!(message.contains("is not a program for Linux or macOS on amd64 or arm64"), "{message}");
}

#[test]
fn placeholder_in_any_output_is_rejected() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let programs = stand_ins(folder.path());
    let output = folder.path().join("dist");
    for (file, named) in
        [("model-fetcher.cdx.json", "model-fetcher-v"), ("build-environment.txt", "build-environment-")]
    {
        let path = programs[0].join(file);
        let text = fs::read_to_string(&path).expect("the stand-in exists");
        fs::write(&path, "version @RELEASE_DATE@\n").expect("the folder is writable");
        let message = fail_to_pack(&programs, &output, &[]);
        assert!(message.contains("placeholders are left: dist/"), "{message}");
        assert!(message.contains(named) && message.contains("@RELEASE_DATE@"), "{message}");
        fs::write(&path, text).expect("the folder is writable");
    }
    let message = fail_to_pack(&programs, &output, &["--base-url", "https://a.example/@TAG@"]);
    assert!(message.contains("dist/dynamo.yaml") && message.contains("dist/kubectl-dynamo.rb"), "{message}");
}

#[test]
fn debian_package_installs_program_completion_and_license() {
    let release = Release::of_built_programs();
    let package = release.file(&format!("kubectl-dynamo_{VERSION}_amd64.deb"));
    let fields = String::from_utf8(run("dpkg-deb", &[Path::new("--field"), &package]).stdout)
        .expect("fields are UTF-8");
    for field in
        ["Package: kubectl-dynamo", &format!("Version: {VERSION}"), "Architecture: amd64", "Maintainer: "]
    {
        assert!(fields.lines().any(|line| line.starts_with(field)), "{field}: {fields}");
    }
    let depends = fields.lines().find_map(|line| line.strip_prefix("Depends:"));
    assert!(depends.is_none_or(|names| names.trim().is_empty()), "the program is static: {fields}");

    let root = tempfile::tempdir().expect("can create a temporary folder");
    run("dpkg-deb", &[Path::new("--extract"), &package, root.path()]);
    let file = |path: &str| root.path().join("usr").join(path);
    let version =
        run(file("bin/kubectl-dynamo").to_str().expect("the path is UTF-8"), &[Path::new("version")]);
    assert!(String::from_utf8_lossy(&version.stdout).starts_with(&format!("kubectl dynamo {VERSION}\n")));
    for completion in [
        "share/bash-completion/completions/kubectl-dynamo",
        "share/zsh/vendor-completions/_kubectl-dynamo",
        "share/fish/vendor_completions.d/kubectl-dynamo.fish",
    ] {
        let script = fs::read_to_string(file(completion)).expect("the script is packed");
        assert!(script.contains("KUBECTL_DYNAMO_COMPLETE"), "{completion}");
    }
    let license = fs::read_to_string(file("share/doc/kubectl-dynamo/copyright")).expect("it is packed");
    assert!(license.contains("Apache License"), "{license}");
}

#[test]
fn formula_has_each_platform_with_its_checksum() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let release = Release::pack(&stand_ins(folder.path()), &folder.path().join("dist"), &[]);
    let formula = release.text("kubectl-dynamo.rb");
    for (os, architecture, _) in HEADERS {
        let archive = format!("kubectl-dynamo-v{VERSION}-{os}-{architecture}.tar.gz");
        let url = format!("{}/releases/download/v{VERSION}/{archive}", env!("CARGO_PKG_REPOSITORY"));
        let sum = checksum(&release.file(&archive));
        let lines = format!("      url \"{url}\"\n      sha256 \"{sum}\"\n    end\n");
        let processor = if architecture == "amd64" { "intel" } else { "arm" };
        assert!(formula.contains(&format!("    on_{processor} do\n{lines}")), "{formula}");
    }
    assert_eq!(formula.matches("on_macos do").count() + formula.matches("on_linux do").count(), 2);
    let opened =
        formula.lines().filter(|line| line.ends_with(" do") || line.trim().starts_with("def ")).count();
    let closed = formula.lines().filter(|line| line.trim() == "end").count();
    // One more closes the class.
    assert_eq!(opened + 1, closed, "{formula}");
}
