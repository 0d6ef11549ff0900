//! `krew/prepare-release`: one commit with a tag that sets the version, dates the changelog, and writes the files that contain
//! the version.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::programs;

/// A copy of this tree as the only commit of a new repository.
struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("can create a temporary folder");
        programs::run_repository_command("krew/copy-source", &[folder.path().join("tree")]);
        let repository = Self(folder);
        // After a release, the first section is dated.
        let changelog = repository.text("CHANGELOG.md");
        let heading = changelog.lines().find(|line| line.starts_with("## ")).expect("there are sections");
        let changed = changelog.replacen(heading, "## 0.0.1, unreleased", 1);
        fs::write(repository.0.path().join("tree/CHANGELOG.md"), changed).expect("it is writable");
        repository.git(&["init", "--quiet"]);
        repository.git(&["add", "--all"]);
        repository.git(&["commit", "--quiet", "--message", "tree"]);
        repository
    }

    fn run(&self, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Output {
        let tree = self.0.path().join("tree");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(tree);
        // A hook of this repository that runs the tests sets variables that name it.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), "test")
                .env(format!("GIT_{role}_EMAIL"), "test@a.example");
        }
        command.output().expect("the program is installed")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = self.run("git", arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("Git prints UTF-8")
    }

    /// Runs the command with the program under test, which names the fetcher's image of the version `program`.
    fn prepare(&self, version: &str, program: &str) -> Output {
        let path = self.0.path().join("kubectl-dynamo");
        let under_test = programs::kubectl_dynamo();
        let text = format!(
            "#!/bin/sh\n'{}' \"$@\" | sed 's/model-fetcher:[0-9.]*/model-fetcher:{program}/g'\n",
            under_test.display()
        );
        fs::write(&path, text).expect("it is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let with_program = format!("KUBECTL_DYNAMO_BIN={}", path.display());
        self.run("env", &[&with_program, "krew/prepare-release", version])
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join("tree").join(file)).expect("the file exists")
    }
}

fn date() -> String {
    let printed = Command::new("date").args(["-u", "+%F"]).output().expect("date is installed");
    String::from_utf8(printed.stdout).expect("a date is ASCII").trim().to_owned()
}

#[test]
fn one_commit_sets_the_version_and_dates_the_changelog() {
    let repository = Repository::new();
    let before = env!("CARGO_PKG_VERSION");
    let changelog = repository.text("CHANGELOG.md");
    let heading = changelog.lines().find(|line| line.starts_with("## ")).expect("the changelog has sections");
    assert!(heading.ends_with(", unreleased"), "{heading}");
    let table = repository.text("docs/reference/compatibility.md");
    let prepared = repository.prepare("7.8.9", "7.8.9");
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));

    let dated = changelog.replacen(heading, &format!("## 7.8.9, {}", date()), 1);
    assert_eq!(repository.text("CHANGELOG.md"), dated);
    assert!(repository.text("Cargo.toml").contains("\nversion = \"7.8.9\"\n"));
    let lock = repository.text("Cargo.lock");
    for name in ["kubectl-dynamo", "kubectl-dynamo-core", "model-fetcher", "model-fetcher-contract"] {
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"7.8.9\"\n")), "{name}");
    }
    assert_eq!(repository.git(&["describe", "--exact-match"]).trim(), "v7.8.9");
    assert_eq!(repository.git(&["log", "-1", "--format=%s"]).trim(), "release: 7.8.9");
    let mut changed: Vec<_> =
        repository.git(&["diff", "--name-only", "HEAD~"]).lines().map(str::to_owned).collect();
    changed.sort();
    let examples = ["aggregated-0.9.1", "aggregated", "disaggregated", "existing-claim-and-token"]
        .map(|name| format!("manifests/examples/{name}.yaml"));
    let others = ["CHANGELOG.md", "Cargo.lock", "Cargo.toml", "docs/reference/compatibility.md"];
    assert_eq!(changed, [others.map(str::to_owned), examples.clone()].concat());
    for file in &examples {
        let text = repository.text(file);
        assert!(text.contains("image: ghcr.io/kubectl-dynamo/model-fetcher:7.8.9\n"), "{file}");
        assert!(!text.contains(&format!("model-fetcher:{before}")), "{file}");
    }
    let expected = table.replace(&format!("\n| {before} |"), "\n| 7.8.9 |");
    assert!(expected != table && repository.text("docs/reference/compatibility.md") == expected);
    assert_eq!(repository.git(&["status", "--porcelain"]), "");

    // The next release needs a new section.
    let again = repository.prepare("7.9.0", "7.9.0");
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && stderr.contains("and not unreleased"), "{stderr}");
}

#[test]
fn changed_tree_and_wrong_versions_are_rejected() {
    let repository = Repository::new();
    for (version, message) in
        [("v1.0.0", "is not a version"), ("1.0", "is not a version"), ("1.0.0-rc.1", "is not a version")]
    {
        let refused = repository.prepare(version, version);
        assert!(String::from_utf8_lossy(&refused.stderr).contains(message), "{refused:?}");
    }
    let refused = repository.prepare("1.0.0", "0.9.9");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not of version 1.0.0"), "{refused:?}");
    assert_eq!(repository.git(&["status", "--porcelain"]), "");
    fs::write(Path::new(&repository.0.path().join("tree/README.md")), "changed\n").expect("it is writable");
    let refused = repository.prepare("1.0.0", "1.0.0");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("has changes"), "{refused:?}");
    assert_eq!(repository.git(&["tag"]), "");
}
