//! What a person sees who types something that cannot work: one coded message that names the thing and what to
//! type, the documented exit code, nothing on stdout, no panic. No cluster and no network are needed.

mod endpoints;
mod fit;
mod kit_promises;
mod requests;
mod settings;
mod wizard;

use std::process::{Command, Output};

use kubectl_dynamo_tests::programs;

/// A cluster that nobody serves: port 1 refuses connections.
const NOBODY: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: nobody, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: somebody, user: {}}]
contexts: [{name: alone, context: {cluster: nobody, user: somebody}}]
current-context: alone
"#;

/// Runs the plugin in an empty home folder, with `NOBODY` in the file `kubeconfig` of the current folder.
fn run(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(home.path().join("kubeconfig"), NOBODY).expect("the kubeconfig");
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
fn refuses(arguments: &[&str], exit: i32, code: &str, said: &[&str]) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{arguments:?} wrote data");
    assert!(stderr.contains(&format!("error [{code}]: ")), "{arguments:?}: {stderr}");
    assert_eq!(stderr.matches("error [").count(), 1, "{arguments:?}: {stderr}");
    for words in said {
        assert!(stderr.contains(words), "{arguments:?} does not say `{words}`: {stderr}");
    }
    for never in ["panicked", "backtrace", "RUST_BACKTRACE", "kubectl-dynamo "] {
        assert!(!stderr.contains(never), "{arguments:?} says `{never}`: {stderr}");
    }
}

const OFFLINE: [&str; 4] = ["--release", "1.6.1", "--graph-api", "v1beta1"];

fn render(model: &str, flags: &[&'static str]) -> Vec<String> {
    ["render", model].into_iter().chain(OFFLINE).chain(flags.iter().copied()).map(ToOwned::to_owned).collect()
}

#[track_caller]
fn refuses_to_render(model: &str, flags: &[&'static str], exit: i32, code: &str, said: &[&str]) {
    let arguments = render(model, flags);
    refuses(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), exit, code, said);
}

#[test]
fn an_unknown_verb_or_flag_has_a_suggestion() {
    refuses(&["stauts"], 2, "KD0001", &["unrecognized subcommand 'stauts'", "'status'"]);
    refuses(&["up", "a/b", "--replica", "2"], 2, "KD0001", &["--replica", "--replicas"]);
    refuses(&["list", "-o", "yml"], 2, "KD0001", &["yml", "json"]);
}

#[test]
fn a_model_is_an_id_or_a_path() {
    refuses_to_render("a/b/c", &[], 2, "KD0401", &["`a/b/c`", "Qwen/Qwen3-0.6B"]);
    refuses_to_render("a/b@..", &[], 2, "KD0401", &["`..`", "--revision"]);
    refuses_to_render("qwen", &[], 2, "KD0401", &["`qwen`", "up --model qwen", "kubectl dynamo list"]);
    refuses_to_render("./here", &[], 2, "KD0403", &["./here", "--local"]);
}

#[test]
fn a_model_is_checked_before_any_cluster_is_asked() {
    refuses(&["up", "a/b/c", "--kubeconfig", "kubeconfig"], 2, "KD0401", &["`a/b/c`"]);
    refuses(&["up"], 2, "KD0401", &["no model is named", "kubectl dynamo up"]);
}

#[test]
fn a_name_over_the_budget_is_refused_with_the_arithmetic() {
    let long = "a-name-that-is-longer-than-any-child-of-it-may-be";
    refuses_to_render(
        "a/b",
        &["--name", long],
        2,
        "KD0201",
        &[long, "49 characters", "at most 37 fit: 45 less 8 of component `frontend`", "try --name"],
    );
    // Grove counts the leader of what spans nodes, too.
    refuses_to_render(
        "a/b",
        &["--name", "a-name-of-thirty-one-characters", "--tp", "8", "--nodes", "2"],
        2,
        "KD0201",
        &["at most 29 fit: 45 less 6 of component `worker` and 10 of its leader `worker-ldr`"],
    );
    refuses_to_render("a/b", &["--name", "Upper"], 2, "KD0201", &["`Upper`", "lower-case"]);
}

#[test]
fn quantities_and_counts_are_checked() {
    refuses_to_render("a/b", &["--cache-size", "12Q"], 2, "KD0402", &["`12Q`", "--cache-size"]);
    refuses_to_render("a/b", &["--replicas", "0"], 2, "KD0601", &["--replicas", "at least 1"]);
    refuses_to_render("a/b", &["--decode-tp", "2"], 2, "KD0601", &["--decode-tp", "--mode disagg"]);
}

#[test]
fn a_release_without_words_is_refused() {
    refuses(
        &["render", "a/b", "--release", "2.0.0", "--graph-api", "v1beta1"],
        6,
        "KD0202",
        &["`2.0.0`", "0.9.1", "1.6.1", "--force-release"],
    );
}

#[test]
fn a_release_that_is_not_known_is_taken_by_who_insists_and_said_to_be() {
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
fn what_a_plan_costs_is_warned_of() {
    for (flags, code, said) in [
        (&["--router-mode", "kv", "--release", "1.6.1"][..], "KD0709", "one worker to choose from"),
        (&["--mode", "disagg", "--pp", "2", "--release", "1.6.1"], "KD0628", "pipeline stages"),
        (&["--kv-offload", "cpu=20Gi", "--mode", "disagg", "--release", "1.6.1"], "KD0623", "deprecated"),
        (&["--kv-offload", "cpu=20Gi", "--release", "0.9.1"], "KD0624", "CUDA graphs"),
    ] {
        let output = run(&[&["render", "a/b", "--graph-api", "v1alpha1"], flags].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains(&format!("warning [{code}]: ")) && stderr.contains(said), "{stderr}");
    }
    let named = ["--release", "0.9.1", "--graph-api", "v1alpha1", "--served-model-name", "other"];
    refuses(&[&["render", "a/b"], &named[..]].concat(), 2, "KD0701", &["`other`"]);
}

#[test]
fn each_object_goes_to_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("out").display().to_string();
    let output = run(&[&["render", "a/b", "--output-dir", &path], &OFFLINE[..]].concat());
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let mut names: Vec<String> = std::fs::read_dir(&path)
        .expect("the folder is made")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[0], "1-persistentvolumeclaim-model-cache.yaml");
    assert!(
        names[1].starts_with("2-job-fetch-b-") && names[2] == "3-dynamographdeployment-b.yaml",
        "{names:?}"
    );
    let whole = run(&[&["render", "a/b"], &OFFLINE[..]].concat());
    let parts: String = names
        .iter()
        .map(|name| std::fs::read_to_string(folder.path().join("out").join(name)).expect("a file"))
        .collect();
    assert_eq!(parts, String::from_utf8_lossy(&whole.stdout));
}

#[test]
fn a_token_in_an_argument_is_refused_and_not_repeated() {
    refuses_to_render("a/b", &["--env", "HF_TOKEN=hf_secret"], 2, "KD0415", &["--hf-token-stdin"]);
    let output =
        run(&render("a/b", &["--env", "HF_TOKEN=hf_secret"]).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hf_secret"));
}

#[test]
fn without_a_kubeconfig_it_says_where_one_is_looked_for() {
    refuses(&["list"], 4, "KD0101", &["KUBECONFIG", "--kubeconfig", "up --local"]);
    refuses(&["list", "--kubeconfig", "absent"], 4, "KD0109", &["absent", "kubectl config view"]);
}

#[test]
fn a_wrong_context_names_the_right_ones() {
    refuses(&["list", "--kubeconfig", "kubeconfig", "--context", "prod"], 4, "KD0102", &["`prod`", "alone"]);
}

#[test]
fn a_server_is_read_as_kubectl_reads_it() {
    let with = |server: &'static str| ["list", "--kubeconfig", "kubeconfig", "--server", server];
    refuses(&with("not a url"), 4, "KD0109", &["`not a url`"]);
    // Without a scheme it is plain HTTP.
    refuses(&with("127.0.0.1:1"), 4, "KD0103", &["http://127.0.0.1:1", "refused"]);
    refuses(&["list", "--kubeconfig", "kubeconfig", "--user", "x"], 4, "KD0109", &["`x`"]);
    refuses(
        &["list", "--kubeconfig", "kubeconfig", "--certificate-authority", "absent.crt"],
        4,
        "KD0109",
        &["absent.crt"],
    );
}

#[test]
fn names_that_no_object_can_have_are_refused() {
    refuses_to_render("a/b", &["--label", "bad label=x y"], 2, "KD0210", &["`bad label=x y`"]);
    refuses_to_render("a/b", &["--cache", "Bad.Claim"], 2, "KD0210", &["`Bad.Claim`", "--cache"]);
    refuses_to_render("a/b", &["-n", "Bad_NS"], 2, "KD0210", &["`Bad_NS`", "--namespace"]);
}

#[test]
fn flags_of_this_machine_are_not_for_a_cluster() {
    refuses(
        &["up", "a/b", "--port", "80", "--kubeconfig", "kubeconfig"],
        2,
        "KD0001",
        &["--port belongs to --local"],
    );
}

#[test]
fn an_api_server_that_is_down_is_named() {
    refuses(
        &["up", "a/b", "--kubeconfig", "kubeconfig"],
        4,
        "KD0103",
        &["https://127.0.0.1:1", "refused", "kubectl cluster-info"],
    );
}

#[test]
fn nothing_is_deleted_without_a_terminal_or_a_yes() {
    refuses(&["down", "x", "--kubeconfig", "kubeconfig"], 2, "KD0002", &["add -y"]);
}

#[test]
fn all_namespaces_and_a_name_contradict_each_other() {
    refuses(&["status", "x", "-A", "--kubeconfig", "kubeconfig"], 2, "KD0001", &["-n"]);
}

#[test]
fn json_progress_carries_the_error_too() {
    let output = run(&["list", "--kubeconfig", "kubeconfig", "--progress", "json"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON line");
    assert_eq!(line["event"], "failed");
    assert_eq!(line["code"], "KD0103");
    assert_eq!(line["exit"], 4);
}

#[test]
fn json_progress_carries_a_usage_error_too() {
    let output = run(&["stauts", "--progress=json"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stderr).expect("one JSON line");
    assert_eq!((&line["code"], &line["exit"]), (&"KD0001".into(), &2.into()));
}

#[test]
fn usage_is_that_of_a_kubectl_plugin() {
    let help = run(&["up", "--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("Usage: kubectl dynamo up"), "{text}");
    assert!(!text.contains("Usage: kubectl-dynamo"), "{text}");
}
