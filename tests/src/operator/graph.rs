//! A graph deployment as its operator reads it: which component deployments it asks for.

use serde_json::{Map, Value, json};

use super::access::{list, owned_by, text};
use super::objects::digest;
use super::restart::{self, Restart};
use super::words;
use super::workload::merged_by_name;
use crate::kubernetes::definitions::GraphGeneration;

/// A component that a graph asks for.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// The component's own name, in its own case.
    pub(super) name: String,
    /// The name of its component deployment.
    pub(super) child: String,
    pub(super) is_worker: bool,
    pub(super) is_multinode: bool,
    spec: Value,
}

impl Component {
    /// Whether it turns its scaling adapter on: 0.9.1 has a switch, an empty object is enough for 1.5.
    pub(super) fn has_adapter(&self) -> bool {
        let adapter = &self.spec["scalingAdapter"];
        adapter["enabled"] == true || (adapter.is_object() && self.spec["componentType"].is_null())
    }

    pub(super) fn replicas(&self) -> u64 {
        self.spec["replicas"].as_u64().unwrap_or(1)
    }
}

/// A graph and the hash over its workers, by which 1.5 names them.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) object: Value,
    pub(super) generation: GraphGeneration,
    pub(super) hash: String,
    pub(super) components: Vec<Component>,
    pub(super) restart: Restart,
}

impl Graph {
    pub(super) fn read(object: Value, generation: GraphGeneration) -> Self {
        let specs = specs(&object, generation);
        let workers: Vec<Value> =
            specs.iter().filter(|(_, spec)| is_worker(spec)).map(|(_, spec)| template_of(spec)).collect();
        let hash = digest(&json!(workers))[..8].to_owned();
        let graph_name = text(&object, "/metadata/name").to_owned();
        let components = specs
            .into_iter()
            .map(|(name, spec)| {
                let is_worker = is_worker(&spec);
                let plain = format!("{graph_name}-{}", name.to_lowercase());
                let hashed = is_worker && generation == GraphGeneration::V1Beta1;
                Component {
                    child: if hashed { format!("{plain}-{hash}") } else { plain },
                    is_multinode: spec["multinode"].is_object(),
                    name,
                    is_worker,
                    spec,
                }
            })
            .collect();
        Self { object, generation, hash, components, restart: Restart::default() }
    }

    pub(super) fn name(&self) -> &str {
        text(&self.object, "/metadata/name")
    }

    pub(super) fn namespace(&self) -> &str {
        text(&self.object, "/metadata/namespace")
    }

    pub(super) fn current_hash(&self) -> &str {
        self.object["metadata"]["annotations"][words::CURRENT_HASH].as_str().unwrap_or_default()
    }

    /// The component deployment for this component.
    pub(super) fn child(&self, component: &Component) -> Value {
        let mut labels = json!({
            words::COMPONENT: component.name,
            words::GRAPH: self.name(),
            words::DYNAMO_NAMESPACE: words::dynamo_namespace(self.namespace(), self.name()),
        });
        let mut spec = component.spec.clone();
        match self.generation {
            GraphGeneration::V1Beta1 => {
                let metadata = &mut spec["podTemplate"]["metadata"];
                metadata["annotations"][words::ORIGIN_VERSION] = json!("1.5.0");
                if component.is_worker {
                    labels[words::WORKER_HASH] = json!(self.hash);
                    metadata["labels"][words::WORKER_HASH] = json!(self.hash);
                }
            }
            GraphGeneration::V1Alpha1 => {
                spec["annotations"][words::DISCOVERY_BACKEND] = json!("kubernetes");
                spec["serviceName"] = json!(component.name);
                spec["dynamoNamespace"] = json!(words::dynamo_namespace(self.namespace(), self.name()));
                // A service's own labels go nowhere: the operator's take their place.
                spec["labels"] = labels.clone();
            }
        }
        if let Some(mark) = self.restart.marks.get(&component.name) {
            restart::put(mark, &mut spec, self.generation);
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
                "annotations": {words::LAST_APPLIED_GENERATION: "1", words::LAST_APPLIED_HASH: digest(&spec)},
                "ownerReferences": owned_by(&self.object),
            },
            "spec": spec,
        })
    }
}

/// The components by name, each with the graph's own environment below its own.
fn specs(graph: &Value, generation: GraphGeneration) -> Vec<(String, Value)> {
    let spec = &graph["spec"];
    match generation {
        GraphGeneration::V1Beta1 => {
            let components = list(spec, "/components").iter();
            components
                .map(|component| (text(component, "/name").to_owned(), with_env(component, spec)))
                .collect()
        }
        GraphGeneration::V1Alpha1 => {
            let none = Map::new();
            let services = spec["services"].as_object().unwrap_or(&none).iter();
            services
                .map(|(name, service)| {
                    let mut service = service.clone();
                    let env = [list(spec, "/envs"), list(&service, "/envs")].concat();
                    if !env.is_empty() {
                        service["envs"] = merged_by_name(&env);
                    }
                    (name.clone(), service)
                })
                .collect()
        }
    }
}

fn with_env(component: &Value, spec: &Value) -> Value {
    let mut component = component.clone();
    let containers = component.pointer_mut("/podTemplate/spec/containers").and_then(Value::as_array_mut);
    for main in containers.into_iter().flatten().filter(|container| text(container, "/name") == "main") {
        let env = [list(spec, "/env"), list(main, "/env")].concat();
        if !env.is_empty() {
            main["env"] = merged_by_name(&env);
        }
    }
    component
}

fn is_worker(spec: &Value) -> bool {
    let kind = spec.get("type").or_else(|| spec.get("componentType")).and_then(Value::as_str);
    matches!(kind, Some("worker" | "prefill" | "decode"))
}

/// What makes a new hash: everything but the number of replicas.
fn template_of(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("replicas");
        fields.remove("scalingAdapter");
    }
    spec
}
