//! Sends the requests of probes, counts them, and limits their time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::ProbeTarget;
use super::request::{CompletionApi, CompletionBody, RequestedWorkers};
use crate::chat::{ChatError, Endpoint, Turn, Workers};
use kubectl_dynamo_core::probe::{
    AnswerFailure, AnswerTokens, AnswerWorkers, MetricSamples, ObservedAnswer, ProbePlace, ProbeSubject,
    RegisteredWorker, registered_workers,
};

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
        let turn = self.limited(self.target.frontend().post(api.path(), body)).await?;
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
        let body = self.body(CompletionApi::Chat, prompt, 1).with_workers(workers);
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
        Ok(MetricSamples::parse(&self.limited(self.target.frontend().get("/metrics")).await?))
    }

    async fn limited<T>(
        &self,
        request: impl Future<Output = Result<T, ChatError>>,
    ) -> Result<T, AnswerFailure> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout(self.timeout, request).await {
            Ok(result) => result.map_err(failure),
            Err(_) => Err(AnswerFailure::TimedOut(self.timeout)),
        }
    }
}

fn observed(turn: Turn) -> ObservedAnswer {
    let timing = turn.timing.unwrap_or_default();
    ObservedAnswer {
        text: turn.text,
        finish_reason: turn.finish_reason,
        tokens: turn.usage.map(|usage| AnswerTokens {
            prompt: usage.prompt_tokens,
            completion: usage.completion_tokens,
            cached: usage.cached_tokens,
        }),
        workers: turn.workers.map(|Workers { prefill, decode }| AnswerWorkers { prefill, decode }),
        router_hit_rate: timing.router_hit_rate,
        has_done_marker: turn.has_done_marker,
    }
}

fn failure(error: ChatError) -> AnswerFailure {
    match error {
        ChatError::Access { status, message, .. } | ChatError::Refused { status, message } => {
            AnswerFailure::Rejected { status, message }
        }
        ChatError::NoModelServed { .. } => {
            AnswerFailure::Rejected { status: 404, message: "empty response".into() }
        }
        ChatError::StreamError { message } => AnswerFailure::ErrorInAnswer { message },
        ChatError::ConnectionClosed => AnswerFailure::Interrupted,
        ChatError::Unreachable { cause, .. } => AnswerFailure::Unreachable { cause },
        error => AnswerFailure::NotAnAnswer { reason: error.to_string() },
    }
}
