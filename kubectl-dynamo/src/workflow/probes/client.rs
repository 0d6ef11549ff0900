//! Sends the requests of probes, counts them, and limits their time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::ProbeTarget;
use super::request::{CompletionApi, CompletionBody, RequestedWorkers};
use crate::chat::{ChatError, Endpoint, ToolCall, Turn, Workers};
use kubectl_dynamo_core::probe::{
    AnswerFailure, AnswerTokens, AnswerToolCall, AnswerWorkers, ObservedAnswer, ProbePlace, ProbeSubject,
    RegisteredWorker, SESSION_HEADER, registered_workers,
};
use kubectl_dynamo_core::prometheus::MetricSamples;

/// The client of one run.
pub(super) struct ProbeClient<'a> {
    pub(super) target: &'a ProbeTarget,
    timeout: Duration,
    sent: AtomicUsize,
}

impl<'a> ProbeClient<'a> {
    pub(super) fn new(target: &'a ProbeTarget, timeout: Duration) -> Self {
        Self { target, timeout, sent: AtomicUsize::new(0) }
    }

    pub(super) fn subject(&self) -> &'a ProbeSubject {
        &self.target.subject
    }

    pub(super) fn sent_requests(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Lists the models of one frontend.
    pub(super) async fn models(&self, endpoint: &Endpoint) -> Result<Vec<String>, AnswerFailure> {
        self.limited(endpoint.models()).await
    }

    /// Sends a body to the first frontend and reads the answer.
    pub(super) async fn post(
        &self,
        api: CompletionApi,
        body: &CompletionBody<'_>,
    ) -> Result<ObservedAnswer, AnswerFailure> {
        let turn = self.limited(self.target.frontend().post(api.path(), None, body)).await?;
        Ok(observed(turn))
    }

    /// Requests one token from a frontend for a prompt of a session.
    pub(super) async fn ask_in_session(
        &self,
        frontend: &Endpoint,
        session: &str,
        prompt: &str,
    ) -> Result<ObservedAnswer, AnswerFailure> {
        let api = CompletionApi::Chat;
        let body = self.body(api, prompt, 1).with_workers(None);
        let turn = self.limited(frontend.post(api.path(), Some((SESSION_HEADER, session)), &body)).await?;
        Ok(observed(turn))
    }

    /// Whether the target is a Dynamo frontend.
    pub(super) fn is_dynamo(&self) -> bool {
        !matches!(self.subject().place, ProbePlace::Url { .. })
    }

    /// A body with a prompt for the probed model.
    pub(super) fn body<'b>(
        &'b self,
        api: CompletionApi,
        prompt: &'b str,
        max_tokens: u64,
    ) -> CompletionBody<'b> {
        CompletionBody::new(api, &self.subject().model, prompt, max_tokens)
    }

    /// Requests one token for a prompt, from these workers if they are given.
    pub(super) async fn ask(
        &self,
        prompt: &str,
        workers: Option<RequestedWorkers>,
    ) -> Result<ObservedAnswer, AnswerFailure> {
        self.ask_tokens(prompt, 1, workers).await
    }

    /// Requests an answer of at most this many tokens.
    pub(super) async fn ask_tokens(
        &self,
        prompt: &str,
        max_tokens: u64,
        workers: Option<RequestedWorkers>,
    ) -> Result<ObservedAnswer, AnswerFailure> {
        let body = self.body(CompletionApi::Chat, prompt, max_tokens).with_workers(workers);
        self.post(CompletionApi::Chat, &body).await
    }

    /// The workers that the first frontend has registered; none for another server than Dynamo.
    pub(super) async fn workers(&self) -> Result<Vec<RegisteredWorker>, AnswerFailure> {
        if !self.is_dynamo() {
            return Ok(Vec::new());
        }
        Ok(registered_workers(&self.limited(self.target.frontend().get("/health")).await?))
    }

    /// The metrics of the first frontend.
    pub(super) async fn metrics(&self) -> Result<MetricSamples, AnswerFailure> {
        self.metrics_of(self.target.frontend()).await
    }

    /// The metrics of a frontend or worker.
    pub(super) async fn metrics_of(&self, endpoint: &Endpoint) -> Result<MetricSamples, AnswerFailure> {
        Ok(MetricSamples::parse(&self.limited(endpoint.get("/metrics")).await?))
    }

    async fn limited<T>(
        &self,
        request: impl Future<Output = Result<T, ChatError>>,
    ) -> Result<T, AnswerFailure> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(self.timeout, request).await {
            Ok(result) => result.map_err(AnswerFailure::from),
            Err(_) => Err(AnswerFailure::TimedOut(self.timeout)),
        }
    }
}

fn observed(turn: Turn) -> ObservedAnswer {
    let timing = turn.timing.unwrap_or_default();
    ObservedAnswer {
        text: turn.text,
        reasoning: turn.reasoning,
        tool_calls: turn.tool_calls.into_iter().map(tool_call).collect(),
        finish_reason: turn.finish_reason,
        tokens: turn.usage.map(|usage| AnswerTokens {
            prompt: usage.prompt_tokens,
            completion: usage.completion_tokens,
            cached: usage.cached_tokens,
        }),
        workers: turn.workers.map(|Workers { prefill, decode }| AnswerWorkers { prefill, decode }),
        router_hit_rate: timing.router_hit_rate,
        prefill_ms: timing.prefill_ms,
        handover_ms: timing.kv_transfer_ms,
        has_done_marker: turn.has_done_marker,
    }
}

fn tool_call(call: ToolCall) -> AnswerToolCall {
    AnswerToolCall { name: call.name, arguments: call.arguments }
}
