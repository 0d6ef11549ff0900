//! Finds the root cause why a deployment is not serving, from its objects, events, and log lines.
//!
//! The result is one cause with a message code and a fix. It must not read a clock or send requests, so that
//! tests can replay recorded watches and logs.

mod causal_chain;
mod context;
mod engine_log;
mod fix_template;
mod messages;
mod redaction;
mod rules;
#[cfg(test)]
mod tests;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim};
use serde_json::Value;

use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME};
use crate::error::{Exit, Explain};
use crate::graph::GraphView;
use crate::object::{ConditionView, ObjectFields, ObservedObject};
use crate::readiness::{
    self, ComponentStatus, DeploymentState, Observation, PodState, PodStatus, Problem, last_termination,
    main_containers,
};
pub use causal_chain::ChainStep;
pub use context::{DiagnosisContext, FixTarget};
pub use engine_log::{StartStep, start_step};
pub use messages::{Explanation, MESSAGES_PAGE, explanation, explanations};
pub use redaction::{redact, redact_object};
pub use rules::{MessageSource, rule_codes as known_codes};

/// All objects, events, and logs collected for one deployment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub observation: Observation,
    /// The Job that the pods belong to, if there is no graph.
    pub job: Option<ObservedObject<Job>>,
    pub pvcs: Vec<ObservedObject<PersistentVolumeClaim>>,
    pub events: Vec<ObservedObject<Event>>,
    pub logs: Vec<ContainerLog>,
}

/// The last log lines of one container. Lines from before its last restart come first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerLog {
    pub pod: String,
    pub container: String,
    pub lines: Vec<String>,
}

/// The state of a deployment and, if it is not serving, the causal chain to the root cause.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// From the graph to the object or log line with the cause.
    pub chain: Vec<ChainStep>,
    pub result: DiagnosisResult,
}

/// The result of a diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub enum DiagnosisResult {
    /// The operator reports the current spec as ready.
    Ready,
    /// The deployment is progressing without a problem.
    Progressing { waits_for: String },
    /// The deployment is being deleted.
    Terminating { waits_for: String },
    /// A problem may resolve without user action.
    Blocked { cause: RootCause },
    /// A problem requires user action.
    Failed { cause: RootCause },
}

impl DiagnosisResult {
    /// Returns the root cause, if there is a problem.
    pub fn cause(&self) -> Option<&RootCause> {
        match self {
            Self::Blocked { cause } | Self::Failed { cause } => Some(cause),
            Self::Ready | Self::Progressing { .. } | Self::Terminating { .. } => None,
        }
    }
}

/// The object that has a problem. Its text is `pod tiny-worker-x`, for example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CauseLocation {
    Pod(String),
    Job(String),
    Deployment(String),
    /// A model on a PVC.
    Model(String),
    Operator,
}

impl CauseLocation {
    /// Returns whether this is the pod with the given name.
    pub fn is_pod(&self, name: &str) -> bool {
        matches!(self, Self::Pod(pod) if pod == name)
    }
}

impl std::fmt::Display for CauseLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod(name) => write!(f, "pod {name}"),
            Self::Job(name) => write!(f, "job {name}"),
            Self::Deployment(name) => write!(f, "deployment {name}"),
            Self::Model(name) => write!(f, "model {name}"),
            Self::Operator => f.write_str("the Dynamo operator"),
        }
    }
}

/// The root cause of a problem, with a message and the command that fixes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RootCause {
    pub code: MessageCode,
    pub text: String,
    pub fix: Fix,
    pub exit: Exit,
    /// The object that has the problem.
    pub location: CauseLocation,
}

impl RootCause {
    /// Returns whether the next run of a container, or the operator's next attempt, must fail in the same way: the cause
    /// is in the spec, the image, or the model.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self.code,
            MessageCode::EngineArgumentRejected
                | MessageCode::ContextTooLong
                | MessageCode::AttentionHeadsNotDivisible
                | MessageCode::UnsupportedModelArchitecture
                | MessageCode::RemoteCodeNotTrusted
                | MessageCode::UnsupportedQuantization
                | MessageCode::PythonModuleNotInImage
                | MessageCode::CommandNotExecutable
                | MessageCode::MultinodeOrchestratorMissing
                | MessageCode::DeploymentPvcNotFound
                | MessageCode::ChildObjectNameTooLong
                | MessageCode::InvalidServiceName
                | MessageCode::InvalidGpuQuantity
                | MessageCode::DuplicateVolume
                | MessageCode::SpecRejectedByOperator
        )
    }
}

impl Explain for RootCause {
    fn code(&self) -> Option<MessageCode> {
        Some(self.code)
    }

    fn hint(&self) -> Option<Fix> {
        Some(self.fix.clone())
    }

    fn exit(&self) -> Exit {
        self.exit
    }
}

/// Determines the state of the deployment and its root cause.
pub fn diagnose(snapshot: &Snapshot) -> Diagnosis {
    let Some(graph) = &snapshot.observation.graph else {
        let waits_for = "its creation".to_owned();
        return Diagnosis { chain: Vec::new(), result: DiagnosisResult::Progressing { waits_for } };
    };
    let components = readiness::components(graph, &snapshot.observation.pods);
    match readiness::deployment_state(&snapshot.observation) {
        DeploymentState::Ready => with_chain(snapshot, None, DiagnosisResult::Ready),
        DeploymentState::Blocked { problem } => {
            let cause = cause_of(&problem, snapshot);
            let pod = problem.pod().map(ToOwned::to_owned);
            let result = match problem.is_transient() && !cause.is_permanent() {
                true => DiagnosisResult::Blocked { cause },
                false => DiagnosisResult::Failed { cause },
            };
            with_chain(snapshot, pod.as_deref(), result)
        }
        DeploymentState::Progressing { waits_for } => match cause_from_events_and_logs(&components, snapshot)
        {
            Some((pod, cause)) => {
                let result = match pod.is_crash_looping() || (pod.has_failed_run && cause.is_permanent()) {
                    true => DiagnosisResult::Failed { cause },
                    false => DiagnosisResult::Blocked { cause },
                };
                with_chain(snapshot, Some(&pod.name), result)
            }
            None => {
                let pod = waiting_pod(&components).map(|pod| pod.name.clone());
                with_chain(snapshot, pod.as_deref(), DiagnosisResult::Progressing { waits_for })
            }
        },
        DeploymentState::Terminating { waits_for } => {
            with_chain(snapshot, None, DiagnosisResult::Terminating { waits_for })
        }
        DeploymentState::NotFound => {
            with_chain(snapshot, None, DiagnosisResult::Progressing { waits_for: "its creation".into() })
        }
    }
}

/// Returns the root cause of a failed container run, if the next run must fail in the same way.
pub fn permanent_cause(observation: &Observation, log: &ContainerLog) -> Option<RootCause> {
    let context = DiagnosisContext::from_observation(observation, None, Some(&log.pod))
        .with_container(Some(&log.container));
    rules::find_cause_in_log(&log.lines, &context).filter(RootCause::is_permanent)
}

/// Returns the root cause, from the container logs, why a deployment that is ready does not list a model.
pub fn model_not_listed(snapshot: &Snapshot) -> Option<RootCause> {
    snapshot.logs.iter().find_map(|log| {
        rules::find_cause_in_log(&log.lines, &DiagnosisContext::from_snapshot(snapshot, Some(&log.pod)))
    })
}

fn with_chain(snapshot: &Snapshot, pod: Option<&str>, result: DiagnosisResult) -> Diagnosis {
    Diagnosis { chain: causal_chain::chain(snapshot, pod, result.cause()), result }
}

/// Returns the root cause of a problem. If no rule matches its message or log, the cause has the problem's
/// own text and general code.
pub fn cause_of(problem: &Problem, snapshot: &Snapshot) -> RootCause {
    let context =
        DiagnosisContext::from_snapshot(snapshot, problem.pod()).with_container(problem.container());
    let rule_cause = |source, message: &str| rules::find_cause(source, message, &context);
    let rule_cause = match problem {
        Problem::Unschedulable { message, .. } => rule_cause(MessageSource::Scheduling, message),
        Problem::Image { message, .. } => rule_cause(MessageSource::Image, message),
        Problem::Container { message, .. } => rule_cause(MessageSource::Container, message),
        Problem::ReplicaFailure { message, .. } => rule_cause(MessageSource::Replicas, message),
        Problem::Component { message, .. } | Problem::Operator { message } => {
            rule_cause(MessageSource::Operator, message)
        }
        Problem::Crash { pod, container, message, .. } => log_of(snapshot, pod, container)
            .and_then(|log| rules::find_cause_in_log(&log.lines, &context))
            .or_else(|| rule_cause(MessageSource::Exit, &exit_text(snapshot, pod, container, message))),
        Problem::Fetch { .. } | Problem::Node { .. } | Problem::OutdatedDeployment { .. } => None,
    };
    rule_cause.unwrap_or_else(|| RootCause {
        code: problem.code().unwrap_or(MessageCode::OperatorFailure),
        text: problem.to_string(),
        fix: problem_fix(problem, &context),
        exit: problem.exit(),
        location: context.location(),
    })
}

/// Returns the fix of a problem that no rule matches.
fn problem_fix(problem: &Problem, context: &DiagnosisContext) -> Fix {
    match problem {
        Problem::Image { .. } => Fix::default()
            .text("check the tag, then set the image with ")
            .command(context.update_image("REGISTRY/NAME:TAG"))
            .text(", or a pull Secret with ")
            .command(context.update(&["--image-pull-secret".into(), "SECRET".into()])),
        Problem::Fetch { .. } if problem.is_denied_access() => Fix::default()
            .text("provide a token of an account with access to the model: ")
            .command(context.update(&["--hf-token-stdin".into()])),
        Problem::OutdatedDeployment { .. } => Fix::default().text("update its pods with ").command(
            SuggestedCommand::plugin("rollout restart")
                .operand(context.name(), UNKNOWN_NAME)
                .in_namespace(&context.namespace),
        ),
        Problem::Operator { .. } => Fix::default().text("check the operator's log and run ").command(
            SuggestedCommand::kubectl("describe dynamographdeployment")
                .operand(context.name(), UNKNOWN_NAME)
                .in_namespace(&context.namespace),
        ),
        _ => problem.fix(),
    }
}

/// Returns the fixes of all rules and problems for a context, with `value` for every value of a message.
pub fn all_fixes(context: &DiagnosisContext, value: &str) -> Vec<(MessageCode, Fix)> {
    let mut fixes = rules::rule_fixes(context, value);
    let problems = Problem::examples(value);
    fixes.extend(problems.iter().map(|problem| {
        (problem.code().unwrap_or(MessageCode::OperatorFailure), problem_fix(problem, context))
    }));
    fixes
}

/// Describes how a container terminated: the reason, the exit code, and the message from Kubernetes.
fn exit_text(snapshot: &Snapshot, pod: &str, container: &str, message: &str) -> String {
    let pods = snapshot.observation.pods.iter().filter(|one| one.name() == pod);
    let statuses = pods.flat_map(|pod| main_containers(pod));
    let terminated = statuses.filter(|status| status.name == container).find_map(last_termination);
    let reason = terminated.and_then(|terminated| terminated.reason.as_deref()).unwrap_or_default();
    let exit_code =
        terminated.map_or_else(|| "null".to_owned(), |terminated| terminated.exit_code.to_string());
    format!("{reason} exit {exit_code} {message}")
}

fn log_of<'a>(snapshot: &'a Snapshot, pod: &str, container: &str) -> Option<&'a ContainerLog> {
    snapshot.logs.iter().find(|log| log.pod == pod && log.container == container)
}

/// Returns the first pod that is not ready and the root cause from its events or logs. This finds problems
/// that are not visible in the pod's status, such as a volume that cannot be mounted or a runtime that
/// retries a connection.
fn cause_from_events_and_logs<'a>(
    components: &'a [ComponentStatus],
    snapshot: &Snapshot,
) -> Option<(&'a PodStatus, RootCause)> {
    let waiting_pods =
        components.iter().flat_map(|one| &one.pods).filter(|pod| !pod.ready && !pod.superseded);
    for pod in waiting_pods {
        let context = DiagnosisContext::from_snapshot(snapshot, Some(&pod.name));
        let is_pod_warning = |event: &&ObservedObject<Event>| {
            event.involved_object.name.as_ref() == Some(&pod.name)
                && event.type_.as_deref() == Some("Warning")
        };
        let mount_cause = snapshot
            .events
            .iter()
            .filter(is_pod_warning)
            // Events remain for an hour after their cause is resolved.
            .filter(|_| pod.state == PodState::CreatingContainers)
            .rev()
            .find_map(|event| rules::find_cause(MessageSource::Mount, &event_text(event), &context));
        let mut logs = snapshot.logs.iter().filter(|log| log.pod == pod.name);
        if let Some(cause) =
            mount_cause.or_else(|| logs.find_map(|log| rules::find_cause_in_log(&log.lines, &context)))
        {
            return Some((pod, cause));
        }
    }
    None
}

fn event_text(event: &Event) -> String {
    let (reason, message) = (event.reason.as_deref(), event.message.as_deref());
    format!("{}: {}", reason.unwrap_or_default(), message.unwrap_or_default())
}

fn waiting_pod(components: &[ComponentStatus]) -> Option<&PodStatus> {
    components.iter().flat_map(|one| &one.pods).find(|pod| !pod.ready && !pod.superseded)
}

/// Returns the graph's state and the message of its `Ready` condition.
fn ready_condition_text(graph: &Value) -> String {
    let graph = GraphView::new(graph);
    let state = graph.state().unwrap_or("no status yet");
    match graph.condition("Ready").and_then(ConditionView::message) {
        Some(message) => format!("{state}: {message}"),
        None => state.to_owned(),
    }
}
