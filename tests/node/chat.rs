//! A conversation with a deployment of the cluster, through the plugin's own tunnel.

use std::fmt::Write;
use std::sync::Arc;

use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::Value;

use crate::Shared;
use crate::plugin::{explained, up};

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
