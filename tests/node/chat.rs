//! A conversation with a deployment of the cluster, through the plugin's own tunnel.

use std::fmt::Write;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::Shared;
use crate::plugin::{explained, forwarded, streamed_words, up};

/// What a person types and sees from nothing to an answer; the README shows it.
pub(crate) async fn a_person_gets_from_up_to_an_answer(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("demo").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let mut transcript = String::new();

    let said = explained(plugin.run(&up(&shared, &["--name=tiny"])).await?.expect(0), &place).await?;
    writeln!(transcript, "$ kubectl dynamo up {}\n{}", crate::MODEL, said.err)?;

    let said = plugin.run(&["chat", "tiny", "Hello, who are you?"]).await?.expect(0)?;
    ensure!(said.out.split_whitespace().count() >= 8, "hardly an answer: {}", said.out);
    ensure!(said.err.contains("mock"), "it does not say that the words mean nothing: {}", said.err);
    writeln!(transcript, "$ kubectl dynamo chat tiny 'Hello, who are you?'\n{}{}", said.out, said.err)?;

    let said = plugin.run(&["chat", "tiny", "-o", "json", "Once more."]).await?.expect(0)?;
    let answer: Value = serde_json::from_str(&said.out)?;
    ensure!(answer["kind"] == "ChatCompletion", "{answer}");

    let said = plugin.run(&["endpoint", "tiny"]).await?.expect(0)?;
    ensure!(said.out.contains("http://tiny-frontend.demo.svc:8000/v1"), "{}", said.out);
    ensure!(said.out.contains(crate::MODEL), "{}", said.out);
    let said = plugin.run(&["status", "tiny"]).await?.expect(0)?;
    writeln!(transcript, "$ kubectl dynamo status tiny\n{}", said.out)?;
    let said = plugin.run(&["down", "tiny", "-y"]).await?.expect(0)?;
    writeln!(transcript, "$ kubectl dynamo down tiny -y\n{}", said.err)?;
    std::fs::write(shared.cluster.folder().join("log/transcript.txt"), transcript)?;
    place.delete().await
}

/// The frontend's pod dies in the middle of an answer: the error is told, and the next question is answered by the
/// pod that comes instead, through the same forward.
pub(crate) async fn a_forward_outlives_the_frontend_that_a_chat_loses(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("replaced").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    // About a third of a second a token.
    let words = up(&shared, &["--name=tiny", "--", "--speedup-ratio", "0.02"]);
    explained(plugin.run(&words).await?.expect(0), &place).await?;
    let mut forward = plugin.command(&["port-forward", "tiny"]).spawn()?;
    let url = forwarded(&mut forward).await?;

    let mut chat = plugin.command(&["chat", "tiny", "hello", "--max-tokens=1000"]).spawn()?;
    chat.stdout.as_mut().ok_or("a child without an output")?.read_u8().await?;
    let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
    let frontends = ListParams::default().labels("nvidia.com/dynamo-component-type=frontend");
    for pod in pods.list(&frontends).await? {
        pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
    }
    let ended = chat.wait_with_output().await?;
    let err = String::from_utf8(ended.stderr)?;
    ensure!(ended.status.code() == Some(1), "{}: {err}", ended.status);
    ensure!(err.contains("KD0809") || err.contains("KD0810"), "{err}");

    // A frontend is ready before it lists its models, and that moment is no event of Kubernetes.
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while let Err(error) = streamed_words(&url).await {
        ensure!(std::time::Instant::now() < limit, "{error}\n{}", place.describe().await?);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    forward.kill().await?;
    place.delete().await
}
