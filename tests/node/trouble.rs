//! What goes wrong in real pods is told with its cause, early where it cannot heal.

use std::sync::Arc;

use kubectl_dynamo_tests::kubernetes::node;
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::plugin::{explained, up};

pub(crate) async fn a_detached_up_comes_up_by_itself(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("detached").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    plugin.run(&up(&shared, &["--detach"])).await?.expect(0)?;
    let said = explained(plugin.run(&up(&shared, &[])).await?.expect(0), &place).await?;
    ensure!(said.err.contains("smoke test: done"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn an_image_that_cannot_be_pulled_is_named(shared: Arc<Shared>) -> Outcome {
    let place = shared.place("image").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let said = plugin.run(&up(&shared, &["--image=registry.invalid/runtime:1.6.1"])).await?.expect(1)?;
    ensure!(said.err.contains("error [KD05"), "{}", said.err);
    ensure!(said.err.contains("registry.invalid/runtime:1.6.1"), "{}", said.err);
    place.delete().await
}

pub(crate) async fn a_worker_without_a_gpu_waits_and_one_that_crashes_ends_it(
    shared: Arc<Shared>,
) -> Outcome {
    let place = shared.place("gpus").await?;
    place.volume("model-cache", "manual").await?;
    let plugin = shared.plugin(&place)?;
    let words: Vec<&str> =
        up(&shared, &["--backend=vllm"]).into_iter().filter(|word| *word != "--backend=mocker").collect();
    let (running, seen) = plugin.run_until(&words, "Insufficient nvidia.com/gpu").await?;
    let mut running = running.ok_or_else(|| format!("it did not wait for a GPU:\n{}", seen.join("\n")))?;
    // The image has no vLLM: scheduled at last, the worker crashes.
    node::set_gpus(shared.cluster.control_plane(shared.generation())?, 8).await?;
    let status = running.wait().await?;
    ensure!(status.code() == Some(1), "{status:?}\n{}", place.describe().await?);
    let said = plugin.run(&["status", "tiny"]).await?.expect(1)?;
    ensure!(said.out.contains("KD06"), "{}", said.out);
    place.delete().await
}
