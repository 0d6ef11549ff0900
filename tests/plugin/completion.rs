//! Completion as kubectl uses it: through the shim, with cobra's protocol, and in bash without kubectl.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use kubectl_dynamo::local::Folders;
use kubectl_dynamo::local::state::{LocalDeploymentSpec, write_spec};
use kubectl_dynamo_core::intent::{Backend, ModelRef, ServingIntent};
use kubectl_dynamo_tests::intents::default_intent;

use crate::kubectl::KrewInstallation;
use crate::programs;

const SHIM: &str = "kubectl_complete-dynamo";

/// Returns a krew installation after `completion --install`.
fn install_shim() -> Option<KrewInstallation> {
    let installed = KrewInstallation::new()?;
    installed.stdout(&["dynamo", "completion", "--install"]);
    Some(installed)
}

/// Returns what kubectl completes for these words: the candidates without descriptions, and cobra's
/// directive.
fn completions(installed: &KrewInstallation, args: &[&str]) -> (Vec<String>, String) {
    let answer = installed.stdout(&[&["__complete", "dynamo"], args].concat());
    let mut lines: Vec<String> =
        answer.lines().map(|line| line.split('\t').next().unwrap_or_default().into()).collect();
    let directive = lines.pop().expect("the last line is the directive");
    (lines, directive)
}

#[test]
fn install_puts_the_shim_beside_the_plugin_once() {
    let Some(installed) = install_shim() else { return };
    let shim = installed.bin().join(SHIM);
    let metadata = fs::metadata(&shim).expect("it is next to the link that krew created");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o755);
    let again = installed.run(&["dynamo", "completion", "--install"]);
    assert!(String::from_utf8_lossy(&again.stderr).starts_with(&format!("unchanged: {}", shim.display())));
    let entries: Vec<_> = fs::read_dir(installed.bin()).expect("krew created the folder").collect();
    assert_eq!(entries.len(), 2, "{entries:?}");
}

#[test]
fn install_does_not_overwrite_a_foreign_file() {
    let Some(installed) = KrewInstallation::new() else { return };
    let other = installed.bin().join(SHIM);
    fs::write(&other, "#!/bin/sh\n").expect("the folder is writable");
    let refused = installed.run(&["dynamo", "completion", "--install"]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("[KD0003]") && errors.contains("--dir"), "{errors}");
    assert_eq!(fs::read_to_string(other).expect("the file still exists"), "#!/bin/sh\n");
}

#[test]
fn install_dir_outside_path_prints_a_note() {
    let Some(installed) = KrewInstallation::new() else { return };
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let path = folder.path().to_str().expect("temporary paths are UTF-8");
    let output = installed.run(&["dynamo", "completion", "--install", "--dir", path]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains(&format!("add {path} to PATH")), "{stderr}");
    assert!(folder.path().join(SHIM).is_file());
}

#[test]
fn completes_verbs_flags_and_enum_values() {
    let Some(installed) = install_shim() else { return };
    let (verbs, directive) = completions(&installed, &[""]);
    for verb in ["up", "render", "completion", "version"] {
        assert!(verbs.iter().any(|candidate| candidate == verb), "{verb}: {verbs:?}");
    }
    assert!(verbs.iter().all(|verb| !verb.starts_with(['-', '_'])), "{verbs:?}");
    assert_eq!(directive, ":4");

    let candidates_for = |args: &[&str]| completions(&installed, args).0;
    assert_eq!(candidates_for(&["ver"]), ["version"]);
    assert_eq!(candidates_for(&["up", "--router-m"]), ["--router-mode"]);
    assert_eq!(candidates_for(&["up", "--mode", ""]), ["agg", "disagg"]);
    assert_eq!(candidates_for(&["up", "--mode=d"]), ["disagg"]);
    assert_eq!(candidates_for(&["--progress", "j"]), ["json"]);
    let releases: Vec<&str> =
        kubectl_dynamo_core::release::CATALOG.iter().rev().map(|release| release.version).collect();
    assert_eq!(candidates_for(&["render", "--release", ""]), releases);
}

#[test]
fn completes_paths_through_the_shell() {
    let Some(installed) = install_shim() else { return };
    assert_eq!(completions(&installed, &["up", "./"]), (vec![], ":0".into()));
    let (folders, directive) = completions(&installed, &["--kubeconfig", "/et"]);
    assert_eq!((folders, directive.as_str()), (vec!["/etc/".into()], ":6"));
}

#[test]
fn completes_contexts_from_the_kubeconfig() {
    let Some(installed) = install_shim() else { return };
    let kubeconfig = installed.bin().join("config");
    let context = |name: &str| format!("- {{name: {name}, context: {{cluster: c, user: u}}}}\n");
    let text = format!("apiVersion: v1\nkind: Config\ncontexts:\n{}{}", context("prod"), context("test"));
    fs::write(&kubeconfig, text).expect("the folder is writable");
    let kubeconfig = kubeconfig.to_str().expect("temporary paths are UTF-8");
    let candidates = completions(&installed, &["--kubeconfig", kubeconfig, "--context", ""]);
    assert_eq!(candidates, (vec!["prod".into(), "test".into()], ":4".into()));
}

#[test]
fn completes_local_names_from_the_state_folder() {
    let Some(installed) = install_shim() else { return };
    let state = tempfile::tempdir().expect("can create a temporary folder");
    let folders = Folders { cache: state.path().join("cache"), state: state.path().into() };
    for name in ["tiny", "other"] {
        let deployment = LocalDeploymentSpec {
            name: name.into(),
            intent: mocker_intent(name),
            version: kubectl_dynamo_core::release::DEFAULT_RELEASE.into(),
            port: 8000,
            model_folder: "/nowhere".into(),
            detached: true,
            started_at: "2026-01-01T00:00:00Z".into(),
        };
        write_spec(&folders.deployment(name), &deployment, &[]).expect("the folder is writable");
    }
    let candidates = |args: &[&str]| {
        let mut shim = Command::new(installed.bin().join(SHIM));
        let result = shim.env_clear().env("PATH", installed.bin()).env("KUBECTL_DYNAMO_STATE", state.path());
        let result = result.env("KUBECTL_DYNAMO_CACHE", &folders.cache).args(args).output();
        String::from_utf8(result.expect("the shim is executable").stdout).expect("names are UTF-8")
    };
    assert_eq!(candidates(&["status", "--local", ""]), "other\ntiny\n:4\n");
    assert_eq!(candidates(&["chat", "--local", "t"]), "tiny\n:4\n");
    assert_eq!(candidates(&["chat", "--local", "tiny", ""]), ":4\n");
}

fn mocker_intent(name: &str) -> ServingIntent {
    ServingIntent {
        name: name.into(),
        model: ModelRef::BuiltIn,
        served_model_name: name.into(),
        backend: Backend::Mocker,
        ..default_intent()
    }
}

#[test]
fn completion_without_a_cluster_is_empty_and_silent() {
    let Some(installed) = install_shim() else { return };
    for args in [vec!["-n", ""], vec!["--kubeconfig", "/nowhere", "-n", ""]] {
        let mut shim = Command::new(installed.bin().join(SHIM));
        let result = shim.env_clear().env("PATH", installed.bin()).args(&args).output();
        let result = result.expect("the shim is executable");
        assert_eq!(String::from_utf8_lossy(&result.stdout), ":4\n", "{args:?}");
        assert_eq!(String::from_utf8_lossy(&result.stderr), "", "{args:?}");
        assert!(result.status.success());
    }
}

#[test]
fn bash_completes_kubectl_dynamo_without_kubectl() {
    let plugin = programs::kubectl_dynamo();
    let folder = plugin.parent().expect("a program is in a folder");
    let script = "set -eu; eval \"$(kubectl-dynamo completion bash)\"
        COMP_WORDS=(kubectl-dynamo up --mode d) COMP_CWORD=3 COMP_TYPE=9
        _clap_complete_kubectl_dynamo kubectl-dynamo d --mode
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("/bin/bash");
    let completed =
        bash.env_clear().env("PATH", folder).args(["-c", script]).output().expect("bash is installed");
    let errors = String::from_utf8_lossy(&completed.stderr);
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "disagg\n", "{errors}");
}

#[test]
fn prints_a_script_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let printed = Command::new(programs::kubectl_dynamo()).args(["completion", shell]).output();
        let script = String::from_utf8(printed.expect("the plugin runs").stdout).expect("scripts are UTF-8");
        assert!(script.contains("kubectl-dynamo") && script.contains("KUBECTL_DYNAMO_COMPLETE"), "{script}");
    }
}
