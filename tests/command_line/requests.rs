//! Precedence of the sources of a request: flags, `--set`, a file, environment variables, and config files.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use kubectl_dynamo_tests::programs;
use serde_json::Value;

use crate::{OFFLINE, assert_render_fails};

/// A working folder with its own home, and environment variables.
pub(crate) struct TestFolder {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl TestFolder {
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
        std::fs::read_to_string(self.path().join(name)).expect("the file exists")
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
        // The program may have closed stdin without reading it.
        let _ = keyboard.write_all(stdin.as_bytes());
        drop(keyboard);
        child.wait_with_output().expect("the plugin exits")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, "")
    }

    /// Runs the plugin, which must succeed, and returns stdout.
    #[track_caller]
    pub(crate) fn run_successfully(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Returns value and source of a field, from `render --plan -o json`.
    #[track_caller]
    fn planned_value(&self, arguments: &[&str], path: &str) -> (Value, String) {
        let mut all = vec!["render", "--graph-api", "v1beta1", "--plan", "-o", "json"];
        all.extend(arguments);
        let plan: Value = serde_json::from_str(&self.run_successfully(&all)).expect("JSON");
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
fn quantities_can_be_numbers() {
    let folder = TestFolder::new();
    folder.write("request.yaml", &format!("{REQUEST}cache:\n  size: 107374182400\n"));
    let (value, source) = folder.planned_value(&["-f", "request.yaml"], "cache.size");
    assert_eq!((value.as_str(), source.as_str()), (Some("107374182400"), "file request.yaml"));
    let objects = folder.run_successfully(&["render", "--graph-api", "v1beta1", "-f", "request.yaml"]);
    assert!(
        objects.contains("storage: '107374182400'") || objects.contains("storage: \"107374182400\""),
        "{objects}"
    );
}

#[test]
fn standard_input_is_read_once() {
    let output = TestFolder::new().run_with(&["up", "-f", "-", "--hf-token-stdin"], REQUEST);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("-f - and --hf-token-stdin both read standard input"), "{stderr}");
}

#[test]
fn highest_precedence_source_wins_and_is_reported() {
    let mut folder = TestFolder::new();
    folder.write("request.yaml", REQUEST);
    folder.write(".config/kubectl-dynamo/config.toml", "release = \"1.0.2\"\n");
    let model = ["Qwen/Qwen3-0.6B"];
    let resolved = |folder: &TestFolder, more: &[&str]| {
        let (value, source) = folder.planned_value(&[&model[..], more].concat(), "release");
        (value.as_str().expect("a text").to_owned(), source)
    };
    let user = resolved(&folder, &[]);
    assert!(user.1.starts_with("user config"), "{user:?}");
    assert_eq!(user.0, "1.0.2");
    // The project is more specific than the user, as in git.
    folder.write(".kubectl-dynamo.toml", "release = \"1.1.1\"\n");
    assert_eq!(resolved(&folder, &[]).0, "1.1.1");
    assert!(resolved(&folder, &[]).1.starts_with("project file"));
    folder.set("KUBECTL_DYNAMO_RELEASE", "1.2.1");
    assert_eq!(resolved(&folder, &[]), ("1.2.1".into(), "environment".into()));
    assert_eq!(resolved(&folder, &["-f", "request.yaml"]), ("1.4.2".into(), "file request.yaml".into()));
    let set = ["-f", "request.yaml", "--set", "release=1.5.1"];
    assert_eq!(resolved(&folder, &set), ("1.5.1".into(), "--set".into()));
    let flag = [&set[..], &["--release", "1.6.1"]].concat();
    assert_eq!(resolved(&folder, &flag), ("1.6.1".into(), "flag".into()));
}

#[test]
fn parser_is_rendered_for_every_worker_and_a_wrong_name_is_rejected() {
    let folder = TestFolder::new();
    folder.write("request.yaml", &format!("{REQUEST}mode: disagg\ntoolCallParser: hermes\n"));
    let base_args = ["render", "--graph-api", "v1beta1", "-f", "request.yaml"];
    let set = ["--set", "reasoningParser=qwen3"];
    let rendered = folder.run_successfully(&[&base_args[..], &set].concat());
    let flag = ["--reasoning-parser", "qwen3", "--tool-call-parser", "hermes"];
    assert_eq!(folder.run_successfully(&[&base_args[..], &flag].concat()), rendered);
    for worker_flag in ["--dyn-tool-call-parser", "--dyn-reasoning-parser"] {
        assert_eq!(rendered.matches(worker_flag).count(), 2, "{rendered}");
    }
    let none = folder.run_successfully(&[&base_args[..], &["--tool-call-parser", "none"]].concat());
    assert!(!none.contains("--dyn-tool-call-parser"), "{none}");
    let wrong = folder.run(&[&base_args[..], &["--tool-call-parser", "glm45"]].concat());
    let stderr = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!((wrong.status.code(), wrong.stdout.len()), (Some(2), 0), "{stderr}");
    for text in ["error [KD0720]: Dynamo 1.4.2 does not", "(Dynamo 1.6.1 has it)", "--tool-call-parser glm47"]
    {
        assert!(stderr.contains(text), "{stderr}");
    }
    let mocker =
        folder.run(&[&base_args[..], &["--backend", "mocker", "--tool-call-parser", "hermes"]].concat());
    let stderr = String::from_utf8_lossy(&mocker.stderr).into_owned();
    assert!(stderr.contains("error [KD0007]: --tool-call-parser requires --backend vllm"), "{stderr}");
    folder.run_successfully(&[&base_args[..], &["--backend", "mocker"]].concat());
}

#[test]
fn parsers_are_not_derived_without_a_cluster() {
    let folder = TestFolder::new();
    let stderr = |more: &[&str]| {
        let base = ["render", "Qwen/Qwen3-0.6B", "--release", "1.6.1", "--graph-api", "v1beta1"];
        let image = ["--fetcher-image=registry.test/fetcher:1"];
        let output = folder.run(&[&base[..], &image, more].concat());
        assert!(
            output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("--dyn-reasoning")
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for auto in [&[][..], &["--tool-call-parser", "auto", "--reasoning-parser=auto"]] {
        let warning = stderr(auto);
        assert_eq!(
            warning.matches("warning [KD0721]: no tool-call parser or reasoning parser is used").count(),
            1,
            "{warning}"
        );
        assert!(warning.contains("--tool-call-parser NAME --reasoning-parser NAME"), "{warning}");
    }
    assert!(stderr(&["--tool-call-parser=hermes"]).contains("no reasoning parser is used"));
    for silent in [
        &["--tool-call-parser=none", "--reasoning-parser=none"][..],
        &["--backend=mocker"],
        &[
            "--tool-call-parser=none",
            "--set",
            "engineArgs=--dyn-tool-call-parser hermes",
            "--reasoning-parser=none",
        ],
    ] {
        assert_eq!(stderr(silent), "", "{silent:?}");
    }
    let second_version = ["--tool-call-parser=glm45", "--reasoning-parser=none"];
    assert!(stderr(&second_version).contains("warning [KD0722]"));
    assert_eq!(stderr(&[&second_version[..], &["--env=DYN_PARSER_VERSION=2"]].concat()), "");
}

#[test]
fn flags_file_and_set_render_the_same_objects() {
    let folder = TestFolder::new();
    folder.write(
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
    let base_args = ["render", "--graph-api", "v1beta1", "-n", "serving"];
    let file = folder.run_successfully(&[&base_args[..], &["-f", "request.yaml"]].concat());
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
    assert_eq!(folder.run_successfully(&[&base_args[..], &flags].concat()), file);
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
    assert_eq!(folder.run_successfully(&[&base_args[..], &sets].concat()), file);
    let output = folder.run_with(&[&base_args[..], &["-f", "-"]].concat(), &folder.read("request.yaml"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), file, "{output:?}");
}

#[test]
fn schema_accepts_exactly_what_the_parser_accepts() {
    let folder = TestFolder::new();
    let schema: Value = serde_json::from_str(&folder.run_successfully(&["config", "schema"])).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a JSON schema");
    let parsed = |text: &str| serde_saphyr::from_str::<Value>(text).expect("YAML");
    assert!(validator.is_valid(&parsed(REQUEST)));
    for wrong in ["routr: {mode: kv}", "router: {mode: fast}", "worker: {replicas: many}"] {
        let text = format!("{REQUEST}{wrong}\n");
        assert!(!validator.is_valid(&parsed(&text)), "the schema accepts {wrong}");
        folder.write("request.yaml", &text);
        let output = folder.run(&["render", "-f", "request.yaml", "--graph-api", "v1beta1"]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {output:?}");
    }
}

#[test]
fn invalid_value_error_names_its_source() {
    let model = "Qwen/Qwen3-0.6B";
    let cases: &[(&[&'static str], &str, &[&str])] = &[
        (&["--set", "rooter.mode=kv"], "KD0004", &["\"rooter.mode\"", "router.mode"]),
        (&["--set", "router.mode=fast"], "KD0005", &["--set router.mode", "round-robin, random, kv"]),
        (&["--set", "router.mode"], "KD0005", &["\"router.mode\"", "--set"]),
        (&["--router-temperature", "hot"], "KD0005", &["--router-temperature", "\"hot\""]),
        (&["--kv-offload", "disk=2Gi"], "KD0005", &["\"disk=2Gi\"", "cpu=20Gi,disk=200Gi"]),
        (&["--backend", "sglang"], "KD0005", &["\"sglang\"", "vllm and mocker"]),
        (&["--prefill-replicas", "2"], "KD0601", &["--prefill-replicas", "--mode disagg"]),
        (&["-f", "absent.yaml"], "KD0006", &["absent.yaml"]),
    ];
    for (flags, code, messages) in cases {
        assert_render_fails(model, flags, 2, code, messages);
    }
}

#[test]
fn rejects_file_that_is_not_a_serving_request() {
    let folder = TestFolder::new();
    let cases = [
        ("apiVersion: v1\nkind: ServingRequest\n", "KD0006", "apiVersion is v1"),
        ("apiVersion: v1\nkind: Service\n", "KD0006", "kind \"Service\""),
        ("a: [", "KD0006", "is not valid YAML or JSON"),
        ("", "KD0006", "the file is empty"),
    ];
    for (content, code, message) in cases {
        folder.write("request.yaml", content);
        let arguments = [&["render", "-f", "request.yaml"], &OFFLINE[..]].concat();
        let output = folder.run(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{content}: {stderr}");
        assert!(stderr.contains(code) && stderr.contains(message), "{content}: {stderr}");
    }
}

/// A hand-written graph with a worker whose arguments are a list.
fn graph_manifest(image: &str, flag: &str) -> String {
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
fn graph_manifest_is_checked_and_rendered_unchanged() {
    let folder = TestFolder::new();
    let known = "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.6.1";
    let render = ["render", "-f", "graph.yaml", "--graph-api", "v1beta1", "-n", "serving"];
    folder.write("graph.yaml", &graph_manifest(known, "--max-model-len=8192"));
    let rendered = folder.run_successfully(&render);
    assert!(
        rendered.contains("namespace: serving") && rendered.contains("--max-model-len=8192"),
        "{rendered}"
    );
    folder.write("graph.yaml", &graph_manifest("registry.example/mine:7", "--brand-new"));
    folder.run_successfully(&render);
    let long =
        graph_manifest(known, "--seed=1").replace("name: mine", &format!("name: {}", "long".repeat(12)));
    for (content, code, message) in [
        (graph_manifest(known, "--max-model-length=8192"), "KD0627", "--max-model-len"),
        (graph_manifest(known, "--connector=kvbm"), "KD0626", "--kv-offload"),
        (long, "KD0201", "at most 39 are allowed"),
    ] {
        folder.write("graph.yaml", &content);
        let output = folder.run(&render);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(code) && stderr.contains(message), "{content}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
