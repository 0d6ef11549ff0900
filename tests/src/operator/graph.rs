//! A graph deployment as its operator reads it: the component deployments that it defines.
//! It does not access the API server.

use serde_json::{Map, Value, json};

use super::api_client::{list, owner_references, text};
use super::names;
use super::objects::digest;
use super::restart::{self, RestartProgress};
use super::workload::merge_by_name;
use crate::kubernetes::definitions::GraphGeneration;

/// A component of a graph.
#[derive(Debug, Clone)]
pub(super) struct GraphComponent {
    /// The component's name as written.
    pub(super) name: String,
    /// The name of its component deployment.
    pub(super) child: String,
    pub(super) is_worker: bool,
    pub(super) is_multinode: bool,
    spec: Value,
}

impl GraphComponent {
    /// Returns whether its scaling adapter is enabled: 0.9.1 has a switch, 1.5 only needs an empty object.
    pub(super) fn has_adapter(&self) -> bool {
        let adapter = &self.spec["scalingAdapter"];
        adapter["enabled"] == true || (adapter.is_object() && self.spec["componentType"].is_null())
    }

    pub(super) fn replicas(&self) -> u64 {
        self.spec["replicas"].as_u64().unwrap_or(1)
    }
}

/// A graph and the hash of its workers, which 1.5 uses in their names.
#[derive(Debug, Clone)]
pub(super) struct OperatorGraph {
    pub(super) object: Value,
    pub(super) generation: GraphGeneration,
    pub(super) hash: String,
    pub(super) components: Vec<GraphComponent>,
    pub(super) restart: RestartProgress,
}

impl OperatorGraph {
    pub(super) fn from_object(object: Value, generation: GraphGeneration) -> Self {
        let specs = component_specs(&object, generation);
        let workers: Vec<Value> =
            specs.iter().filter(|(_, spec)| is_worker(spec)).map(|(_, spec)| hashed_spec(spec)).collect();
        let hash = digest(&json!(workers))[..8].to_owned();
        let graph_name = text(&object, "/metadata/name").to_owned();
        let components = specs
            .into_iter()
            .map(|(name, spec)| {
                let is_worker = is_worker(&spec);
                let plain = format!("{graph_name}-{}", name.to_lowercase());
                let hashed = is_worker && generation == GraphGeneration::V1Beta1;
                GraphComponent {
                    child: if hashed { format!("{plain}-{hash}") } else { plain },
                    is_multinode: spec["multinode"].is_object(),
                    name,
                    is_worker,
                    spec,
                }
            })
            .collect();
        Self { object, generation, hash, components, restart: RestartProgress::default() }
    }

    pub(super) fn name(&self) -> &str {
        text(&self.object, "/metadata/name")
    }

    pub(super) fn namespace(&self) -> &str {
        text(&self.object, "/metadata/namespace")
    }

    pub(super) fn current_hash(&self) -> &str {
        self.object["metadata"]["annotations"][names::CURRENT_HASH].as_str().unwrap_or_default()
    }

    /// Returns the component deployment for this component.
    pub(super) fn component_deployment(&self, component: &GraphComponent) -> Value {
        let mut labels = json!({
            names::COMPONENT_LABEL: component.name,
            names::GRAPH_LABEL: self.name(),
            names::DYNAMO_NAMESPACE_LABEL: names::dynamo_namespace(self.namespace(), self.name()),
        });
        let mut spec = component.spec.clone();
        match self.generation {
            GraphGeneration::V1Beta1 => {
                let metadata = &mut spec["podTemplate"]["metadata"];
                metadata["annotations"][names::ORIGIN_VERSION] = json!("1.5.0");
                if component.is_worker {
                    labels[names::WORKER_HASH_LABEL] = json!(self.hash);
                    metadata["labels"][names::WORKER_HASH_LABEL] = json!(self.hash);
                }
            }
            GraphGeneration::V1Alpha1 => {
                spec["annotations"][names::DISCOVERY_BACKEND] = json!("kubernetes");
                spec["serviceName"] = json!(component.name);
                spec["dynamoNamespace"] = json!(names::dynamo_namespace(self.namespace(), self.name()));
                // A service's own labels are ignored: the operator's replace them.
                spec["labels"] = labels.clone();
            }
        }
        if let Some(mark) = self.restart.marks.get(&component.name) {
            restart::write_mark(mark, &mut spec, self.generation);
        }
        if let Some(framework) = self.object["spec"].get("backendFramework") {
            spec["backendFramework"] = framework.clone();
        }
        json!({
            "apiVersion": text(&self.object, "/apiVersion"),
            "kind": "DynamoComponentDeployment",
            "metadata": {
                "name": component.child,
                "namespace": self.namespace(),
                "labels": labels,
                "annotations": {names::LAST_APPLIED_GENERATION: "1", names::LAST_APPLIED_HASH: digest(&spec)},
                "ownerReferences": owner_references(&self.object),
            },
            "spec": spec,
        })
    }
}

/// Returns the components by name. The graph's environment is added to each, below its own.
fn component_specs(graph: &Value, generation: GraphGeneration) -> Vec<(String, Value)> {
    let spec = &graph["spec"];
    match generation {
        GraphGeneration::V1Beta1 => {
            let components = list(spec, "/components").iter();
            components
                .map(|component| (text(component, "/name").to_owned(), with_graph_env(component, spec)))
                .collect()
        }
        GraphGeneration::V1Alpha1 => {
            let empty = Map::new();
            let services = spec["services"].as_object().unwrap_or(&empty).iter();
            services
                .map(|(name, service)| {
                    let mut service = service.clone();
                    let env = [list(spec, "/envs"), list(&service, "/envs")].concat();
                    if !env.is_empty() {
                        service["envs"] = merge_by_name(&env);
                    }
                    (name.clone(), service)
                })
                .collect()
        }
    }
}

fn with_graph_env(component: &Value, spec: &Value) -> Value {
    let mut component = component.clone();
    let containers = component.pointer_mut("/podTemplate/spec/containers").and_then(Value::as_array_mut);
    for main in containers.into_iter().flatten().filter(|container| text(container, "/name") == "main") {
        let env = [list(spec, "/env"), list(main, "/env")].concat();
        if !env.is_empty() {
            main["env"] = merge_in_order(&env);
        }
    }
    component
}

/// Merges variables by name in their order, which 1.5 includes in the hash of the workers.
fn merge_in_order(entries: &[Value]) -> Value {
    let mut merged: Vec<Value> = Vec::new();
    for entry in entries {
        match merged.iter_mut().find(|one| one["name"] == entry["name"]) {
            Some(earlier) => *earlier = entry.clone(),
            None => merged.push(entry.clone()),
        }
    }
    merged.into()
}

fn is_worker(spec: &Value) -> bool {
    let kind = spec.get("type").or_else(|| spec.get("componentType")).and_then(Value::as_str);
    matches!(kind, Some("worker" | "prefill" | "decode"))
}

/// Returns the part of the spec that determines the hash: everything except the number of replicas.
fn hashed_spec(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("replicas");
        fields.remove("scalingAdapter");
    }
    spec
}
