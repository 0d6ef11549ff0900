//! The components of a graph, read the same way from either shape.

use serde_json::Value;

/// One component: its name, and what the graph says of it.
#[derive(Debug, Clone, Copy)]
pub struct Component<'a> {
    pub name: &'a str,
    pub spec: &'a Value,
}

/// The components of either shape.
pub fn graph_components(graph: &Value) -> Vec<Component<'_>> {
    let listed = graph["spec"]["components"].as_array().into_iter().flatten();
    let keyed = graph["spec"]["services"].as_object().into_iter().flatten();
    listed
        .map(|spec| Component { name: spec["name"].as_str().unwrap_or_default(), spec })
        .chain(keyed.map(|(name, spec)| Component { name, spec }))
        .collect()
}

/// What a graph says of the component of a name, to be changed.
pub fn component_mut<'a>(graph: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    if graph["spec"]["components"].is_array() {
        let listed = graph.pointer_mut("/spec/components")?.as_array_mut()?;
        return listed.iter_mut().find(|one| one["name"] == name);
    }
    graph.pointer_mut("/spec/services")?.get_mut(name)
}

impl<'a> Component<'a> {
    /// How many replicas are asked for; one where nothing says how many.
    pub fn replicas(&self) -> u64 {
        self.spec["replicas"].as_u64().unwrap_or(1)
    }

    /// `frontend`, `worker`, `prefill`, `decode`, or a word of the operator's that this program does not use.
    pub fn role(&self) -> &'a str {
        let named = [&self.spec["subComponentType"], &self.spec["type"], &self.spec["componentType"]];
        named.into_iter().find_map(Value::as_str).unwrap_or_default()
    }

    /// Whether it holds the model.
    pub fn is_worker(&self) -> bool {
        matches!(self.role(), "worker" | "prefill" | "decode")
    }

    /// Whether a scaling adapter owns its replicas. In v1beta1 an empty object turns it on, in v1alpha1 a switch.
    pub fn has_scaling_adapter(&self) -> bool {
        let adapter = &self.spec["scalingAdapter"];
        let is_older = self.spec["componentType"].is_string();
        adapter.is_object() && (!is_older || adapter["enabled"] == true)
    }

    /// What its pods are made from. A service's annotations stay on its Deployment.
    pub(super) fn pods(&self) -> Value {
        let mut pods = self.spec.clone();
        if let Some(fields) = pods.as_object_mut() {
            for field in ["replicas", "scalingAdapter", "autoscaling", "minAvailable", "annotations"] {
                fields.remove(field);
            }
        }
        pods
    }

    /// GPUs of one replica, all its nodes together.
    pub fn gpus_per_replica(&self) -> u64 {
        let limit = match self.main_container() {
            Some(main) => &main["resources"]["limits"]["nvidia.com/gpu"],
            None => &self.spec["resources"]["limits"]["gpu"],
        };
        let gpus = limit.as_u64().or_else(|| limit.as_str()?.parse().ok()).unwrap_or(0);
        gpus * self.nodes()
    }

    /// Nodes that one replica spans.
    pub fn nodes(&self) -> u64 {
        self.spec["multinode"]["nodeCount"].as_u64().unwrap_or(1)
    }

    /// The container named `main` of a pod template; the older shape has no such list.
    pub fn main_container(&self) -> Option<&'a Value> {
        let containers = self.spec["podTemplate"]["spec"]["containers"].as_array();
        containers.and_then(|all| all.iter().find(|container| container["name"] == "main"))
    }
}
