//! The installed plugin as kubectl runs it.

use std::path::Path;
use std::process::{Command, Output};

use crate::krew::Release;
use crate::programs;

/// kubectl with an installed plugin, in an environment that holds nothing else.
pub(crate) struct Installed {
    kubectl: &'static Path,
    root: tempfile::TempDir,
}

impl Installed {
    /// `None` where there is no kubectl to run it through.
    pub(crate) fn new() -> Option<Self> {
        let kubectl = programs::kubectl()?;
        let root = tempfile::tempdir().expect("a temporary folder can be made");
        Release::of_the_plugin().install(root.path());
        Some(Self { kubectl, root })
    }

    /// The folder krew puts into PATH.
    pub(crate) fn bin(&self) -> std::path::PathBuf {
        self.root.path().join("bin")
    }

    /// Runs kubectl with these arguments.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.kubectl);
        command.env_clear().env("PATH", self.bin()).env("HOME", self.root.path()).args(arguments);
        command.output().expect("kubectl can be started")
    }

    /// What a run that goes well writes to stdout.
    pub(crate) fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {}: {errors}", output.status);
        String::from_utf8(output.stdout).expect("output is text")
    }
}

#[test]
fn kubectl_finds_the_plugin_and_has_nothing_to_warn_of() {
    let Some(installed) = Installed::new() else { return };
    let listed = installed.run(&["plugin", "list", "--name-only"]);
    assert_eq!(String::from_utf8_lossy(&listed.stderr), "");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("kubectl-dynamo"));
}

#[test]
fn version_runs_through_kubectl() {
    let Some(installed) = Installed::new() else { return };
    let version = installed.stdout(&["dynamo", "version"]);
    assert!(version.starts_with(concat!("kubectl dynamo ", env!("CARGO_PKG_VERSION"), "\n")), "{version}");
}

#[test]
fn usage_speaks_of_kubectl_dynamo_in_every_verb() {
    let Some(installed) = Installed::new() else { return };
    let root = installed.stdout(&["dynamo", "--help"]);
    let (_, commands) = root.split_once("Commands:\n").expect("the help lists its verbs");
    // A description that is too long goes on, further to the right.
    let listed = commands.lines().take_while(|line| !line.is_empty());
    let verbs: Vec<&str> = listed
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty())
        .collect();
    assert!(verbs.contains(&"up") && verbs.contains(&"version"), "{verbs:?}");
    for verb in verbs {
        let help = installed.stdout(&["dynamo", verb, "--help"]);
        assert!(help.contains(&format!("Usage: kubectl dynamo {verb}")), "{help}");
        // `completion` alone has to name the program that runs without kubectl; the project's file has its name.
        let program = help.replace(".kubectl-dynamo.toml", "").contains("kubectl-dynamo");
        assert!(verb == "completion" || !program, "{help}");
    }
}

#[test]
fn exit_codes_and_messages_pass_through_kubectl() {
    let Some(installed) = Installed::new() else { return };
    let output = installed.run(&["dynamo", "versoin"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("[KD0001]") && errors.contains("'version'"), "{errors}");
}
