//! What one request observed: an answer with its statistics, or how it failed.

use std::time::Duration;

use super::{ProbePlace, failed};
use crate::code::MessageCode;
use crate::finding::CheckResult;

/// Token counts of an answer, as the endpoint reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerTokens {
    pub prompt: u64,
    pub completion: u64,
    /// Prompt tokens that the engine found in its KV cache, if it reports them.
    pub cached: Option<u64>,
}

/// The workers that processed a request, by Dynamo's ID in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerWorkers {
    /// The prefill worker, if it is not the decode worker.
    pub prefill: Option<String>,
    pub decode: String,
}

/// A call of a tool in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerToolCall {
    pub name: String,
    /// The arguments as text, which should be JSON.
    pub arguments: String,
}

/// A complete answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObservedAnswer {
    pub text: String,
    /// The reasoning in its own field.
    pub reasoning: String,
    pub tool_calls: Vec<AnswerToolCall>,
    pub finish_reason: Option<String>,
    pub tokens: Option<AnswerTokens>,
    pub workers: Option<AnswerWorkers>,
    /// The share of the prompt that the KV router knew to be in the cache of the worker that it chose.
    pub router_hit_rate: Option<f64>,
    /// Milliseconds in which a worker read the prompt.
    pub prefill_ms: Option<f64>,
    /// Milliseconds in which the KV cache moved from the prefill worker to the decode worker, as Dynamo estimates it.
    pub handover_ms: Option<f64>,
    /// Whether `[DONE]` ended the answer. An answer that is not streamed does not have it.
    pub has_done_marker: bool,
}

impl ObservedAnswer {
    /// The worker that read the prompt.
    pub fn first_worker(&self) -> Option<&str> {
        self.workers.as_ref().map(|workers| workers.prefill.as_ref().unwrap_or(&workers.decode).as_str())
    }

    /// The worker that generated the answer.
    pub fn last_worker(&self) -> Option<&str> {
        self.workers.as_ref().map(|workers| workers.decode.as_str())
    }

    /// Whether one worker read the prompt and another one generated the answer.
    pub fn is_disaggregated(&self) -> bool {
        self.workers.as_ref().is_some_and(|workers| workers.prefill.is_some())
    }

    /// Whether the worker with this ID took part.
    pub fn is_from(&self, id: &str) -> bool {
        self.workers
            .as_ref()
            .is_some_and(|workers| workers.decode == id || workers.prefill.as_deref() == Some(id))
    }

    /// Whether the token limit ended the answer.
    pub fn is_cut_off(&self) -> bool {
        self.finish_reason.as_deref() == Some("length")
    }

    /// Whether the model reasons, in its own field or in the text.
    pub fn has_reasoning(&self) -> bool {
        !self.reasoning.is_empty() || self.text.to_ascii_lowercase().contains("think")
    }

    /// The share of the prompt that the engine found in its cache.
    pub fn cached_share(&self) -> Option<f64> {
        let tokens = self.tokens.filter(|tokens| tokens.prompt > 0)?;
        Some(tokens.cached? as f64 / tokens.prompt as f64)
    }
}

/// Why a request did not return a complete answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFailure {
    #[error("HTTP {status}, {message}")]
    Rejected { status: u16, message: String },
    #[error("an error in the answer: {message}")]
    ErrorInAnswer { message: String },
    #[error("the answer ended early")]
    Interrupted,
    #[error("no complete answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("the endpoint cannot be reached: {cause}")]
    Unreachable { cause: String },
    #[error("the response is not an answer: {reason}")]
    NotAnAnswer { reason: String },
}

impl AnswerFailure {
    /// The message code of a probe that fails because of this request.
    pub fn code(&self) -> MessageCode {
        match self {
            Self::Rejected { .. } => MessageCode::EndpointRequestRejected,
            Self::ErrorInAnswer { .. } | Self::TimedOut(_) => MessageCode::AnswerFailed,
            Self::Interrupted => MessageCode::AnswerInterrupted,
            Self::Unreachable { .. } => MessageCode::EndpointUnreachable,
            Self::NotAnAnswer { .. } => MessageCode::NotAnOpenAiEndpoint,
        }
    }

    /// The result of a probe that needs the answer of this request. `request` names the request in a sentence.
    pub fn result(&self, request: &str, place: &ProbePlace) -> CheckResult {
        failed(self.code(), format!("{request} failed: {self}"), place.diagnose_command())
    }
}
