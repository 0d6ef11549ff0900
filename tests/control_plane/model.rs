//! What the hub tells of a model before anything is applied: how much it is, whether its GPUs hold it, and whether it is
//! given at all.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kubectl_dynamo_tests::hub::{Access, Hub, Repository, Settings};
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::V1Beta1;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;
use crate::preflight::{node, without_node};

/// A hub with one configuration, published for anyone and behind a gate; and the flag that tells pods of it.
async fn hub(folder: &std::path::Path) -> Outcome<(Hub, String)> {
    // Llama 3.1 8B's own numbers, with weights of next to nothing.
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096,
        "intermediate_size": 14336, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
        "vocab_size": 128256, "max_position_embeddings": 131_072, "torch_dtype": "bfloat16",
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    std::fs::write(folder.join("model.safetensors"), vec![0; 3 << 20])?;
    let gated = Access::Gated { token: "hf_only_for_the_hub_of_these_tests".into() };
    let repositories = vec![
        Repository::from_folder("acme/llama", folder)?,
        Repository::from_folder("acme/gated", folder)?.with_access(gated),
    ];
    let hub = Hub::start(Settings { repositories, ..Settings::default() }).await?;
    let flag = format!("--env=HF_ENDPOINT={}", hub.url);
    Ok((hub, flag))
}

fn words<'a>(model: &'a str, hub: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec![
        "up",
        model,
        "--storage-class=manual",
        "--fetcher-image=registry.test/fetcher:1",
        "--node-selector=case=model",
        "--toleration=case=model:NoSchedule",
        "--detach",
        hub,
    ];
    words.extend_from_slice(more);
    words
}

pub(crate) async fn the_hub_tells_what_a_plan_needs(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let (_hub, flag) = hub(folder.path()).await?;
    let (place, plugin) = shared.user(V1Beta1, "model").await?;
    node(&place, "model", "model-1", 4).await?;
    // As GPU feature discovery labels a node of L4s.
    let nodes: Api<Node> = Api::all(place.client());
    let label = json!({ "metadata": { "labels": { "nvidia.com/gpu.memory": "23034" } } });
    nodes.patch("model-1", &PatchParams::default(), &Patch::Merge(label)).await?;

    for (model, more, exit, code, fact) in [
        ("acme/llama", &["--cache-size=1Mi"][..], 7, "KD0443", "take"),
        ("acme/llama", &["--", "--max-model-len=4M"], 5, "KD0604", "4194304-token request needs 512.0 GiB"),
        ("acme/gated", &[], 4, "KD0410", "--hf-token-secret"),
        ("acme/absent", &[], 4, "KD0410", "acme/absent"),
    ] {
        let said = plugin.run(&words(model, &flag, more)).await?.expect(exit)?;
        ensure!(said.err.contains(&format!("error [{code}]")) && said.err.contains(fact), "{}", said.err);
    }
    ensure!(place.versions(V1Beta1).await?.is_empty(), "something was applied");

    let said = plugin.run(&words("acme/llama", &flag, &["--dry-run=server"])).await?.expect(0)?;
    for fact in ["per GPU: weights + KV room", "GiB of 22.5", "3.0 MiB to fetch, 2 files, rev "] {
        ensure!(said.err.contains(fact), "{fact} is not in\n{}", said.err);
    }
    let check: Vec<&str> = words("acme/llama", &flag, &["-o", "json"]).into_iter().skip(1).collect();
    let check: Vec<&str> = check.into_iter().filter(|word| *word != "--detach").collect();
    let said = plugin.run(&[&["check"][..], &check].concat()).await?.expect(0)?;
    let document: Value = serde_json::from_str(&said.out)?;
    for name in ["hub", "claim-size", "gpu-memory"] {
        let found = document["findings"].as_array().into_iter().flatten().find(|one| one["name"] == name);
        ensure!(found.is_some_and(|one| one["outcome"] == "passed"), "{name}: {found:?}");
    }
    // A change is asked about as well, before it reaches what serves.
    plugin.run(&words("acme/llama", &flag, &[])).await?.expect(0)?;
    let graphs = dynamo::graphs(place.client(), V1Beta1, place.name());
    let before = graphs.get("llama").await?.metadata.generation;
    for (what, more, exit, code) in [
        ("acme/gated", &["--name=llama"][..], 4, "KD0410"),
        ("llama", &["--", "--max-model-len=4M"], 5, "KD0604"),
    ] {
        let said = plugin.run(&[&["up", what, "--detach"][..], more].concat()).await?.expect(exit)?;
        ensure!(said.err.contains(&format!("error [{code}]")), "{}", said.err);
    }
    ensure!(graphs.get("llama").await?.metadata.generation == before, "something was applied");
    without_node(place, "model-1").await
}
