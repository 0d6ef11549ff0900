//! Runs the installed plugin through kubectl.

use std::path::Path;
use std::process::{Command, Output};

use crate::krew;
use crate::programs;

/// kubectl with an installed plugin and an otherwise empty environment.
pub(crate) struct KrewInstallation {
    kubectl: &'static Path,
    root: tempfile::TempDir,
}

impl KrewInstallation {
    /// Installs the plugin with krew; returns `None` if krew or kubectl is not compiled.
    pub(crate) fn new() -> Option<Self> {
        let kubectl = programs::kubectl()?;
        let root = tempfile::tempdir().expect("can create a temporary folder");
        krew::install_plugin(root.path())?;
        Some(Self { kubectl, root })
    }

    /// Returns the folder that krew adds to PATH.
    pub(crate) fn bin(&self) -> std::path::PathBuf {
        self.root.path().join("bin")
    }

    /// Runs kubectl with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.kubectl);
        command.env_clear().env("PATH", self.bin()).env("HOME", self.root.path()).args(arguments);
        command.output().expect("kubectl can be started")
    }

    /// Returns stdout of a successful run.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("output is UTF-8")
    }
}

#[test]
fn kubectl_lists_the_plugin_without_warnings() {
    let Some(installed) = KrewInstallation::new() else { return };
    let listed = installed.run(&["plugin", "list", "--name-only"]);
    assert_eq!(String::from_utf8_lossy(&listed.stderr), "");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("kubectl-dynamo"));
}

#[test]
fn version_command_works_through_kubectl() {
    let Some(installed) = KrewInstallation::new() else { return };
    let version = installed.stdout(&["dynamo", "version"]);
    assert!(version.starts_with(concat!("kubectl dynamo ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
}

#[test]
fn every_help_page_uses_kubectl_dynamo() {
    let Some(installed) = KrewInstallation::new() else { return };
    let root = installed.stdout(&["dynamo", "--help"]);
    let (_, commands) = root.split_once("Commands:\n").expect("the help lists its verbs");
    // A long description continues on the next line, further to the right.
    let listed = commands.lines().take_while(|line| !line.is_empty());
    let verbs: Vec<&str> = listed
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty())
        .collect();
    assert!(verbs.contains(&"up") && verbs.contains(&"version"), "{verbs:?}");
    for verb in verbs {
        let help = installed.stdout(&["dynamo", verb, "--help"]);
        assert!(help.contains(&format!("Usage: kubectl dynamo {verb}")), "{help}");
        // Only `completion` must mention the program's name; the project file contains it too.
        let program = help.replace(".kubectl-dynamo.toml", "").contains("kubectl-dynamo");
        assert!(verb == "completion" || !program, "{help}");
    }
}

#[test]
fn kubectl_passes_exit_codes_and_messages_through() {
    let Some(installed) = KrewInstallation::new() else { return };
    let output = installed.run(&["dynamo", "versoin"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("[KD0001]") && errors.contains("'version'"), "{errors}");
}
