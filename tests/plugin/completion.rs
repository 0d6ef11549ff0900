//! Completion as kubectl asks for it: through the shim, in cobra's protocol, and in bash without kubectl.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use kubectl_dynamo::intent::{
    Backend, Cache, ModelRef, Placement, Router, RouterMode, ServingIntent, Topology, WorkerGroup,
};
use kubectl_dynamo::local::Folders;
use kubectl_dynamo::local::state::{Deployment, write_deployment};

use crate::kubectl::Installed;
use crate::programs;

const SHIM: &str = "kubectl_complete-dynamo";

/// A krew installation whose user has run `completion --install`.
fn with_shim() -> Option<Installed> {
    let installed = Installed::new()?;
    installed.stdout(&["dynamo", "completion", "--install"]);
    Some(installed)
}

/// What kubectl offers for these words: the candidates without descriptions, and cobra's directive.
fn offered(installed: &Installed, words: &[&str]) -> (Vec<String>, String) {
    let answer = installed.stdout(&[&["__complete", "dynamo"], words].concat());
    let mut lines: Vec<String> =
        answer.lines().map(|line| line.split('\t').next().unwrap_or_default().into()).collect();
    let directive = lines.pop().expect("the last line is the directive");
    (lines, directive)
}

#[test]
fn the_shim_lies_beside_the_plugin_and_is_placed_once() {
    let Some(installed) = with_shim() else { return };
    let shim = installed.bin().join(SHIM);
    let placed = fs::metadata(&shim).expect("it is beside the link that krew made");
    assert_eq!(placed.permissions().mode() & 0o777, 0o755);
    let again = installed.run(&["dynamo", "completion", "--install"]);
    assert!(String::from_utf8_lossy(&again.stderr).starts_with(&format!("unchanged: {}", shim.display())));
    let beside: Vec<_> = fs::read_dir(installed.bin()).expect("krew made the folder").collect();
    assert_eq!(beside.len(), 2, "{beside:?}");
}

#[test]
fn a_program_of_that_name_that_is_not_ours_stays() {
    let Some(installed) = Installed::new() else { return };
    let other = installed.bin().join(SHIM);
    fs::write(&other, "#!/bin/sh\n").expect("the folder can be written");
    let refused = installed.run(&["dynamo", "completion", "--install"]);
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{errors}");
    assert!(errors.contains("[KD0003]") && errors.contains("--dir"), "{errors}");
    assert_eq!(fs::read_to_string(other).expect("it is still there"), "#!/bin/sh\n");
}

#[test]
fn a_folder_outside_path_is_taken_and_named() {
    let Some(installed) = Installed::new() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().to_str().expect("temporary paths are text");
    let placed = installed.run(&["dynamo", "completion", "--install", "--dir", path]);
    let said = String::from_utf8_lossy(&placed.stderr);
    assert!(placed.status.success(), "{said}");
    assert!(said.contains(&format!("{path} is in PATH")), "{said}");
    assert!(folder.path().join(SHIM).is_file());
}

#[test]
fn kubectl_offers_verbs_flags_and_closed_sets() {
    let Some(installed) = with_shim() else { return };
    let (verbs, directive) = offered(&installed, &[""]);
    for verb in ["up", "render", "completion", "version"] {
        assert!(verbs.iter().any(|offered| offered == verb), "{verb}: {verbs:?}");
    }
    assert!(verbs.iter().all(|verb| !verb.starts_with(['-', '_'])), "{verbs:?}");
    assert_eq!(directive, ":4");

    let set = |words: &[&str]| offered(&installed, words).0;
    assert_eq!(set(&["ver"]), ["version"]);
    assert_eq!(set(&["up", "--router-m"]), ["--router-mode"]);
    assert_eq!(set(&["up", "--mode", ""]), ["agg", "disagg"]);
    assert_eq!(set(&["up", "--mode=d"]), ["disagg"]);
    assert_eq!(set(&["--progress", "j"]), ["json"]);
    let releases: Vec<&str> =
        kubectl_dynamo::release::CATALOG.iter().rev().map(|known| known.version).collect();
    assert_eq!(set(&["render", "--release", ""]), releases);
}

#[test]
fn paths_are_left_to_the_shell_or_end_open() {
    let Some(installed) = with_shim() else { return };
    assert_eq!(offered(&installed, &["up", "./"]), (vec![], ":0".into()));
    let (folders, directive) = offered(&installed, &["--kubeconfig", "/et"]);
    assert_eq!((folders, directive.as_str()), (vec!["/etc/".into()], ":6"));
}

#[test]
fn contexts_come_from_the_kubeconfig() {
    let Some(installed) = with_shim() else { return };
    let kubeconfig = installed.bin().join("config");
    let context = |name: &str| format!("- {{name: {name}, context: {{cluster: c, user: u}}}}\n");
    let text = format!("apiVersion: v1\nkind: Config\ncontexts:\n{}{}", context("prod"), context("test"));
    fs::write(&kubeconfig, text).expect("the folder can be written");
    let kubeconfig = kubeconfig.to_str().expect("temporary paths are text");
    let offered = offered(&installed, &["--kubeconfig", kubeconfig, "--context", ""]);
    assert_eq!(offered, (vec!["prod".into(), "test".into()], ":4".into()));
}

#[test]
fn names_of_this_machine_come_from_its_state_folder() {
    let Some(installed) = with_shim() else { return };
    let state = tempfile::tempdir().expect("a temporary folder can be made");
    let folders = Folders { cache: state.path().join("cache"), state: state.path().into() };
    for name in ["tiny", "other"] {
        let deployment = Deployment {
            name: name.into(),
            intent: wish(name),
            version: kubectl_dynamo::release::DEFAULT.into(),
            port: 8000,
            model_folder: "/nowhere".into(),
            detached: true,
            started_at: "2026-01-01T00:00:00Z".into(),
        };
        write_deployment(&folders.deployment(name), &deployment, &[]).expect("the folder can be written");
    }
    let offered = |words: &[&str]| {
        let mut shim = Command::new(installed.bin().join(SHIM));
        let asked = shim.env_clear().env("PATH", installed.bin()).env("KUBECTL_DYNAMO_STATE", state.path());
        let asked = asked.env("KUBECTL_DYNAMO_CACHE", &folders.cache).args(words).output();
        String::from_utf8(asked.expect("the shim is executable").stdout).expect("names are text")
    };
    assert_eq!(offered(&["status", "--local", ""]), "other\ntiny\n:4\n");
    assert_eq!(offered(&["chat", "--local", "t"]), "tiny\n:4\n");
    assert_eq!(offered(&["chat", "--local", "tiny", ""]), ":4\n");
}

fn wish(name: &str) -> ServingIntent {
    ServingIntent {
        name: name.into(),
        model: ModelRef::BuiltIn,
        served_model_name: name.into(),
        trust_remote_code: false,
        backend: Backend::Mocker,
        topology: Topology::Aggregated { worker: WorkerGroup::default() },
        router: Router::of(RouterMode::RoundRobin),
        kv_offload: None,
        frontend_replicas: 1,
        engine_args: Vec::new(),
        cache: Cache::default(),
        token_secret: None,
        placement: Placement::default(),
    }
}

#[test]
fn without_a_cluster_there_are_no_names_and_no_errors() {
    let Some(installed) = with_shim() else { return };
    for words in [vec!["-n", ""], vec!["--kubeconfig", "/nowhere", "-n", ""]] {
        let mut shim = Command::new(installed.bin().join(SHIM));
        let asked = shim.env_clear().env("PATH", installed.bin()).args(&words).output();
        let asked = asked.expect("the shim is executable");
        assert_eq!(String::from_utf8_lossy(&asked.stdout), ":4\n", "{words:?}");
        assert_eq!(String::from_utf8_lossy(&asked.stderr), "", "{words:?}");
        assert!(asked.status.success());
    }
}

#[test]
fn bash_completes_the_program_itself() {
    let plugin = programs::kubectl_dynamo();
    let folder = plugin.parent().expect("a program is in a folder");
    let script = "set -eu; eval \"$(kubectl-dynamo completion bash)\"
        COMP_WORDS=(kubectl-dynamo up --mode d) COMP_CWORD=3 COMP_TYPE=9
        _clap_complete_kubectl_dynamo kubectl-dynamo d --mode
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = Command::new("/bin/bash");
    let completed =
        bash.env_clear().env("PATH", folder).args(["-c", script]).output().expect("bash is there");
    let errors = String::from_utf8_lossy(&completed.stderr);
    assert_eq!(String::from_utf8_lossy(&completed.stdout), "disagg\n", "{errors}");
}

#[test]
fn every_shell_gets_a_script() {
    for shell in ["bash", "zsh", "fish"] {
        let printed = Command::new(programs::kubectl_dynamo()).args(["completion", shell]).output();
        let script = String::from_utf8(printed.expect("the plugin runs").stdout).expect("scripts are text");
        assert!(script.contains("kubectl-dynamo") && script.contains("KUBECTL_DYNAMO_COMPLETE"), "{script}");
    }
}
