//! From a plan to Kubernetes objects, in the order they are applied: claim, fetch Job, graph.
//! The objects are JSON values, so that what is shown, compared and sent is the same thing.

mod container;
pub use container::FETCH_CONTAINER;
mod fetch_job;
pub use fetch_job::JobOfModel;
mod graph_v1alpha1;
pub use graph_v1alpha1::stamp;
mod graph_v1beta1;
mod schema;
pub use schema::{Misfit, MisfitReason, misfits};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::intent::{Cache, ServingIntent, Word};
use crate::plan::{FetchPlacement, JSON_LOGGING, Logging, ServingPlan};

/// The field manager of every server-side apply, and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "kubectl-dynamo";
/// The label that says who made an object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Holds the wish that led to a graph, as JSON.
pub const INTENT_ANNOTATION: &str = "kubectl-dynamo.dev/intent";
/// Holds the Dynamo version the graph was rendered for.
pub const RELEASE_ANNOTATION: &str = "kubectl-dynamo.dev/release";
/// On a graph that somebody else wrote and this program took over: changes are carried over to it, not rendered.
pub const ADOPTED_ANNOTATION: &str = "kubectl-dynamo.dev/adopted";
/// The number of a graph's revision, on the graph and on the ControllerRevision that keeps it.
pub const REVISION_LABEL: &str = "kubectl-dynamo.dev/revision";
/// On every service of a v1alpha1 graph: a hash of that service. The operator copies it to the component
/// deployments and never to pods, so it tells which spec a status belongs to where no generation does.
pub const SPEC_HASH_ANNOTATION: &str = "kubectl-dynamo.dev/spec-hash";
/// Names the model of a fetch Job, in full.
pub const MODEL_ANNOTATION: &str = "kubectl-dynamo.dev/model";
/// Names the model of a fetch Job, as far as a label value can.
pub const MODEL_LABEL: &str = "kubectl-dynamo.dev/model";

/// Which shape of DynamoGraphDeployment the cluster stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GraphApi {
    V1Alpha1,
    #[default]
    V1Beta1,
}

impl Word for GraphApi {
    const ALL: &'static [Self] = &[Self::V1Alpha1, Self::V1Beta1];

    fn as_str(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// A rendered object: its JSON, from which its identity is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The whole object, as it is applied.
    pub object: Value,
}

impl Resource {
    /// `apiVersion`, for example `batch/v1`.
    pub fn api_version(&self) -> &str {
        self.object["apiVersion"].as_str().unwrap_or_default()
    }

    /// `kind`, for example `Job`.
    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

impl std::fmt::Display for Resource {
    /// `kind/name`, as kubectl prints objects.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind().to_lowercase(), self.name())
    }
}

/// The objects of a plan in a namespace, in apply order.
pub fn render(plan: &ServingPlan, namespace: &str, api: GraphApi) -> Vec<Resource> {
    let mut objects = Vec::new();
    if let Some(cache) = &plan.cache {
        if let Cache::Made { claim, size, storage_class, access_mode } = &cache.cache {
            objects.push(claim_object(
                namespace,
                claim,
                size,
                storage_class.as_deref(),
                access_mode.as_str(),
            ));
        }
        if cache.fetch.placement == FetchPlacement::Job {
            objects.push(fetch_job::fetch_job(plan, cache, namespace));
        }
    }
    objects.push(match api {
        GraphApi::V1Alpha1 => graph_v1alpha1::graph(plan, namespace),
        GraphApi::V1Beta1 => graph_v1beta1::graph(plan, namespace),
    });
    objects.into_iter().map(|object| Resource { object }).collect()
}

/// The Job that does something with a wish's model; `None` where the model is on no claim.
pub fn job_of_model(intent: &ServingIntent, what: JobOfModel, namespace: &str) -> Option<Resource> {
    fetch_job::job_of_model(intent, what, namespace).map(|object| Resource { object })
}

/// How the components of a live graph write their logs.
pub fn logging(graph: &Value) -> Logging {
    fn names(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                fields.get("name").is_some_and(|name| name == JSON_LOGGING) || fields.values().any(names)
            }
            Value::Array(items) => items.iter().any(names),
            _ => false,
        }
    }
    if names(&graph["spec"]) { Logging::Json } else { Logging::Plain }
}

/// The objects as one YAML stream, each with its document mark, as kubectl reads it.
///
/// # Errors
/// A value that YAML cannot hold; none is ever rendered.
pub fn to_yaml(resources: &[Resource]) -> Result<String, serde_saphyr::ser::Error> {
    let mut text = String::new();
    for resource in resources {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&resource.object)?);
    }
    Ok(text)
}

/// Labels of every object of this program.
fn own_labels(extra: &[(String, String)]) -> Map<String, Value> {
    let mut labels: Map<String, Value> =
        extra.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels
}

/// Metadata of the graph, the same in both shapes.
fn graph_metadata(plan: &ServingPlan, namespace: &str) -> Value {
    let mut labels = own_labels(&plan.intent.placement.labels);
    labels.insert("app.kubernetes.io/name".into(), plan.name.clone().into());
    let intent = serde_json::to_string(&plan.intent).expect("a wish holds only strings, numbers and lists");
    let mut annotations = container::pairs(&plan.intent.placement.annotations);
    annotations.insert(INTENT_ANNOTATION.into(), intent.into());
    annotations.insert(RELEASE_ANNOTATION.into(), plan.version.clone().into());
    json!({ "name": plan.name, "namespace": namespace, "labels": labels, "annotations": annotations })
}

fn claim_object(namespace: &str, name: &str, size: &str, class: Option<&str>, access_mode: &str) -> Value {
    let mut claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "namespace": namespace, "labels": own_labels(&[]) },
        "spec": {
            "accessModes": [access_mode],
            "resources": { "requests": { "storage": size } },
        },
    });
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = class.into();
    }
    claim
}

/// The first `digits` hexadecimal digits of a value's hash. Keys are sorted, so equal values hash alike.
fn short_hash(value: &Value, digits: usize) -> String {
    let mut hex: String =
        Sha256::digest(value.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

/// Whether the operator can read a version from an image's tag: `v?N.N.N` with an optional suffix.
pub(crate) fn has_version_tag(image: &str) -> bool {
    let without_digest = image.split('@').next().unwrap_or(image);
    let tag = match without_digest.rsplit_once(':') {
        Some((_, tag)) if !tag.contains('/') => tag,
        _ => return false,
    };
    let core = tag.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions_as_the_operator_does() {
        for image in ["r:1.6.1", "host:5000/r:v1.0.0", "r:1.2.0-cuda13", "r:1.6.1@sha256:00"] {
            assert!(has_version_tag(image), "{image}");
        }
        for image in ["r", "r:latest", "r:1.6", "host:5000/r", "r@sha256:00", "r:my-tag"] {
            assert!(!has_version_tag(image), "{image}");
        }
    }
}
