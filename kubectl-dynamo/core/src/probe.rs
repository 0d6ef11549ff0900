//! Probes of `test`: whether a serving deployment does what it is configured to do.
//!
//! A probe judges answers and metrics that were observed by requests. Each verdict is a pure function from typed
//! observations to a finding. This module must not send requests and must not know the time.

mod affinity;
mod answer;
mod burst;
mod disaggregation;
mod endpoint;
mod kv_offload;
mod kv_routing;
mod metrics;
mod output;
mod pod_monitor;
mod registration;
mod subject;
mod workers;

use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::Exit;
use crate::finding::{Category, CheckProblem, CheckResult, Finding};
use crate::intent::StringEnum;
use crate::intent::{Backend, RouterMode, Topology};
pub use affinity::{AffinityEvidence, SESSION_HEADER, SessionTurn, judge_affinity};
pub use answer::{AnswerFailure, AnswerTokens, AnswerToolCall, AnswerWorkers, ObservedAnswer};
pub use burst::{BURST_TOKENS, judge_burst};
pub use disaggregation::{DisaggregationEvidence, PairAnswer, context_length, judge_disaggregation};
pub use endpoint::{FrontendModels, MAX_TOKENS, STOP_SEQUENCES, ShapeAnswers, judge_models, judge_shape};
pub use kv_offload::{KvOffloadEvidence, gpu_cache_tokens, judge_kv_offload, stored_in_tier};
pub use kv_routing::{KvRoutingEvidence, block_size, judge_kv_routing};
pub use metrics::{PodMonitorList, ProbedProcess, judge_metrics};
pub use output::{
    NUMBER_FIELD, TEXT_FIELD, TOOL_ARGUMENT, TOOL_NAME, ToolAnswers, judge_reasoning, judge_structured,
    judge_tools,
};
pub use pod_monitor::{MonitoredPod, PodMonitor};
pub use registration::{RegisteredWorker, registered_workers};
pub use subject::{ProbePlace, ProbeSubject};
pub use workers::{WorkerAnswer, judge_workers};

/// A probe, by the name that `--only` and `--skip` use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    Models,
    Chat,
    Completions,
    Burst,
    Workers,
    KvRouting,
    Disaggregation,
    Affinity,
    KvOffload,
    Tools,
    Reasoning,
    Structured,
    Metrics,
}

impl StringEnum for Probe {
    /// In the order in which they run and are shown.
    const ALL: &'static [Self] = &[
        Self::Models,
        Self::Chat,
        Self::Completions,
        Self::Burst,
        Self::Workers,
        Self::KvRouting,
        Self::Disaggregation,
        Self::Affinity,
        Self::KvOffload,
        Self::Tools,
        Self::Reasoning,
        Self::Structured,
        Self::Metrics,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Burst => "burst",
            Self::Workers => "workers",
            Self::KvRouting => "kv-routing",
            Self::Disaggregation => "disaggregation",
            Self::Affinity => "affinity",
            Self::KvOffload => "kv-offload",
            Self::Tools => "tools",
            Self::Reasoning => "reasoning",
            Self::Structured => "structured",
            Self::Metrics => "metrics",
        }
    }
}

impl Probe {
    /// The heading that the probe is shown under.
    pub fn category(self) -> Category {
        match self {
            Self::Models | Self::Chat | Self::Completions | Self::Burst => Category::Endpoint,
            Self::Workers | Self::KvRouting | Self::Disaggregation | Self::Affinity | Self::KvOffload => {
                Category::Routing
            }
            Self::Tools | Self::Reasoning | Self::Structured => Category::Parsers,
            Self::Metrics => Category::Metrics,
        }
    }

    /// Whether the probe sends Dynamo's own request fields or reads what only Dynamo serves.
    fn needs_dynamo(self) -> bool {
        !matches!(
            self,
            Self::Models
                | Self::Chat
                | Self::Completions
                | Self::Burst
                | Self::Tools
                | Self::Reasoning
                | Self::Structured
        )
    }

    /// Why the probe does not apply to a deployment; `None` if it does.
    pub fn skip_reason(self, subject: &ProbeSubject) -> Option<String> {
        if self.needs_dynamo() && matches!(subject.place, ProbePlace::Url { .. }) {
            return Some("it needs Dynamo's own request fields, which are not sent to a URL".into());
        }
        match self {
            Self::Affinity => return affinity::affinity_skip_reason(subject),
            Self::KvOffload => return kv_offload::offload_skip_reason(subject),
            _ => {}
        }
        let intent = subject.intent.as_ref()?;
        match self {
            Self::Tools | Self::Reasoning | Self::Structured if intent.backend == Backend::Mocker => {
                Some("the mocker generates placeholder text".into())
            }
            Self::KvRouting if intent.router.mode != RouterMode::Kv => {
                Some(format!("the router mode is {}", intent.router.mode.as_str()))
            }
            Self::Disaggregation if matches!(intent.topology, Topology::Aggregated { .. }) => {
                Some("the same workers do prefill and decode".into())
            }
            _ => None,
        }
    }

    /// Creates the finding of this probe.
    pub fn finding(self, outcome: CheckResult) -> Finding {
        Finding { category: self.category(), name: self.as_str(), outcome }
    }
}

/// The number of workers of a deployment, without its frontends.
pub fn worker_count(topology: &Topology) -> usize {
    topology.groups().iter().map(|(_, group)| group.replicas as usize).sum()
}

/// A problem that `test` reports without failing.
fn warning(code: MessageCode, text: impl Into<String>, hint: impl Into<Fix>) -> CheckResult {
    CheckResult::Warning(CheckProblem { exit: Exit::Ok, ..CheckProblem::new(code, text, hint) })
}

/// A problem that fails `test`.
fn failed(code: MessageCode, text: impl Into<String>, hint: impl Into<Fix>) -> CheckResult {
    CheckResult::Failed(CheckProblem { exit: Exit::SmokeTest, ..CheckProblem::new(code, text, hint) })
}
