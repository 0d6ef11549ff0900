//! The krew package: the manifest passes krew's own validator, and krew installs the plugin for each platform.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kubectl_dynamo_tests::cache;
use serde::Deserialize;

use crate::programs;
use crate::release::{HEADERS, Release, stand_ins};

const BASE_URL: &str = "https://downloads.example/dynamo";

/// The fields of a plugin manifest that krew's validator does not compare with the release.
#[derive(Deserialize)]
struct Manifest {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    version: String,
    homepage: String,
    caveats: String,
    platforms: Vec<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    uri: String,
    sha256: String,
}

/// The real krew, its validator, and kubectl, which runs krew as a plugin.
struct Krew {
    path: std::ffi::OsString,
    validator: PathBuf,
}

impl Krew {
    /// Returns `None` after printing why, if they are not compiled.
    fn find() -> Option<Self> {
        let kubectl = programs::kubectl()?;
        let krew = programs::compiled("kubectl-krew")?;
        let validator = programs::compiled("validate-krew-manifest")?;
        let folders = [kubectl, &krew].map(|program| program.parent().expect("a program is in a folder"));
        let path = std::env::join_paths(folders).expect("the folders do not contain colons");
        Some(Self { path, validator })
    }

    /// Installs the plugin of a release for a platform below `root`.
    fn install(&self, release: &Release, root: &Path, (os, architecture): (&str, &str)) -> Output {
        let archive = format!("kubectl-dynamo-v{}-{os}-{architecture}.tar.gz", env!("CARGO_PKG_VERSION"));
        Command::new("kubectl-krew")
            .args(["install", "--manifest"])
            .arg(release.file("dynamo.yaml"))
            .arg("--archive")
            .arg(release.file(&archive))
            .env_clear()
            .envs([("PATH", &self.path)])
            .envs([("KREW_ROOT", root), ("HOME", root)])
            .envs([("KREW_OS", os), ("KREW_ARCH", architecture), ("KREW_NO_UPGRADE_CHECK", "1")])
            .output()
            .expect("krew is compiled")
    }
}

/// Installs the built plugin with krew below `root`. Returns `None` if krew is not compiled.
pub(crate) fn install_plugin(root: &Path) -> Option<()> {
    let krew = Krew::find()?;
    let installed = krew.install(Release::of_built_programs(), root, ("linux", "amd64"));
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    Some(())
}

fn manifest(release: &Release) -> Manifest {
    serde_saphyr::from_str(&release.text("dynamo.yaml")).expect("the manifest is YAML")
}

/// Serves the files of a folder on a port of the loopback interface until the test program ends.
fn serve(folder: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it listens").port();
    let folder = folder.to_path_buf();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = answer(&folder, connection);
        }
    });
    port
}

/// Answers one request for a file.
fn answer(folder: &Path, mut connection: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The client waits for an answer only after the empty line.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let name = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
    let (status, content) =
        fs::read(folder.join(name)).map_or(("404 Not Found", Vec::new()), |c| ("200 OK", c));
    let length = content.len();
    write!(connection, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")?;
    connection.write_all(&content)
}

#[test]
fn krew_validator_accepts_and_installs_every_platform() {
    let Some(krew) = Krew::find() else { return };
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let dist = folder.path().join("dist");
    let base_url = format!("http://127.0.0.1:{}", serve(&dist));
    let release = Release::pack(&stand_ins(folder.path()), &dist, &["--base-url", &base_url]);
    // It installs the plugin for each platform of the manifest with KREW_OS and KREW_ARCH, and looks for the license.
    let validated = Command::new(&krew.validator)
        .arg("-manifest")
        .arg(release.file("dynamo.yaml"))
        .env("PATH", &krew.path)
        .output()
        .expect("the validator is compiled");
    let log = String::from_utf8_lossy(&validated.stderr);
    assert!(validated.status.success(), "{log}");
    assert!(log.contains(&format!("all {} spec.platforms installed fine", HEADERS.len())), "{log}");

    let text = release.text("dynamo.yaml").replace("shortDescription:", "shortDescriptoin:");
    fs::write(release.file("dynamo.yaml"), text).expect("the folder is writable");
    let rejected = Command::new(&krew.validator)
        .args(["-skip-install", "-manifest"])
        .arg(release.file("dynamo.yaml"))
        .output()
        .expect("the validator is compiled");
    assert!(!rejected.status.success(), "an unknown field was accepted");
}

#[test]
fn krew_installs_the_program_of_each_platform_from_its_archive() {
    let Some(krew) = Krew::find() else { return };
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let release = Release::pack(&stand_ins(folder.path()), &folder.path().join("dist"), &[]);
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    for (os, architecture, header) in HEADERS {
        let root = folder.path().join(format!("krew-{os}-{architecture}"));
        let installed = krew.install(&release, &root, (os, architecture));
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let store = root.join("store/dynamo").join(version);
        let mut files: Vec<_> = fs::read_dir(&store)
            .expect("krew created the store")
            .map(|entry| entry.expect("the folder is readable").file_name())
            .collect();
        files.sort();
        assert_eq!(files, ["LICENSE", "kubectl-dynamo"]);
        assert_eq!(fs::read(root.join("bin/kubectl-dynamo")).expect("krew created the link"), header);
    }
}

#[test]
fn manifest_names_the_version_and_the_completion_command() {
    let spec = manifest(Release::of_built_programs()).spec;
    assert_eq!(spec.version, concat!("v", env!("CARGO_PKG_VERSION")));
    assert_eq!(spec.homepage, env!("CARGO_PKG_REPOSITORY"));
    assert!(spec.caveats.contains("kubectl dynamo completion --install"));
}

#[test]
fn base_url_option_sets_the_download_url() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let programs = &stand_ins(folder.path())[2..3];
    let output = folder.path().join("dist");
    let platform =
        |options: &[&str]| manifest(&Release::pack(programs, &output, options)).spec.platforms.remove(0);
    let version = env!("CARGO_PKG_VERSION");
    let archive = format!("kubectl-dynamo-v{version}-linux-amd64.tar.gz");
    let named = platform(&["--base-url", BASE_URL]);
    assert_eq!(named.uri, format!("{BASE_URL}/{archive}"));
    let sums = fs::read_to_string(output.join("SHA256SUMS")).expect("it was written");
    assert!(sums.contains(&format!("{}  {archive}\n", named.sha256)), "{sums}");
    assert_eq!(
        platform(&["--base-url", "https://a.example/x?a=1&b=2|3/"]).uri,
        format!("https://a.example/x?a=1&b=2|3/{archive}")
    );
    let default = format!("{}/releases/download/v{version}/{archive}", env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(platform(&[]).uri, default);
}

#[test]
fn workflows_pass_the_linter_and_pin_actions_by_commit() {
    let Some(linter) = programs::compiled("actionlint") else { return };
    let folder = cache::repository().join(".github/workflows");
    for entry in fs::read_dir(&folder).expect("the folder exists") {
        let workflow = entry.expect("the folder is readable").path();
        // Other linters are used if they are installed, so the result would depend on the machine.
        let linted =
            Command::new(&linter).args(["-shellcheck=", "-pyflakes=", "-no-color"]).arg(&workflow).output();
        let linted = linted.expect("the linter is compiled");
        assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
        let text = fs::read_to_string(&workflow).expect("workflows are UTF-8");
        let actions: Vec<_> = text.lines().filter_map(|line| Some(line.split_once("uses: ")?.1)).collect();
        assert!(!actions.is_empty(), "{} does not use an action", workflow.display());
        for action in actions {
            let commit = action.split_once('@').map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
            let is_commit = |commit: &str| {
                commit.len() == 40
                    && commit.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            };
            assert!(commit.is_some_and(is_commit), "{action} is not pinned by a commit");
        }
    }
}
