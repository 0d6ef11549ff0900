//! What the fixes of a diagnosis refer to: the deployment or cached model, the pod, and the role of its component.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::{CauseLocation, Snapshot};
use crate::command::{SuggestedCommand, UNKNOWN_MODEL, UNKNOWN_NAME};
use crate::graph::GraphView;
use crate::object::{ObjectFields, ObjectView};
use crate::readiness::{COMPONENT_TYPE_LABEL, Observation};
use crate::resources::{FETCH_CONTAINER, INTENT_ANNOTATION, MODEL_ANNOTATION, NAME_LABEL};

/// The flags of the engine for the tensor parallel size.
const TENSOR_PARALLEL_FLAGS: [&str; 2] = ["--tensor-parallel-size", "-tp"];
/// The label with the role of a worker's pod: prefill or decode.
const SUB_COMPONENT_TYPE_LABEL: &str = "nvidia.com/dynamo-sub-component-type";

/// The flags of fixes that the verbs of `cache` share with `up`.
const FETCH_FLAGS: [&str; 6] =
    ["--cache", "--cache-size", "--fetcher-image", "--image-pull-secret", "--toleration", "--env"];

/// What a fix changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FixTarget {
    Deployment {
        name: String,
    },
    /// A deployment that is not created before its model is fetched. Without a graph, only the Job names the model.
    PlannedDeployment {
        name: String,
        model: String,
    },
    /// A model on a PVC that a verb of `cache` works on.
    CachedModel {
        verb: &'static str,
        model: String,
    },
}

impl Default for FixTarget {
    fn default() -> Self {
        Self::Deployment { name: String::new() }
    }
}

impl FixTarget {
    /// What the pods of a fetcher's Job belong to.
    pub fn of_job(job: &Job) -> Self {
        let template = job.spec.as_ref().map(|spec| &spec.template);
        let pod_annotations = template.and_then(|template| template.metadata.as_ref()?.annotations.as_ref());
        let of_pod = || pod_annotations?.get(MODEL_ANNOTATION).map(String::as_str);
        let model = job.annotation(MODEL_ANNOTATION).or_else(of_pod).unwrap_or_default().to_owned();
        match job.label(NAME_LABEL) {
            Some(name) => Self::PlannedDeployment { name: name.to_owned(), model },
            None => {
                let container = template.and_then(|template| template.spec.as_ref()?.containers.first());
                let args = container.and_then(|container| container.args.as_ref());
                let verb = match args.and_then(|args| args.first()).map(String::as_str) {
                    Some("remove") => "cache rm",
                    Some("verify" | "check") => "cache verify",
                    _ => "cache pull",
                };
                Self::CachedModel { verb, model }
            }
        }
    }
}

/// The names that a fix refers to.
#[derive(Debug, Clone, Default)]
pub struct DiagnosisContext {
    pub target: FixTarget,
    pub namespace: String,
    pub pod: Option<String>,
    /// The container with the problem.
    pub container: Option<String>,
    /// The role of the component, from the labels of its pod.
    pub role: String,
    /// The tensor parallel size in the arguments of the pod. 0 if it is not known, otherwise at least 1.
    pub tensor_parallel: u32,
    /// Whether a container of the pod has restarted, so that its previous log exists.
    pub has_restarted: bool,
    /// Whether another tool created the deployment, so that `up` refuses to change it before `adopt`.
    pub is_foreign: bool,
}

/// Returns the tensor parallel size in the commands of a pod's containers, which may be scripts.
fn tensor_parallel(pod: &Pod) -> u32 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let words = containers.flat_map(|one| one.command.iter().chain(&one.args).flatten());
    let words: Vec<&str> = words.flat_map(|word| word.split_whitespace()).collect();
    let value = |(at, word): (usize, &&str)| match word.split_once('=') {
        Some((name, value)) => TENSOR_PARALLEL_FLAGS.contains(&name).then(|| value.to_owned()),
        None => TENSOR_PARALLEL_FLAGS
            .contains(word)
            .then(|| words.get(at + 1).copied().unwrap_or_default().to_owned()),
    };
    words.iter().enumerate().find_map(value).and_then(|value| value.parse().ok()).unwrap_or(1)
}

impl DiagnosisContext {
    pub(super) fn from_snapshot(snapshot: &Snapshot, pod: Option<&str>) -> Self {
        Self::from_observation(&snapshot.observation, snapshot.job.as_deref(), pod)
    }

    /// `job` is the Job that the pods belong to, if there is no graph.
    pub(super) fn from_observation(observation: &Observation, job: Option<&Job>, pod: Option<&str>) -> Self {
        let observed_pod = pod.and_then(|name| observation.pod(name));
        let role = observed_pod
            .and_then(|pod| pod.label(SUB_COMPONENT_TYPE_LABEL).or_else(|| pod.label(COMPONENT_TYPE_LABEL)));
        let role = role.unwrap_or_default().to_owned();
        let (target, namespace) = match (&observation.graph, job) {
            (Some(graph), _) => {
                let graph = ObjectView::new(graph);
                (FixTarget::Deployment { name: graph.name().to_owned() }, graph.namespace().to_owned())
            }
            (None, Some(job)) => (FixTarget::of_job(job), job.namespace().to_owned()),
            (None, None) => Default::default(),
        };
        let tensor_parallel = observed_pod.map_or(0, |pod| tensor_parallel(pod));
        let has_restarted = observed_pod.is_some_and(|pod| {
            let statuses = pod.status.iter().flat_map(|status| &status.container_statuses);
            statuses.flatten().any(|container| container.restart_count > 0)
        });
        let pod = pod.map(ToOwned::to_owned);
        let is_foreign = observation
            .graph
            .as_ref()
            .is_some_and(|graph| GraphView::new(graph).annotation(INTENT_ANNOTATION).is_none());
        Self { target, namespace, pod, container: None, role, tensor_parallel, has_restarted, is_foreign }
    }

    pub(super) fn with_container(self, container: Option<&str>) -> Self {
        Self { container: container.map(str::to_owned), ..self }
    }

    pub(super) fn location(&self) -> CauseLocation {
        match (&self.pod, &self.target) {
            (Some(pod), _) => CauseLocation::Pod(pod.clone()),
            (None, FixTarget::Deployment { name } | FixTarget::PlannedDeployment { name, .. }) => {
                CauseLocation::Deployment(name.clone())
            }
            (None, FixTarget::CachedModel { model, .. }) => CauseLocation::Model(model.clone()),
        }
    }

    /// The name of the deployment. Empty if there is none.
    pub(super) fn name(&self) -> &str {
        match &self.target {
            FixTarget::Deployment { name } | FixTarget::PlannedDeployment { name, .. } => name,
            FixTarget::CachedModel { .. } => "",
        }
    }

    /// `up` of a model, which creates a deployment.
    pub(super) fn new_deployment(model: &str) -> SuggestedCommand {
        SuggestedCommand::plugin("up").operand(model, UNKNOWN_MODEL)
    }

    /// `up` with flags, or the verb that created the Job if it has these flags.
    pub(super) fn update(&self, flags: &[String]) -> SuggestedCommand {
        let command = match &self.target {
            FixTarget::Deployment { name } => SuggestedCommand::plugin("up").operand(name, UNKNOWN_NAME),
            FixTarget::PlannedDeployment { name, model } => {
                Self::new_deployment(model).flag("--name").flag(name)
            }
            FixTarget::CachedModel { verb, model } => {
                let has_flag =
                    |flag: &String| !flag.starts_with("--") || FETCH_FLAGS.contains(&flag.as_str());
                match flags.iter().all(has_flag) {
                    true => SuggestedCommand::plugin(verb).operand(model, UNKNOWN_MODEL),
                    false => Self::new_deployment(model),
                }
            }
        };
        let command = command.in_namespace(&self.namespace);
        flags.iter().fold(command, |command, flag| command.flag(flag))
    }

    /// `up` with another tensor parallel size of the component's role.
    pub(super) fn update_tensor_parallel(&self, size: u32) -> SuggestedCommand {
        let flag = match self.role.as_str() {
            role @ ("prefill" | "decode") => format!("--{role}-tp"),
            _ => "--tp".to_owned(),
        };
        self.update(&[flag, size.to_string()])
    }

    /// `up` with an argument for the engine of the component's role.
    pub(super) fn update_engine(&self, argument: &str) -> SuggestedCommand {
        match (self.role.as_str(), &self.target) {
            (role @ ("prefill" | "decode"), _) => self.update(&[format!("--{role}-arg={argument}")]),
            (_, FixTarget::CachedModel { model, .. }) => {
                let command = Self::new_deployment(model).in_namespace(&self.namespace);
                command.engine_argument(argument)
            }
            _ => self.update(&[]).engine_argument(argument),
        }
    }

    /// `up` with another image for the container with the problem.
    pub(super) fn update_image(&self, image: &str) -> SuggestedCommand {
        let is_fetcher = match (&self.container, &self.target) {
            (Some(container), _) => container == FETCH_CONTAINER,
            (None, FixTarget::Deployment { .. }) => false,
            (None, FixTarget::PlannedDeployment { .. } | FixTarget::CachedModel { .. }) => true,
        };
        let flag = if is_fetcher { "--fetcher-image" } else { "--image" };
        self.update(&[flag.to_owned(), image.to_owned()])
    }

    /// Another verb about the deployment.
    pub(super) fn verb(&self, verb: &str) -> SuggestedCommand {
        SuggestedCommand::plugin(verb).operand(self.name(), UNKNOWN_NAME).in_namespace(&self.namespace)
    }
}
