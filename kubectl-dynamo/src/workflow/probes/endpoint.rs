//! The requests of the probes of the OpenAI endpoint.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::client::ProbeClient;
use super::request::{CompletionApi, CompletionBody};
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::probe::{
    BURST_TOKENS, FrontendModels, MAX_TOKENS, Probe, ShapeAnswers, judge_burst, judge_models, judge_shape,
};

/// Concurrent streams for each worker, and at most.
const STREAMS_PER_WORKER: usize = 2;
const MAX_STREAMS: usize = 32;

/// The prompt of the requests whose shape is compared.
const PROMPT: &str = "Count from one to twenty in words.";

/// How long a frontend that was just started may need until it has found the workers, and the time between attempts.
const DISCOVERY_TIME: Duration = Duration::from_secs(5);
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

pub(super) async fn probe_models(client: &ProbeClient<'_>) -> CheckResult {
    let deadline = Instant::now() + DISCOVERY_TIME;
    loop {
        let lists = client.target.frontends.iter().map(async |frontend| FrontendModels {
            frontend: frontend.name.clone(),
            models: client.models(&frontend.endpoint).await,
        });
        let result = judge_models(&join_all(lists).await, &client.subject().place);
        if result.problem().is_none() || Instant::now() + RETRY_INTERVAL > deadline {
            return result;
        }
        sleep(RETRY_INTERVAL).await;
    }
}

pub(super) async fn probe_shape(probe: Probe, client: &ProbeClient<'_>) -> CheckResult {
    let api = match probe {
        Probe::Completions => CompletionApi::Completions,
        _ => CompletionApi::Chat,
    };
    let model = &client.subject().model;
    let body = || client.body(api, PROMPT, MAX_TOKENS);
    let answers = ShapeAnswers {
        unary: client.post(api, &body()).await,
        streamed: client.post(api, &body().streamed()).await,
        stopped: client.post(api, &body().stopped()).await,
        invalid: client.post(api, &CompletionBody::invalid(api, model, MAX_TOKENS)).await,
    };
    judge_shape(probe, &answers, &client.subject().place)
}

pub(super) async fn probe_burst(client: &ProbeClient<'_>) -> CheckResult {
    let workers = client.workers().await.map_or(1, |workers| workers.len().max(1));
    let streams = (0..(workers * STREAMS_PER_WORKER).min(MAX_STREAMS)).map(async |number| {
        let prompt = format!("Write one sentence about the number {number}.");
        let body = client.body(CompletionApi::Chat, &prompt, BURST_TOKENS).streamed();
        let body = if client.is_dynamo() { body.with_workers(None) } else { body };
        client.post(CompletionApi::Chat, &body).await
    });
    judge_burst(&join_all(streams).await, &client.subject().place)
}
