//! A request said in several places at once: flags, `--set`, a file, the environment and settings.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kubectl_dynamo_tests::programs;
use serde_json::Value;

use crate::{OFFLINE, refuses_to_render};

/// A folder to stand in, with a home of its own, and what is said around the command line.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder"), variables: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        std::fs::write(path, content).expect("the file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect("the file is there")
    }

    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.into(), value.into()));
    }

    pub(crate) fn run_with(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = Command::new(programs::kubectl_dynamo())
            .args(arguments)
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(self.variables.iter().map(|(variable, value)| (variable, value)))
            .current_dir(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the plugin runs");
        let mut keyboard = child.stdin.take().expect("its stdin");
        // One that reads nothing may have closed it.
        let _ = keyboard.write_all(stdin.as_bytes());
        drop(keyboard);
        child.wait_with_output().expect("the plugin ends")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    /// What it prints; it must end well.
    #[track_caller]
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Value and source of a field, from `render --plan -o json`.
    #[track_caller]
    fn planned(&self, arguments: &[&str], path: &str) -> (Value, String) {
        let mut all = vec!["render", "--graph-api", "v1beta1", "--plan", "-o", "json"];
        all.extend(arguments);
        let plan: Value = serde_json::from_str(&self.prints(&all)).expect("JSON");
        let values = plan["values"].as_array().expect("a list of values");
        let found = values.iter().find(|value| value["field"] == path).expect("the field");
        (found["value"].clone(), found["source"].as_str().unwrap_or_default().to_owned())
    }
}

const REQUEST: &str = "\
apiVersion: kubectl-dynamo.dev/v1
kind: ServingRequest
model: Qwen/Qwen3-0.6B
release: 1.4.2
";

#[test]
fn the_strongest_place_wins_and_is_named() {
    let mut place = Place::new();
    place.write("request.yaml", REQUEST);
    place.write(".kubectl-dynamo.toml", "release = \"1.0.2\"\n");
    let model = ["Qwen/Qwen3-0.6B"];
    let said = |place: &Place, more: &[&str]| {
        let (value, source) = place.planned(&[&model[..], more].concat(), "release");
        (value.as_str().expect("a text").to_owned(), source)
    };
    let project = said(&place, &[]);
    assert!(project.1.starts_with("project file"), "{project:?}");
    assert_eq!(project.0, "1.0.2");
    place.write(".config/kubectl-dynamo/config.toml", "release = \"1.1.1\"\n");
    assert_eq!(said(&place, &[]).0, "1.1.1");
    assert!(said(&place, &[]).1.starts_with("user config"));
    place.set("KUBECTL_DYNAMO_RELEASE", "1.2.1");
    assert_eq!(said(&place, &[]), ("1.2.1".into(), "environment".into()));
    assert_eq!(said(&place, &["-f", "request.yaml"]), ("1.4.2".into(), "file request.yaml".into()));
    let set = ["-f", "request.yaml", "--set", "release=1.5.1"];
    assert_eq!(said(&place, &set), ("1.5.1".into(), "--set".into()));
    let flag = [&set[..], &["--release", "1.6.1"]].concat();
    assert_eq!(said(&place, &flag), ("1.6.1".into(), "flag".into()));
}

#[test]
fn flags_a_file_and_set_say_the_same() {
    let place = Place::new();
    place.write(
        "request.yaml",
        "\
apiVersion: kubectl-dynamo.dev/v1
kind: ServingRequest
model: Qwen/Qwen3-32B
release: 1.6.1
mode: disagg
worker: {tensorParallelSize: 2}
decode: {tensorParallelSize: 4, replicas: 2}
router: {mode: kv, temperature: 0.5}
kvOffload: {cpu: 20Gi, disk: 200Gi}
labels: {team: search}
tolerations: [\"dedicated=gpu:NoSchedule\"]
engineArgs: [--max-model-len, \"8192\"]
",
    );
    let shape = ["render", "--graph-api", "v1beta1", "-n", "serving"];
    let file = place.prints(&[&shape[..], &["-f", "request.yaml"]].concat());
    let flags = [
        "Qwen/Qwen3-32B",
        "--release",
        "1.6.1",
        "--mode",
        "disagg",
        "--tp",
        "2",
        "--decode-tp",
        "4",
        "--decode-replicas",
        "2",
        "--router-mode",
        "kv",
        "--router-temperature",
        "0.5",
        "--kv-offload",
        "cpu=20Gi,disk=200Gi",
        "--label",
        "team=search",
        "--toleration",
        "dedicated=gpu:NoSchedule",
        "--",
        "--max-model-len",
        "8192",
    ];
    assert_eq!(place.prints(&[&shape[..], &flags].concat()), file);
    let sets = [
        "model=Qwen/Qwen3-32B",
        "release=1.6.1",
        "mode=disagg",
        "worker.tensorParallelSize=2",
        "decode.tensorParallelSize=4",
        "decode.replicas=2",
        "router.mode=kv",
        "router.temperature=0.5",
        "kvOffload.cpu=20Gi",
        "kvOffload.disk=200Gi",
        "labels.team=search",
        "tolerations=dedicated=gpu:NoSchedule",
        "engineArgs=--max-model-len 8192",
    ];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    assert_eq!(place.prints(&[&shape[..], &sets].concat()), file);
    let output = place.run_with(&[&shape[..], &["-f", "-"]].concat(), &place.read("request.yaml"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), file, "{output:?}");
}

#[test]
fn the_published_schema_takes_what_is_read_and_nothing_else() {
    let place = Place::new();
    let schema: Value = serde_json::from_str(&place.prints(&["config", "schema"])).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a JSON schema");
    let parsed = |text: &str| serde_saphyr::from_str::<Value>(text).expect("YAML");
    assert!(validator.is_valid(&parsed(REQUEST)));
    for wrong in ["routr: {mode: kv}", "router: {mode: fast}", "worker: {replicas: many}"] {
        let text = format!("{REQUEST}{wrong}\n");
        assert!(!validator.is_valid(&parsed(&text)), "the schema takes {wrong}");
        place.write("request.yaml", &text);
        let output = place.run(&["render", "-f", "request.yaml", "--graph-api", "v1beta1"]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {output:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named_by_its_place() {
    let model = "Qwen/Qwen3-0.6B";
    let cases: &[(&[&'static str], &str, &[&str])] = &[
        (&["--set", "rooter.mode=kv"], "KD0004", &["`rooter.mode`", "router.mode"]),
        (&["--set", "router.mode=fast"], "KD0005", &["--set router.mode", "round-robin, random, kv"]),
        (&["--set", "router.mode"], "KD0005", &["`router.mode`", "--set"]),
        (&["--router-temperature", "hot"], "KD0005", &["--router-temperature", "`hot`"]),
        (&["--kv-offload", "disk=2Gi"], "KD0005", &["`disk=2Gi`", "cpu=20Gi,disk=200Gi"]),
        (&["--backend", "sglang"], "KD0005", &["`sglang`", "vllm and mocker"]),
        (&["--prefill-replicas", "2"], "KD0601", &["--prefill-replicas", "--mode disagg"]),
        (&["-f", "absent.yaml"], "KD0006", &["absent.yaml"]),
    ];
    for (flags, code, said) in cases {
        refuses_to_render(model, flags, 2, code, said);
    }
}

#[test]
fn a_file_that_is_no_request_is_refused_with_what_it_is() {
    let place = Place::new();
    let cases = [
        ("apiVersion: v1\nkind: ServingRequest\n", "KD0006", "apiVersion is v1"),
        ("apiVersion: v1\nkind: ConfigMap\n", "KD0006", "kind ConfigMap"),
        ("a: [", "KD0006", "neither YAML nor JSON"),
        ("", "KD0006", "nothing"),
    ];
    for (content, code, said) in cases {
        place.write("request.yaml", content);
        let arguments = [&["render", "-f", "request.yaml"], &OFFLINE[..]].concat();
        let output = place.run(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{content}: {stderr}");
        assert!(stderr.contains(code) && stderr.contains(said), "{content}: {stderr}");
    }
}

/// A hand-written graph, with a worker whose arguments are a list.
fn graph(image: &str, flag: &str) -> String {
    format!(
        "\
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {{name: mine}}
spec:
  components:
  - name: worker
    type: worker
    podTemplate:
      spec:
        containers:
        - name: main
          image: {image}
          command: [python3, -m, dynamo.vllm]
          args: [--model, Qwen/Qwen3-0.6B, {flag}]
"
    )
}

#[test]
fn a_graph_of_a_file_is_rendered_as_it_is_after_the_same_checks() {
    let place = Place::new();
    let known = "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1";
    let render = ["render", "-f", "graph.yaml", "--graph-api", "v1beta1", "-n", "serving"];
    place.write("graph.yaml", &graph(known, "--max-model-len=8192"));
    let shown = place.prints(&render);
    assert!(shown.contains("namespace: serving") && shown.contains("--max-model-len=8192"), "{shown}");
    place.write("graph.yaml", &graph("registry.example/mine:7", "--brand-new"));
    place.prints(&render);
    let long = graph(known, "--seed=1").replace("name: mine", &format!("name: {}", "long".repeat(12)));
    for (content, code, said) in [
        (graph(known, "--max-model-length=8192"), "KD0627", "--max-model-len"),
        (graph(known, "--connector=kvbm"), "KD0626", "--kv-offload"),
        (long, "KD0201", "at most 39 fit"),
    ] {
        place.write("graph.yaml", &content);
        let output = place.run(&render);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(code) && stderr.contains(said), "{content}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
