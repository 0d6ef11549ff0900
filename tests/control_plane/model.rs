//! What the hub reports about a model before anything is applied: its size, whether it fits on the GPUs, and
//! whether it is accessible.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kubectl_dynamo_tests::hub::{Hub, HubSettings, Repository, RepositoryAccess};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::preflight::{create_node, delete_node_and_namespace};

/// Starts a hub with one configuration, public and gated; also returns the flag that passes the hub to pods.
async fn start_hub(folder: &std::path::Path) -> Outcome<(Hub, String)> {
    // The configuration of Llama 3.1 8B with tiny weights.
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
        "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "max_position_embeddings": 131_072, "torch_dtype": "bfloat16",
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    std::fs::write(folder.join("model.safetensors"), vec![0; 3 << 20])?;
    let gated = RepositoryAccess::Gated { token: "hf_only_for_the_hub_of_these_tests".into() };
    let repositories = vec![
        Repository::from_folder("acme/llama", folder)?,
        Repository::from_folder("acme/gated", folder)?.with_access(gated),
    ];
    let hub = Hub::start(HubSettings { repositories, ..HubSettings::default() }).await?;
    let flag = format!("--env=HF_ENDPOINT={}", hub.url);
    Ok((hub, flag))
}

fn up_args<'a>(model: &'a str, hub: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![
        "up",
        model,
        "--storage-class=manual",
        "--fetcher-image=registry.test/fetcher:1",
        "--node-selector=case=model",
        "--toleration=case=model:NoSchedule",
        "--detach",
        hub,
    ];
    args.extend_from_slice(more);
    args
}

pub(crate) async fn hub_metadata_is_checked_before_apply(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let (hub, flag) = start_hub(folder.path()).await?;
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "model").await?;
    create_node(&namespace, "model", "model-1", 4).await?;
    // Labels of a node with L4 GPUs, as GPU feature discovery sets them.
    let nodes: Api<Node> = Api::all(namespace.client());
    let label = json!({ "metadata": { "labels": { "nvidia.com/gpu.memory": "23034" } } });
    nodes.patch("model-1", &PatchParams::default(), &Patch::Merge(label)).await?;

    for (model, more, exit, code, fact) in [
        ("acme/llama", &["--cache-size=1Mi"][..], 7, "KD0443", "is too small"),
        (
            "acme/llama",
            &["--", "--gpu-memory-utilization=0.5"],
            5,
            "KD0604",
            "131072-token request needs 16.0 GiB",
        ),
        (
            "acme/llama",
            &["--", "--max-model-len=4M"],
            2,
            "KD0609",
            "supports 131072 tokens, but 4194304 are requested",
        ),
        ("acme/gated", &[], 4, "KD0410", "--hf-token-secret"),
        // The mocker does not need the configuration, and the hub lists the files of a gated model for everyone.
        ("acme/gated", &["--backend=mocker"], 4, "KD0410", "--hf-token-secret"),
        ("acme/absent", &[], 4, "KD0410", "\"acme/absent\" at"),
        ("acme/absent", &[], 4, "KD0410", "or it does not exist"),
    ] {
        let output = plugin.run(&up_args(model, &flag, more)).await?.expect(exit)?;
        ensure!(
            output.err.contains(&format!("error [{code}]")) && output.err.contains(fact),
            "{}",
            output.err
        );
    }
    ensure!(namespace.resource_versions(V1Beta1).await?.is_empty(), "something was applied");

    let output = plugin.run(&up_args("acme/llama", &flag, &["--dry-run=server"])).await?.expect(0)?;
    for fact in ["per GPU: weights + KV cache", "GiB of 22.5", "3.0 MiB to fetch, 2 files, rev "] {
        ensure!(output.err.contains(fact), "{fact} is not in\n{}", output.err);
    }
    let check: Vec<&str> = up_args("acme/llama", &flag, &["-o", "json"]).into_iter().skip(1).collect();
    let check: Vec<&str> = check.into_iter().filter(|arg| *arg != "--detach").collect();
    let output = plugin.run(&[&["check"][..], &check].concat()).await?.expect(0)?;
    let document: Value = serde_json::from_str(&output.out)?;
    for name in ["hub", "pvc-size", "gpu-memory"] {
        let found = document["findings"].as_array().into_iter().flatten().find(|one| one["name"] == name);
        ensure!(found.is_some_and(|one| one["outcome"] == "passed"), "{name}: {found:?}");
    }
    // Without the flag, the pods fetch from the public hub although this machine checks another one.
    let without_endpoint: Vec<&str> =
        up_args("acme/llama", &flag, &["--dry-run=server"]).into_iter().filter(|arg| *arg != flag).collect();
    let output = plugin.command(&without_endpoint).env("HF_ENDPOINT", &hub.url).output().await?;
    let stderr = String::from_utf8(output.stderr)?;
    let warned = format!("only this machine uses HF_ENDPOINT={}", hub.url);
    let fix = format!("--env HF_ENDPOINT={}", hub.url);
    for fact in ["KD0444", &warned, "from https://huggingface.co", &fix] {
        ensure!(output.status.success() && stderr.contains(fact), "{fact} is not in\n{stderr}");
    }
    // An update is checked as well, before it reaches the serving deployment.
    plugin.run(&up_args("acme/llama", &flag, &[])).await?.expect(0)?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let before = graphs.get("llama").await?.metadata.generation;
    for (target, more, exit, code) in [
        ("acme/gated", &["--name=llama"][..], 4, "KD0410"),
        ("llama", &["--", "--gpu-memory-utilization=0.5"], 5, "KD0604"),
    ] {
        let output = plugin.run(&[&["up", target, "--detach"][..], more].concat()).await?.expect(exit)?;
        ensure!(output.err.contains(&format!("error [{code}]")), "{}", output.err);
    }
    ensure!(graphs.get("llama").await?.metadata.generation == before, "something was applied");
    for request in hub.requests() {
        let agent = request.user_agent.as_deref().unwrap_or_default();
        let is_plugin = agent.starts_with("kubectl-dynamo/") && agent.contains(" (linux/");
        ensure!(is_plugin, "{request:?}");
    }
    delete_node_and_namespace(namespace, "model-1").await
}

/// A template with JSON calls and optional reasoning, in the style of Qwen3.
const CHAT_TEMPLATE: &str = r#"
{%- if tools %}{{- '<tools>' + tools | tojson + '</tools> Answer with <tool_call>{"name": N, "arguments": A}</tool_call>' }}{%- endif %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}"#;

pub(crate) async fn parsers_are_derived_for_new_deployments_only(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("chat_template.jinja"), CHAT_TEMPLATE)?;
    let (_hub, flag) = start_hub(folder.path()).await?;
    let (namespace, plugin) = shared.user_in_namespace(V1Beta1, "parsers").await?;
    let graphs = dynamo::graphs(namespace.client(), V1Beta1, namespace.name());
    let up = |name: &'static str| up_args("acme/llama", &flag, &["--ignore-preflight=all", name]);
    let spec_of = async |name: &str| Outcome::Ok(graphs.get(name).await?.data["spec"].to_string());

    let output = plugin.command(&up("--name=older")).env("HF_HUB_OFFLINE", "1").output().await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && stderr.contains("warning [KD0721]"), "{stderr}");
    ensure!(!spec_of("older").await?.contains("--dyn-tool-call-parser"), "{}", spec_of("older").await?);
    let output = plugin.run(&["up", "older", "--detach", "--ignore-preflight=all"]).await?.expect(0)?;
    for text in [
        "toolCallParser none (template has `<tool_call>` with JSON; to use its parser, add --tool-call-parser hermes,",
        "add --reasoning-parser qwen3,",
        "unchanged: nothing was written",
    ] {
        ensure!(output.err.contains(text), "{text} is not in\n{}", output.err);
    }

    let output = plugin.run(&up("--name=newer")).await?.expect(0)?;
    ensure!(
        output.err.contains("hermes  tool-call parser: template has `<tool_call>` with JSON"),
        "{}",
        output.err
    );
    let spec = spec_of("newer").await?;
    for args in [
        r#""--dyn-tool-call-parser","hermes""#,
        r#""--dyn-reasoning-parser","qwen3""#,
        r#""--reasoning-parser","qwen3""#,
    ] {
        ensure!(spec.contains(args), "{args} is not in {spec}");
    }
    let output = plugin.run(&["up", "newer", "--detach", "--ignore-preflight=all"]).await?.expect(0)?;
    ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
    plugin
        .run(&["up", "older", "--detach", "--tool-call-parser=auto", "--ignore-preflight=all", "-y"])
        .await?
        .expect(0)?;
    ensure!(spec_of("older").await?.contains("hermes"), "{}", spec_of("older").await?);
    namespace.delete().await
}
