//! Invalid command lines: one message with a code, the object, and a fix; the documented exit code, empty
//! stdout, no panic. Neither a cluster nor a network is needed.

mod bench;
mod bench_driver;
mod chat;
mod docs;
mod documentation;
mod endpoints;
mod fit;
mod formats;
mod gateway;
mod local;
mod manifests;
mod recipes;
mod recommend;
mod reference_pages;
mod registry;
mod requests;
mod scale;
mod scripted_server;
mod settings;
mod signals;
mod site;
mod skill;
mod starter_kit;
mod watches;
mod wizard;

use std::process::{Command, Output};

use kubectl_dynamo_tests::programs;

/// A cluster that does not respond: port 1 refuses connections.
const UNREACHABLE_KUBECONFIG: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: unreachable, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: user-1, user: {}}]
contexts: [{name: only, context: {cluster: unreachable, user: user-1}}]
current-context: only
"#;

/// Runs the plugin in an empty home folder, with `UNREACHABLE_KUBECONFIG` in the file `kubeconfig` of the current folder.
fn run(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(home.path().join("kubeconfig"), UNREACHABLE_KUBECONFIG).expect("the kubeconfig");
    Command::new(programs::kubectl_dynamo())
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", "/usr/bin:/bin")
        .current_dir(home.path())
        .output()
        .expect("the plugin runs")
}

#[track_caller]
fn assert_fails(arguments: &[&str], exit: i32, code: &str, messages: &[&str]) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?} wrote to stdout");
    assert!(stderr.contains(&format!("error [{code}]: ")), "{arguments:?}: {stderr}");
    assert_eq!(stderr.matches("error [").count(), 1, "{arguments:?}: {stderr}");
    for message in messages {
        assert!(stderr.contains(message), "{arguments:?} does not print `{message}`: {stderr}");
    }
    for forbidden in ["panicked", "backtrace", "RUST_BACKTRACE", "kubectl-dynamo "] {
        assert!(!stderr.contains(forbidden), "{arguments:?} prints `{forbidden}`: {stderr}");
    }
}

const OFFLINE: [&str; 4] = ["--release", "1.6.1", "--graph-api", "v1beta1"];

fn render_args(model: &str, flags: &[&'static str]) -> Vec<String> {
    ["render", model].into_iter().chain(OFFLINE).chain(flags.iter().copied()).map(ToOwned::to_owned).collect()
}

#[track_caller]
fn assert_render_fails(model: &str, flags: &[&'static str], exit: i32, code: &str, messages: &[&str]) {
    let arguments = render_args(model, flags);
    assert_fails(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), exit, code, messages);
}

#[test]
fn unknown_verb_or_flag_gets_a_suggestion() {
    assert_fails(&["stauts"], 2, "KD0001", &["unrecognized subcommand 'stauts'", "'status'"]);
    assert_fails(&["up", "a/b", "--replica", "2"], 2, "KD0001", &["--replica", "--replicas"]);
    assert_fails(&["list", "-o", "yml"], 2, "KD0001", &["yml", "json"]);
}

#[test]
fn rejects_invalid_model_ids_and_paths() {
    assert_render_fails("a/b/c", &[], 2, "KD0401", &["\"a/b/c\"", "Qwen/Qwen3-0.6B"]);
    assert_render_fails("a/b@..", &[], 2, "KD0401", &["\"..\"", "--revision"]);
    assert_render_fails("qwen", &[], 2, "KD0401", &["\"qwen\"", "up --model qwen", "kubectl dynamo list"]);
    assert_render_fails("./here", &[], 2, "KD0403", &["./here", "--local"]);
}

#[test]
fn validates_model_before_contacting_the_cluster() {
    assert_fails(&["up", "a/b/c", "--kubeconfig", "kubeconfig"], 2, "KD0401", &["\"a/b/c\""]);
    assert_fails(&["up"], 2, "KD0401", &["no model specified", "kubectl dynamo up"]);
}

#[test]
fn rejects_names_over_the_grove_limit() {
    let long = "a-name-that-is-longer-than-any-child-of-it-may-be";
    assert_render_fails(
        "a/b",
        &["--name", long],
        2,
        "KD0201",
        &[
            long,
            "49 characters",
            "at most 37 are allowed (45 minus 8 for component \"frontend\")",
            "use --name",
        ],
    );
    // Grove also counts the leader of a multi-node component.
    assert_render_fails(
        "a/b",
        &["--name", "a-name-of-thirty-one-characters", "--tp", "8", "--nodes", "2"],
        2,
        "KD0201",
        &[
            "at most 29 are allowed (45 minus 6 for component \"worker\" and 10 for its leader \"worker-ldr\")",
        ],
    );
    assert_render_fails("a/b", &["--name", "Upper"], 2, "KD0201", &["\"Upper\"", "lowercase"]);
}

#[test]
fn rejects_invalid_quantities_and_counts() {
    assert_render_fails("a/b", &["--cache-size", "12Q"], 2, "KD0402", &["\"12Q\"", "--cache-size"]);
    assert_render_fails("a/b", &["--replicas", "0"], 2, "KD0601", &["--replicas", "at least 1"]);
    assert_render_fails("a/b", &["--decode-tp", "2"], 2, "KD0601", &["--decode-tp", "--mode disagg"]);
}

#[test]
fn rejects_unsupported_release() {
    assert_fails(
        &["render", "a/b", "--release", "2.0.0", "--graph-api", "v1beta1"],
        6,
        "KD0202",
        &["\"2.0.0\"", "0.9.1", "1.6.1", "--force-release"],
    );
}

#[test]
fn force_release_accepts_unknown_release_with_a_warning() {
    for (flags, version) in
        [(&["--release", "1.9.0"][..], "1.9.0"), (&["--release", "2.0.0", "--force-release"], "2.0.0")]
    {
        let output = run(&[&["render", "a/b", "--graph-api", "v1beta1"], flags].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(
            stderr.contains("KD0222") && stderr.contains(version) && stderr.contains("1.6.1"),
            "{stderr}"
        );
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("vllm-runtime:{version}")));
    }
}

#[test]
fn warns_about_costly_plan_settings() {
    for (flags, code, message) in [
        (&["--router-mode", "kv", "--release", "1.6.1"][..], "KD0709", "only one worker"),
        (&["--mode", "disagg", "--pp", "2", "--release", "1.6.1"], "KD0628", "pipeline parallelism"),
        (&["--kv-offload", "cpu=20Gi", "--mode", "disagg", "--release", "1.6.1"], "KD0623", "deprecated"),
        (&["--kv-offload", "cpu=20Gi", "--release", "0.9.1"], "KD0624", "CUDA graphs"),
    ] {
        let output = run(&[&["render", "a/b", "--graph-api", "v1alpha1"], flags].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains(&format!("warning [{code}]: ")) && stderr.contains(message), "{stderr}");
    }
    let alias_args = ["--release", "0.9.1", "--graph-api", "v1alpha1", "--served-model-name", "other"];
    assert_fails(&[&["render", "a/b"], &alias_args[..]].concat(), 2, "KD0701", &["\"other\""]);
}

#[test]
fn output_dir_gets_one_file_per_object() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("out").display().to_string();
    let output = run(&[&["render", "a/b", "--output-dir", &path], &OFFLINE[..]].concat());
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let mut names: Vec<String> = std::fs::read_dir(&path)
        .expect("the folder was created")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], "1-persistentvolumeclaim-model-cache.yaml");
    assert!(
        names[1].starts_with("2-job-fetch-b-") && names[2] == "3-dynamographdeployment-b.yaml",
        "{names:?}"
    );
    let single_output = run(&[&["render", "a/b"], &OFFLINE[..]].concat());
    let parts: String = names
        .iter()
        .map(|name| std::fs::read_to_string(folder.path().join("out").join(name)).expect("a file"))
        .collect();
    assert_eq!(parts, String::from_utf8_lossy(&single_output.stdout));
}

#[test]
fn rejects_token_in_env_flag_without_printing_it() {
    assert_render_fails("a/b", &["--env", "HF_TOKEN=hf_secret"], 2, "KD0415", &["--hf-token-stdin"]);
    let output = run(&render_args("a/b", &["--env", "HF_TOKEN=hf_secret"])
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hf_secret"));
}

#[test]
fn missing_kubeconfig_error_lists_search_locations() {
    assert_fails(&["list"], 4, "KD0101", &["KUBECONFIG", "--kubeconfig", "up --local"]);
    assert_fails(&["list", "--kubeconfig", "absent"], 4, "KD0109", &["absent", "kubectl config view"]);
}

#[test]
fn unknown_context_error_lists_contexts() {
    assert_fails(
        &["list", "--kubeconfig", "kubeconfig", "--context", "prod"],
        4,
        "KD0102",
        &["\"prod\"", "only"],
    );
}

#[test]
fn server_flags_are_parsed_like_kubectl() {
    let with = |server: &'static str| ["list", "--kubeconfig", "kubeconfig", "--server", server];
    assert_fails(&with("not a url"), 4, "KD0109", &["\"not a url\""]);
    // Without a scheme it is plain HTTP.
    assert_fails(&with("127.0.0.1:1"), 4, "KD0103", &["http://127.0.0.1:1", "refused"]);
    assert_fails(
        &["list", "--kubeconfig", "kubeconfig", "--user", "x"],
        4,
        "KD0109",
        &["user \"x\" not found"],
    );
    assert_fails(
        &["list", "--kubeconfig", "kubeconfig", "--certificate-authority", "absent.crt"],
        4,
        "KD0109",
        &["absent.crt"],
    );
}

#[test]
fn rejects_invalid_object_names() {
    assert_render_fails("a/b", &["--label", "bad label=x y"], 2, "KD0210", &["\"bad label=x y\""]);
    assert_render_fails("a/b", &["--cache", "Bad.Claim"], 2, "KD0210", &["\"Bad.Claim\"", "--cache"]);
    assert_render_fails("a/b", &["-n", "Bad_NS"], 2, "KD0210", &["\"Bad_NS\"", "--namespace"]);
}

#[test]
fn rejects_local_flags_for_a_cluster() {
    assert_fails(
        &["up", "a/b", "--port", "80", "--kubeconfig", "kubeconfig"],
        2,
        "KD0001",
        &["--port can only be used with --local"],
    );
}

#[test]
fn unreachable_api_server_is_named() {
    assert_fails(
        &["up", "a/b", "--kubeconfig", "kubeconfig"],
        4,
        "KD0103",
        &["https://127.0.0.1:1", "refused", "kubectl cluster-info"],
    );
}

/// The user pastes the command of a hint, and it must not work on another cluster.
#[test]
fn command_of_a_hint_reaches_the_cluster_of_the_run() {
    let cluster = ["--kubeconfig", "kubeconfig", "--server", "127.0.0.1:1", "--as", "jane doe"];
    let cluster_info = "kubectl cluster-info --kubeconfig kubeconfig --server 127.0.0.1:1 --as 'jane doe'";
    assert_fails(&[&["list"], &cluster[..]].concat(), 4, "KD0103", &[cluster_info]);
    // A command of this machine does not need them.
    let local = "kubectl dynamo list --local\n";
    assert_fails(&[&["status", "x", "--local"], &cluster[..]].concat(), 1, "KD0520", &[local]);
    let list = "kubectl dynamo list -n serving --context prod, or";
    assert_fails(&["chat", "-n", "serving", "--context", "prod"], 2, "KD0812", &[list]);
}

#[test]
fn down_requires_confirmation() {
    assert_fails(&["down", "x", "--kubeconfig", "kubeconfig"], 2, "KD0002", &["pass --yes"]);
}

#[test]
fn rejects_all_namespaces_with_a_name() {
    assert_fails(&["status", "x", "-A", "--kubeconfig", "kubeconfig"], 2, "KD0001", &["-n"]);
}

#[test]
fn json_progress_includes_the_error() {
    let output = run(&["list", "--kubeconfig", "kubeconfig", "--progress", "json"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON line");
    assert_eq!(line["event"], "failed");
    assert_eq!(line["code"], "KD0103");
    assert_eq!(line["exit"], 4);
}

#[test]
fn json_progress_includes_usage_errors() {
    let output = run(&["stauts", "--progress=json"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON line");
    assert_eq!((&line["code"], &line["exit"]), (&"KD0001".into(), &2.into()));
}

#[test]
fn arguments_after_two_hyphens_are_not_flags() {
    for arguments in [&["--progress", "json"][..], &["--progress=json"]] {
        let output = run(&[&["stauts", "--"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("error [KD0001]: "), "{stderr}");
    }
}

/// A login command that never ends does not delay a shell's completion past its limit of two seconds.
#[test]
fn completion_does_not_wait_for_a_login_command() {
    let folder = requests::TestFolder::new();
    // Ends with the plugin, or reports that the plugin waited for it for a minute.
    folder.write("login", "for i in $(seq 60); do kill -0 $PPID || exit; sleep 1; done; echo > waited");
    let kubeconfig = r#"
apiVersion: v1
kind: Config
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: a, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [login], interactiveMode: Never}}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
current-context: a
"#;
    folder.write("kubeconfig", kubeconfig);
    // The login command inherits stderr and may outlive the plugin.
    let status = Command::new(programs::kubectl_dynamo())
        .args(["__complete", "--kubeconfig", "kubeconfig", "status", ""])
        .env_clear()
        .env("HOME", folder.path())
        .env("PATH", "/usr/bin:/bin")
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .expect("the plugin runs");
    assert!(status.success() && !folder.path().join("waited").exists());
}

#[test]
fn help_shows_kubectl_plugin_usage() {
    let help = run(&["up", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("Usage: kubectl dynamo up"), "{text}");
    assert!(!text.contains("Usage: kubectl-dynamo"), "{text}");
}
