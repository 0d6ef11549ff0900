//! One component independent of its API version: a name, a role, and a pod template.
//! It does not access the API server.

use serde_json::{Map, Value, json};

use super::api_client::{list, text};
use super::names;
use crate::kubernetes::definitions::GraphGeneration;

/// A component deployment of any API version. Its template has a container `main`, which is the first.
#[derive(Debug, Clone)]
pub(super) struct ComponentWorkload {
    pub(super) graph: String,
    pub(super) namespace: String,
    /// The component's name as written.
    pub(super) component: String,
    /// The name of the component deployment and of its Deployment.
    pub(super) name: String,
    pub(super) component_type: String,
    pub(super) sub_type: Option<String>,
    pub(super) replicas: i64,
    pub(super) hash: Option<String>,
    /// Annotations of the Deployment besides the operator's.
    pub(super) annotations: Map<String, Value>,
    pub(super) template: Value,
    /// The size of /dev/shm; `None` if it is disabled.
    pub(super) shared_memory: Option<String>,
}

impl ComponentWorkload {
    pub(super) fn from_deployment(deployment: &Value, generation: GraphGeneration) -> Self {
        let spec = &deployment["spec"];
        let common = Self {
            graph: label(deployment, names::GRAPH_LABEL),
            namespace: text(deployment, "/metadata/namespace").to_owned(),
            component: label(deployment, names::COMPONENT_LABEL),
            name: text(deployment, "/metadata/name").to_owned(),
            component_type: String::new(),
            sub_type: None,
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            hash: Some(label(deployment, names::WORKER_HASH_LABEL)).filter(|hash| !hash.is_empty()),
            annotations: Map::new(),
            template: Value::Null,
            shared_memory: Some("8Gi".to_owned()),
        };
        match generation {
            GraphGeneration::V1Beta1 => common.read_v1beta1(spec),
            GraphGeneration::V1Alpha1 => common.read_v1alpha1(spec),
        }
    }

    pub(super) fn is_frontend(&self) -> bool {
        self.component_type == "frontend"
    }

    pub(super) fn is_worker(&self) -> bool {
        matches!(self.component_type.as_str(), "worker" | "prefill" | "decode")
    }

    pub(super) fn dynamo_namespace(&self) -> String {
        names::dynamo_namespace(&self.namespace, &self.graph)
    }

    fn read_v1beta1(mut self, spec: &Value) -> Self {
        self.component_type = text(spec, "/type").to_owned();
        self.sub_type =
            matches!(self.component_type.as_str(), "prefill" | "decode").then(|| self.component_type.clone());
        self.template = main_container_first(spec["podTemplate"].clone());
        match text(spec, "/sharedMemorySize") {
            "" => {}
            "0" => self.shared_memory = None,
            size => self.shared_memory = Some(size.to_owned()),
        }
        self
    }

    fn read_v1alpha1(mut self, spec: &Value) -> Self {
        self.component_type = text(spec, "/componentType").to_owned();
        self.sub_type = Some(text(spec, "/subComponentType").to_owned()).filter(|kind| !kind.is_empty());
        self.annotations = spec["annotations"].as_object().cloned().unwrap_or_default();
        let mut pod = spec["extraPodSpec"].as_object().cloned().unwrap_or_default();
        let mut main =
            pod.remove("mainContainer").and_then(|main| main.as_object().cloned()).unwrap_or_default();
        main.insert("name".to_owned(), json!("main"));
        main.insert("resources".to_owned(), container_resources(spec));
        let env = [list(spec, "/extraPodSpec/mainContainer/env"), list(spec, "/envs")].concat();
        main.insert("env".to_owned(), merge_by_name(&env));
        let mounts: Vec<Value> = list(spec, "/volumeMounts")
            .iter()
            .map(|mount| json!({"name": mount["name"], "mountPath": mount["mountPoint"]}))
            .collect();
        let own_mounts = list(spec, "/extraPodSpec/mainContainer/volumeMounts");
        main.insert("volumeMounts".to_owned(), json!([own_mounts, &mounts].concat()));
        if let Some(secret) = spec["envFromSecret"].as_str() {
            let existing_env_from = list(spec, "/extraPodSpec/mainContainer/envFrom");
            let configured = [json!({"secretRef": {"name": secret}})];
            main.insert("envFrom".to_owned(), json!([existing_env_from, &configured].concat()));
        }
        for probe in ["livenessProbe", "readinessProbe"] {
            if let Some(configured) = spec.get(probe) {
                main.insert(probe.to_owned(), configured.clone());
            }
        }
        let others =
            pod.remove("containers").and_then(|others| others.as_array().cloned()).unwrap_or_default();
        pod.insert("containers".to_owned(), json!([vec![Value::Object(main)], others].concat()));
        let mut metadata = spec.get("extraPodMetadata").cloned().unwrap_or_else(|| json!({}));
        // This annotation of a component is only for its pods.
        if let Some(mark) = self.annotations.remove(names::RESTART_AT) {
            metadata["annotations"][names::RESTART_AT] = mark;
        }
        self.template = json!({"metadata": metadata, "spec": pod});
        if spec["sharedMemory"]["disabled"] == true {
            self.shared_memory = None;
        } else if let Some(size) = spec["sharedMemory"]["size"].as_str() {
            self.shared_memory = Some(size.to_owned());
        }
        self
    }
}

/// Merges lists by name; later entries take precedence.
pub(super) fn merge_by_name(entries: &[Value]) -> Value {
    let mut by_name = std::collections::BTreeMap::new();
    for entry in entries {
        by_name.insert(text(entry, "/name").to_owned(), entry.clone());
    }
    by_name.into_values().collect()
}

fn label(object: &Value, name: &str) -> String {
    object["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned()
}

fn main_container_first(mut template: Value) -> Value {
    if let Some(containers) = template.pointer_mut("/spec/containers").and_then(Value::as_array_mut) {
        containers.sort_by_key(|container| text(container, "/name") != "main");
    }
    template
}

/// v1alpha1 has its own format for a container's resources; 0.9.1 ignores GPU requests.
fn container_resources(spec: &Value) -> Value {
    let mut resources = json!({});
    for part in ["requests", "limits"] {
        let Some(amounts) = spec["resources"][part].as_object() else { continue };
        let gpu = amounts.get("gpuType").and_then(Value::as_str).unwrap_or("nvidia.com/gpu");
        for (name, amount) in amounts {
            match name.as_str() {
                "gpu" if part == "limits" => resources[part][gpu] = amount.clone(),
                "gpu" | "gpuType" => {}
                "custom" => amount.as_object().into_iter().flatten().for_each(|(name, amount)| {
                    resources[part][name] = amount.clone();
                }),
                name => resources[part][name] = amount.clone(),
            }
        }
    }
    resources
}
