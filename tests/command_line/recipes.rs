//! `-f` with graphs in the shapes of public recipes: flags behind a shell are checked, variables that were not replaced
//! are found, and everything that a recipe may contain is accepted and rendered unchanged.

use crate::requests::TestFolder;

const RENDER_BETA: [&str; 5] = ["render", "-f", "graph.yaml", "--graph-api", "v1beta1"];
const RENDER_ALPHA: [&str; 5] = ["render", "-f", "graph.yaml", "--graph-api", "v1alpha1"];
const RUNTIME: &str = "nvcr.io/nvidia/ai-dynamo/vllm-runtime";

/// A v1beta1 graph with one worker; `command` is the rest of its container.
fn beta_graph(image: &str, command: &str) -> String {
    format!(
        "apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {{name: recipe}}
spec:
  components:
  - name: Frontend
    type: frontend
    podTemplate: {{spec: {{containers: [{{name: main, image: \"{image}\"}}]}}}}
  - name: Worker
    type: worker
    podTemplate:
      spec:
        containers:
        - name: main
          image: \"{image}\"
          {command}
"
    )
}

/// A v1alpha1 graph with one worker; `command` is the rest of its container.
fn alpha_graph(image: &str, command: &str) -> String {
    format!(
        "apiVersion: nvidia.com/v1alpha1
kind: DynamoGraphDeployment
metadata: {{name: recipe}}
spec:
  pvcs: [{{name: model-cache, create: false}}]
  services:
    Frontend:
      componentType: frontend
      extraPodSpec: {{mainContainer: {{image: \"{image}\", command: [/bin/sh, -c], args: [python3 -m dynamo.frontend]}}}}
    decode:
      componentType: worker
      subComponentType: decode
      multinode: {{nodeCount: 2}}
      extraPodSpec:
        mainContainer:
          image: \"{image}\"
          {command}
"
    )
}

#[track_caller]
fn assert_rejected(graph: &str, render: &[&str], code: &str, messages: &[&str]) {
    let folder = TestFolder::new();
    folder.write("graph.yaml", graph);
    let output = folder.run(render);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{graph}\n{stderr}");
    assert!(stderr.contains(&format!("error [{code}]: ")), "{graph}\n{stderr}");
    for message in messages {
        assert!(stderr.contains(message), "{message}\n{graph}\n{stderr}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn engine_flags_behind_a_shell_are_checked() {
    let image = format!("{RUNTIME}:1.6.1");
    for command in [
        r#"command: [/bin/bash, -c]
          args: ["exec python3 -m dynamo.vllm \\\n  --model Qwen/Qwen3-0.6B \\\n  --max-model-length 4096 \\\n  --enforce-eager\n"]"#,
        r#"args: [/bin/sh, -lc, "python3 -m dynamo.vllm --model m --max-model-length=4096"]"#,
        r#"command: [bash, -euo, pipefail, -c, "ulimit -l unlimited; python3 -m dynamo.vllm --max-model-length 1 & wait"]"#,
        r#"command: [sh, -c, "exec python3 -m dynamo.vllm \"$@\"", sh]
          args: [--model, m, --max-model-length, "1"]"#,
    ] {
        let messages = ["--max-model-length", "--max-model-len"];
        assert_rejected(&beta_graph(&image, command), &RENDER_BETA, "KD0627", &messages);
        assert_rejected(&alpha_graph(&image, command), &RENDER_ALPHA, "KD0627", &messages);
    }
}

#[test]
fn variables_that_were_not_replaced_are_refused_by_name() {
    let command = "args: [python3, -m, dynamo.vllm]";
    for (image, variable) in
        [(format!("{RUNTIME}:${{VERSION}}"), "${VERSION}"), ("$VLLM_IMAGE".into(), "$VLLM_IMAGE")]
    {
        let messages = [image.as_str(), variable, "envsubst"];
        assert_rejected(&beta_graph(&image, command), &RENDER_BETA, "KD0506", &messages);
        assert_rejected(&alpha_graph(&image, command), &RENDER_ALPHA, "KD0506", &messages);
    }
    assert_rejected(&beta_graph("Upper case", command), &RENDER_BETA, "KD0506", &["\"Upper case\""]);
    let named = beta_graph("a:1", command).replace("name: recipe", "name: \"${NAME}\"");
    assert_rejected(&named, &RENDER_BETA, "KD0006", &["metadata.name", "${NAME}", "NAME=VALUE envsubst"]);
    let elsewhere = beta_graph("a:1", command).replace("name: recipe", "name: recipe, namespace: \"${NS}\"");
    assert_rejected(&elsewhere, &RENDER_BETA, "KD0006", &["metadata.namespace", "${NS}"]);
    // An image of a sidecar and of a Job in the same file.
    let sidecar = format!("{command}\n        - {{name: sidecar, image: \"s:${{TAG}}\"}}");
    assert_rejected(&beta_graph("a:1", &sidecar), &RENDER_BETA, "KD0506", &["s:${TAG}"]);
    let folder = TestFolder::new();
    let render = ["render", "a/b", "--graph-api", "v1beta1", "--image", "mine:${TAG}"];
    let output = folder.run(&render);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("error [KD0005]: ") && stderr.contains("${TAG}"), "{stderr}");
}

#[test]
fn shapes_of_public_recipes_are_accepted() {
    let exact = format!("{RUNTIME}:1.6.1");
    let development = format!("{RUNTIME}:1.6.0-deepseek-v4.1-flash-dev.1");
    let pinned = format!("{RUNTIME}:1.4.1-a.x-k2-post.1@sha256:2aa1db2002f58d2a821f27908ef0e25e");
    let script = r#"command: [/bin/bash, -lc]
          args:
          - |
            set -euo pipefail
            # The state agent's slots come from the environment.
            config=$(python3 - <<'PY'
            print("it's {}")
            PY
            )
            python3 -m dynamo.kv_state_agent --max-slots "$SLOTS" &
            exec python3 -m dynamo.vllm \
              --model "${MODEL_NAME}" $EXTRA_ARGS \
              --kv-transfer-config "$config" \
              --hf-overrides '{"rope_scaling":{"factor":4.0}}' \
              --tensor-parallel-size "${TP}" >/dev/null 2>&1"#;
    for (image, command) in [
        (
            exact.as_str(),
            "args: [python3, -m, dynamo.vllm, --model, $(MODEL_NAME), --max-model-len, \"8192\"]",
        ),
        (&exact, "command: [python3, -m, dynamo.vllm]\n          args: [--model, m, --async-scheduling]"),
        (
            &exact,
            "command: [/bin/sh, -c]\n          args: [python3 -m dynamo.vllm --model $M --tensor-parallel-size 1]",
        ),
        (&exact, script),
        (
            &exact,
            "command: [/bin/sh, -c]\n          args: [\"python3 -m dynamo.trtllm --extra-engine-args /c.yaml\"]",
        ),
        (
            &exact,
            "command: [/bin/sh, -c]\n          args: [\"python3 -m dynamo.vllm --not-complete 'quote\"]",
        ),
        (&exact, "command: [bash, start.sh]\n          args: [--anything]"),
        (&exact, "env: [{name: A, value: \"${NOT_OURS}\"}]"),
        (&development, "args: [python3, -m, dynamo.vllm, --flag-of-a-development-build]"),
        (&pinned, "args: [python3, -m, dynamo.vllm, --flag-of-a-custom-build]"),
        ("nvcr.io/nvidia/ai-dynamo/vllm-runtime:my-tag", "args: [python3, -m, dynamo.vllm, --model, m]"),
        (
            "nvcr.io/nvidia/ai-dynamo/sglang-runtime:1.6.1",
            "args: [python3, -m, dynamo.sglang, --tp-size, \"4\"]",
        ),
        ("localhost:5000/mine", "args: [--anything]"),
    ] {
        for (graph, render) in
            [(beta_graph(image, command), RENDER_BETA), (alpha_graph(image, command), RENDER_ALPHA)]
        {
            let folder = TestFolder::new();
            folder.write("graph.yaml", &graph);
            let rendered = folder.run_successfully(&render);
            let parse = |text: &str| -> Vec<serde_json::Value> {
                serde_saphyr::from_multiple(text).expect("the manifest is valid")
            };
            let (mut before, after) = (parse(&graph), parse(&rendered));
            let added = &after[0]["metadata"];
            before[0]["metadata"]["namespace"] = added["namespace"].clone();
            before[0]["metadata"]["labels"] = added["labels"].clone();
            assert_eq!(before, after, "{graph}");
        }
    }
}

const COMPANIONS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: engine-config}
data: {prefill.yaml: 'image: ${NOT_READ}'}
---
apiVersion: resource.nvidia.com/v1beta1
kind: ComputeDomain
metadata: {name: domain}
spec: {numNodes: 2, channel: {resourceClaimTemplate: {name: domain-channel}}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: rdma, labels: {team: a}}
spec: {spec: {devices: {requests: [{name: rdma, exactly: {deviceClassName: mrdma.example}}]}}}
---
";

#[test]
fn objects_of_recipes_are_rendered_before_their_graph() {
    let folder = TestFolder::new();
    let graph = beta_graph("a:1", "args: [python3, -m, dynamo.vllm]");
    // The order in the file does not matter: the graph is applied last.
    folder.write("graph.yaml", &format!("{graph}---\n{}", COMPANIONS.trim_end_matches("---\n")));
    let rendered: Vec<serde_json::Value> =
        serde_saphyr::from_multiple(&folder.run_successfully(&RENDER_BETA)).expect("YAML");
    let kinds: Vec<&str> = rendered.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(kinds, ["ConfigMap", "ComputeDomain", "ResourceClaimTemplate", "DynamoGraphDeployment"]);
    for companion in &rendered[..3] {
        assert_eq!(companion["metadata"]["labels"]["kubectl-dynamo.dev/deployment"], "recipe", "{companion}");
    }
    assert_eq!(rendered[2]["metadata"]["labels"]["team"], "a");
    let listed = &rendered[3]["metadata"]["annotations"]["kubectl-dynamo.dev/companions"];
    let listed: serde_json::Value = serde_json::from_str(listed.as_str().expect("text")).expect("JSON");
    assert_eq!(
        listed[0],
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "engine-config"})
    );
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    let service = COMPANIONS.replace("kind: ConfigMap", "kind: Service");
    assert_rejected(&format!("{service}{graph}"), &RENDER_BETA, "KD0006", &["\"Service\"", "kubectl apply"]);
}
