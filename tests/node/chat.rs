//! Chats with a deployment in the cluster through the plugin's port-forward.

use std::fmt::Write;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::Shared;
use crate::plugin::{forwarded_url, streamed_word_count, up_args, with_pod_details};

/// The commands and output from nothing to an answer; the README shows them.
pub(crate) async fn up_then_chat_answers(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("demo").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    let mut transcript = String::new();

    let output =
        with_pod_details(plugin.run(&up_args(&shared, &["--name=tiny"])).await?.expect(0), &namespace)
            .await?;
    writeln!(transcript, "$ kubectl dynamo up {}\n{}", crate::MODEL, output.err)?;

    let output = plugin.run(&["chat", "tiny", "Hello, who are you?"]).await?.expect(0)?;
    ensure!(output.out.split_whitespace().count() >= 8, "the answer is too short: {}", output.out);
    ensure!(output.err.contains("mock"), "the mocker notice is missing: {}", output.err);
    writeln!(transcript, "$ kubectl dynamo chat tiny 'Hello, who are you?'\n{}{}", output.out, output.err)?;

    let output = plugin.run(&["chat", "tiny", "-o", "json", "Once more."]).await?.expect(0)?;
    let answer: Value = serde_json::from_str(&output.out)?;
    ensure!(answer["kind"] == "ChatCompletion", "{answer}");

    let output = plugin.run(&["endpoint", "tiny"]).await?.expect(0)?;
    ensure!(output.out.contains("http://tiny-frontend.demo.svc:8000/v1"), "{}", output.out);
    ensure!(output.out.contains(crate::MODEL), "{}", output.out);
    let output = plugin.run(&["status", "tiny"]).await?.expect(0)?;
    writeln!(transcript, "$ kubectl dynamo status tiny\n{}", output.out)?;
    let output = plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    writeln!(transcript, "$ kubectl dynamo down tiny -y\n{}", output.err)?;
    std::fs::write(shared.cluster.folder().join("log/transcript.txt"), transcript)?;
    namespace.delete().await
}

/// The frontend's pod is deleted in the middle of an answer. `chat` reports the error, and the replacement
/// pod answers the next question through the same port-forward.
pub(crate) async fn port_forward_survives_frontend_replacement(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace("replaced").await?;
    namespace.create_volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&namespace)?;
    // About 0.3 s per token.
    let args = up_args(&shared, &["--name=tiny", "--", "--speedup-ratio", "0.02"]);
    with_pod_details(plugin.run(&args).await?.expect(0), &namespace).await?;
    let mut forward = plugin.command(&["port-forward", "tiny"]).spawn()?;
    let url = forwarded_url(&mut forward).await?;

    let mut chat = plugin.command(&["chat", "tiny", "hello", "--max-tokens=1000"]).spawn()?;
    chat.stdout.as_mut().ok_or("child does not have stdout")?.read_u8().await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let frontends = ListParams::default().labels("nvidia.com/dynamo-component-type=frontend");
    for pod in pods.list(&frontends).await? {
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
    }
    let output = chat.wait_with_output().await?;
    let err = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{}: {err}", output.status);
    ensure!(err.contains("KD0809") || err.contains("KD0810"), "{err}");

    // A frontend becomes ready before it lists its models, and Kubernetes has no event for that.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while let Err(error) = streamed_word_count(&url).await {
        ensure!(std::time::Instant::now() < limit, "{error}\n{}", namespace.describe().await?);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    forward.kill().await?;
    namespace.delete().await
}
