//! Renders a plan as Kubernetes objects, in apply order: PVC, fetch Job, DynamoGraphDeployment. Objects are
//! JSON values, so that printing, comparing, and applying use the same data. Rendering must not depend on a
//! cluster.

mod bench_job;
pub use bench_job::{
    BENCH_CONTAINER, BENCH_NAME_LIMIT, BENCH_RECORD_KEY, BENCH_RUN_LABEL, BENCH_TRACE_KEY, BENCH_TRACE_PATH,
    BenchJob, BenchJobMeasurement, PvcNodes, bench_config_map, bench_object_name, bench_results_folder,
    bench_workers,
};
mod companions;
pub use companions::{
    COMPANIONS_ANNOTATION, DEPLOYMENT_LABEL, companions_of, creator_of, is_companion, list_companions,
    mark_companion,
};
mod container;
pub use container::FETCH_CONTAINER;
mod fetch_job;
pub use fetch_job::ModelJobAction;
mod fetch_users;
pub use fetch_users::{fetch_job_deployments, joining_patch, leaving_patch};
mod fields;
pub use fields::{invalid_metadata_field, object_at};
mod graph_v1alpha1;
pub use graph_v1alpha1::update_spec_hash;
mod graph_v1beta1;
mod schema;
pub use schema::{SchemaViolation, SchemaViolationReason, schema_violations};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::graph::GraphView;
use crate::intent::{Cache, ServingIntent, StringEnum};
use crate::object::ObjectView;
use crate::plan::{FetchPlacement, JSON_LOGGING, Logging, ServingPlan};

/// The field manager of every server-side apply, and the value of `app.kubernetes.io/managed-by`.
pub const FIELD_MANAGER: &str = "kubectl-dynamo";
/// Label with the tool that manages an object.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Label with the name of the application: the deployment, or the one that a fetch Job was created for.
pub const NAME_LABEL: &str = "app.kubernetes.io/name";
/// Annotation with the intent of a graph, as JSON.
pub const INTENT_ANNOTATION: &str = "kubectl-dynamo.dev/intent";
/// Annotation with the Dynamo version for which a graph was rendered.
pub const RELEASE_ANNOTATION: &str = "kubectl-dynamo.dev/release";
/// Annotation on an adopted graph, which the plugin did not create. Changes are merged into it instead of
/// rendering a new graph.
pub const ADOPTED_ANNOTATION: &str = "kubectl-dynamo.dev/adopted";
/// Label with the revision number of a graph, on the graph and on the ControllerRevision that stores it.
pub const REVISION_LABEL: &str = "kubectl-dynamo.dev/revision";
/// Annotation on every service of a v1alpha1 graph, with a hash of that service. The operator copies it to
/// the component deployments but not to pods. It identifies the spec of a status where no generation is
/// available.
pub const SPEC_HASH_ANNOTATION: &str = "kubectl-dynamo.dev/spec-hash";
/// Annotation with the full model ID and revision of a fetch Job.
pub const MODEL_ANNOTATION: &str = "kubectl-dynamo.dev/model";
/// Label with the model of a fetch Job, shortened to a valid label value.
pub const MODEL_LABEL: &str = "kubectl-dynamo.dev/model";

/// API version of DynamoGraphDeployment that the cluster stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GraphApi {
    V1Alpha1,
    #[default]
    V1Beta1,
}

impl StringEnum for GraphApi {
    const ALL: &'static [Self] = &[Self::V1Alpha1, Self::V1Beta1];

    fn as_str(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// A rendered object as JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// The complete object, as it is applied.
    pub object: Value,
}

impl Resource {
    /// A view of the object.
    pub fn view(&self) -> ObjectView<'_> {
        ObjectView::new(&self.object)
    }

    /// `apiVersion`, for example `batch/v1`.
    pub fn api_version(&self) -> &str {
        self.view().api_version()
    }

    /// `kind`, for example `Job`.
    pub fn kind(&self) -> &str {
        self.view().kind()
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.view().name()
    }

    /// `kind.group/name` as `kubectl -o name` prints it, for example `job.batch/fetch`.
    pub fn qualified_name(&self) -> String {
        let group = self.api_version().split_once('/').map(|(group, _)| format!(".{group}"));
        format!("{}{}/{}", self.kind().to_lowercase(), group.unwrap_or_default(), self.name())
    }
}

impl std::fmt::Display for Resource {
    /// Writes `kind/name`, as kubectl does.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind().to_lowercase(), self.name())
    }
}

/// Renders the objects of a plan for a namespace, in apply order.
pub fn render(plan: &ServingPlan, namespace: &str, api: GraphApi) -> Vec<Resource> {
    let mut objects = Vec::new();
    if let Some(cache) = &plan.cache {
        if let Cache::Managed { pvc, size, storage_class, access_mode } = &cache.cache {
            objects.push(pvc_object(namespace, pvc, size, storage_class.as_deref(), access_mode.as_str()));
        }
        if cache.fetch.placement == FetchPlacement::Job {
            objects.push(fetch_job::fetch_job(plan, cache, namespace));
        }
    }
    objects.push(match api {
        GraphApi::V1Alpha1 => graph_v1alpha1::render_graph(plan, namespace),
        GraphApi::V1Beta1 => graph_v1beta1::render_graph(plan, namespace),
    });
    objects.into_iter().map(|object| Resource { object }).collect()
}

/// Renders a Job that checks, verifies, or removes the model of an intent. `None` if the model is not on a
/// PVC.
pub fn model_job(intent: &ServingIntent, action: ModelJobAction, namespace: &str) -> Option<Resource> {
    fetch_job::model_job(intent, action, namespace).map(|object| Resource { object })
}

/// Log format of the components of a live graph.
pub fn detect_logging(graph: &Value) -> Logging {
    fn mentions_json_logging(value: &Value) -> bool {
        match value {
            Value::Object(fields) => {
                fields.get("name").is_some_and(|name| name == JSON_LOGGING)
                    || fields.values().any(mentions_json_logging)
            }
            Value::Array(items) => items.iter().any(mentions_json_logging),
            _ => false,
        }
    }
    if mentions_json_logging(GraphView::new(graph).spec()) { Logging::Json } else { Logging::Plain }
}

/// Serializes objects as a YAML stream that kubectl can read, with a document marker before each object.
///
/// # Errors
/// A value that YAML cannot represent. Rendered objects do not contain such values.
pub fn to_yaml(resources: &[Resource]) -> Result<String, serde_saphyr::ser::Error> {
    let mut text = String::new();
    for resource in resources {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&resource.object)?);
    }
    Ok(text)
}

/// Labels of every object that the plugin manages.
fn managed_labels(extra: &[(String, String)]) -> Map<String, Value> {
    let mut labels: Map<String, Value> =
        extra.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect();
    labels.insert(MANAGED_BY_LABEL.into(), FIELD_MANAGER.into());
    labels
}

/// Metadata of the graph, which is identical in both API versions.
fn graph_metadata(plan: &ServingPlan, namespace: &str) -> Value {
    let mut labels = managed_labels(&plan.intent.placement.labels);
    labels.insert(NAME_LABEL.into(), plan.name.clone().into());
    let intent = serde_json::to_string(&plan.intent).expect("an intent has only values that JSON supports");
    let mut annotations = container::to_map(&plan.intent.placement.annotations);
    annotations.insert(INTENT_ANNOTATION.into(), intent.into());
    annotations.insert(RELEASE_ANNOTATION.into(), plan.version.clone().into());
    json!({ "name": plan.name, "namespace": namespace, "labels": labels, "annotations": annotations })
}

fn pvc_object(namespace: &str, name: &str, size: &str, class: Option<&str>, access_mode: &str) -> Value {
    let mut pvc = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": name, "namespace": namespace, "labels": managed_labels(&[]) },
        "spec": {
            "accessModes": [access_mode],
            "resources": { "requests": { "storage": size } },
        },
    });
    if let Some(class) = class {
        object_at(&mut pvc, &["spec"]).insert("storageClassName".into(), class.into());
    }
    pvc
}

/// The first `digits` hexadecimal digits of a value's SHA-256 hash. Keys are sorted, so equal values have
/// equal hashes.
fn short_hash(value: &Value, digits: usize) -> String {
    let mut hex: String =
        Sha256::digest(value.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(digits);
    hex
}

/// Whether the operator can parse a version from the image tag: `v?N.N.N` with an optional suffix.
pub fn has_version_tag(image: &str) -> bool {
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
    fn version_tags_match_operator_rules() {
        for image in ["r:1.6.1", "host:5000/r:v1.0.0", "r:1.2.0-cuda13", "r:1.6.1@sha256:00"] {
            assert!(has_version_tag(image), "{image}");
        }
        for image in ["r", "r:latest", "r:1.6", "host:5000/r", "r@sha256:00", "r:my-tag"] {
            assert!(!has_version_tag(image), "{image}");
        }
    }
}
