//! Why a deployment does not serve: from its objects, events and log lines to one coded cause with a fix.
//! It has no clock and no socket, so recorded watches and log lines can be replayed into it.

mod chain;
mod engine_log;
mod known;
mod messages;
#[cfg(test)]
mod provoked;
mod redaction;

use serde_json::Value;

use crate::error::{Exit, Explain};
use crate::readiness::{self, ComponentStanding, Observation, PodStanding, Standing, Trouble, condition};
pub use chain::Link;
pub use engine_log::{StartStep, start_step};
pub use known::{Place, codes as known_codes};
pub use messages::{Explanation, explanation, explanations};
pub use redaction::{redacted, redacted_object};

/// Everything that was gathered of one deployment.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub seen: Observation,
    pub claims: Vec<Value>,
    pub events: Vec<Value>,
    pub logs: Vec<ContainerLog>,
}

/// The last lines of one container, those of its run before the last restart first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerLog {
    pub pod: String,
    pub container: String,
    pub lines: Vec<String>,
}

/// How a deployment stands and, where it does not serve, what everything hangs on.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// From the graph to the place that tells the cause.
    pub chain: Vec<Link>,
    pub verdict: Verdict,
}

/// What a diagnosis ends in.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The operator reports this very spec as ready.
    Reported,
    /// Nothing is wrong so far.
    ComingUp { waits_for: String },
    /// Something is wrong that may pass by itself.
    Held { cause: Cause },
    /// Something is wrong that somebody has to change.
    Broken { cause: Cause },
}

impl Verdict {
    /// What is wrong, if anything is.
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Held { cause } | Self::Broken { cause } => Some(cause),
            Self::Reported | Self::ComingUp { .. } => None,
        }
    }
}

/// One cause: what a person reads, and the command that mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Cause {
    pub code: &'static str,
    pub text: String,
    pub fix: String,
    pub exit: Exit,
    /// The object or container it was found at, such as `pod tiny-worker-x`.
    pub place: String,
}

impl Explain for Cause {
    fn code(&self) -> Option<&'static str> {
        Some(self.code)
    }

    fn hint(&self) -> Option<String> {
        Some(self.fix.clone())
    }

    fn exit(&self) -> Exit {
        self.exit
    }
}

/// Works out why the deployment stands where it does.
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let Some(graph) = &evidence.seen.graph else {
        let waits_for = "the deployment itself".to_owned();
        return Diagnosis { chain: Vec::new(), verdict: Verdict::ComingUp { waits_for } };
    };
    let components = readiness::components(graph, &evidence.seen.pods);
    match readiness::standing(&evidence.seen) {
        Standing::Reported => ended(evidence, None, Verdict::Reported),
        Standing::Troubled { trouble } => {
            let cause = cause_of(&trouble, evidence);
            let pod = trouble.pod().map(ToOwned::to_owned);
            let verdict = match trouble.may_heal() {
                true => Verdict::Held { cause },
                false => Verdict::Broken { cause },
            };
            ended(evidence, pod.as_deref(), verdict)
        }
        Standing::Waiting { waits_for } => match quiet_cause(&components, evidence) {
            Some((pod, cause)) => {
                let verdict = match pod.crashes_again() {
                    true => Verdict::Broken { cause },
                    false => Verdict::Held { cause },
                };
                ended(evidence, Some(&pod.name), verdict)
            }
            None => {
                let pod = waiting_pod(&components).map(|pod| pod.name.clone());
                ended(evidence, pod.as_deref(), Verdict::ComingUp { waits_for })
            }
        },
        Standing::Absent => ended(evidence, None, Verdict::ComingUp { waits_for: "the deployment".into() }),
    }
}

/// Why a deployment that reports ready serves nothing, by what its containers log.
pub fn unserved(evidence: &Evidence) -> Option<Cause> {
    evidence
        .logs
        .iter()
        .find_map(|log| known::find_in_log(&log.lines, &Subject::of(evidence, Some(&log.pod))))
}

fn ended(evidence: &Evidence, pod: Option<&str>, verdict: Verdict) -> Diagnosis {
    Diagnosis { chain: chain::chain(evidence, pod, verdict.cause()), verdict }
}

/// The code, text and fix of a trouble, as exactly as its message and the container's log tell them.
pub fn cause_of(trouble: &Trouble, evidence: &Evidence) -> Cause {
    let subject = Subject::of(evidence, trouble.pod());
    let known = |place, message: &str| known::find(place, message, &subject);
    let known = match trouble {
        Trouble::Unschedulable { message, .. } => known(Place::Scheduling, message),
        Trouble::Image { message, .. } => known(Place::Image, message),
        Trouble::Container { message, .. } => known(Place::Container, message),
        Trouble::Replicas { message, .. } => known(Place::Replicas, message),
        Trouble::Component { message, .. } | Trouble::Operator { message } => known(Place::Operator, message),
        Trouble::Crash { pod, container, message, .. } => log_of(evidence, pod, container)
            .and_then(|log| known::find_in_log(&log.lines, &subject))
            .or_else(|| known(Place::Exit, &exit_words(evidence, pod, container, message))),
        Trouble::Fetch { .. } | Trouble::Node { .. } => None,
    };
    known.unwrap_or_else(|| Cause {
        code: trouble.code().unwrap_or("KD0206"),
        text: trouble.to_string(),
        fix: trouble.hint().unwrap_or_default(),
        exit: trouble.exit(),
        place: subject.place(),
    })
}

/// How a container ended, in the words Kubernetes has for it.
fn exit_words(evidence: &Evidence, pod: &str, container: &str, message: &str) -> String {
    let status = evidence
        .seen
        .pods
        .iter()
        .filter(|one| one["metadata"]["name"] == pod)
        .flat_map(|one| one["status"]["containerStatuses"].as_array().into_iter().flatten())
        .find(|status| status["name"] == container);
    let ended = status.map_or(&Value::Null, |status| match &status["state"]["terminated"] {
        Value::Null => &status["lastState"]["terminated"],
        ended => ended,
    });
    format!("{} exit {} {message}", ended["reason"].as_str().unwrap_or_default(), ended["exitCode"])
}

fn log_of<'a>(evidence: &'a Evidence, pod: &str, container: &str) -> Option<&'a ContainerLog> {
    evidence.logs.iter().find(|log| log.pod == pod && log.container == container)
}

/// What holds a pod back that Kubernetes itself calls neither failed nor waiting: a volume that is not mounted, a
/// runtime that tries again and again, an operator that does nothing.
fn quiet_cause<'a>(
    components: &'a [ComponentStanding],
    evidence: &Evidence,
) -> Option<(&'a PodStanding, Cause)> {
    let waiting = components.iter().flat_map(|one| &one.pods).filter(|pod| !pod.ready && !pod.superseded);
    for pod in waiting {
        let subject = Subject::of(evidence, Some(&pod.name));
        let about = |event: &&Value| {
            event["involvedObject"]["name"] == pod.name.as_str() && event["type"] == "Warning"
        };
        let mount = evidence
            .events
            .iter()
            .filter(about)
            // Events stay for an hour after their reason has passed.
            .filter(|_| pod.doing == "ContainerCreating" || pod.doing == "PodInitializing")
            .rev()
            .find_map(|event| known::find(Place::Mount, &event_words(event), &subject));
        let mut logs = evidence.logs.iter().filter(|log| log.pod == pod.name);
        if let Some(cause) = mount.or_else(|| logs.find_map(|log| known::find_in_log(&log.lines, &subject))) {
            return Some((pod, cause));
        }
    }
    None
}

fn event_words(event: &Value) -> String {
    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", text("reason"), text("message"))
}

fn waiting_pod(components: &[ComponentStanding]) -> Option<&PodStanding> {
    components.iter().flat_map(|one| &one.pods).find(|pod| !pod.ready && !pod.superseded)
}

/// Whom a fix speaks of.
pub(crate) struct Subject {
    name: String,
    namespace: String,
    pod: Option<String>,
    /// The component's role by its pod's labels.
    role: String,
}

impl Subject {
    fn of(evidence: &Evidence, pod: Option<&str>) -> Self {
        let graph = evidence.seen.graph.as_ref().unwrap_or(&Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = pod
            .and_then(|name| evidence.seen.pods.iter().find(|pod| pod["metadata"]["name"] == name))
            .map_or(&Value::Null, |pod| &pod["metadata"]["labels"]);
        let role = match &labels["nvidia.com/dynamo-sub-component-type"] {
            Value::String(role) => role.clone(),
            _ => text(&labels[readiness::COMPONENT_TYPE_LABEL]),
        };
        Self {
            name: text(&graph["metadata"]["name"]),
            namespace: text(&graph["metadata"]["namespace"]),
            pod: pod.map(ToOwned::to_owned),
            role,
        }
    }

    fn place(&self) -> String {
        self.pod.as_ref().map_or_else(|| format!("deployment {}", self.name), |pod| format!("pod {pod}"))
    }

    /// A template with `{name}`, `{namespace}`, `{pod}` and `{engine}` filled in; `{engine}` is what stands before
    /// an engine flag of this component.
    fn fill(&self, template: &str) -> String {
        let engine = match self.role.as_str() {
            "prefill" => "--prefill-arg=",
            "decode" => "--decode-arg=",
            _ => "-- ",
        };
        template
            .replace("{name}", &self.name)
            .replace("{namespace}", &self.namespace)
            .replace("{pod}", self.pod.as_deref().unwrap_or("POD"))
            .replace("{engine}", engine)
    }
}

/// The words of the Ready condition, shortened to what one line bears.
fn ready_words(graph: &Value) -> String {
    let ready = condition(graph, "Ready");
    let state = graph["status"]["state"].as_str().unwrap_or("no status yet");
    match ready["message"].as_str() {
        Some(message) => format!("{state}: {message}"),
        None => state.to_owned(),
    }
}
