//! The operator's conversion of a v1alpha1 graph to v1beta1, as far as rendered graphs need it, and access to
//! fields that differ between the two API versions.

use serde_json::{Map, Value, json};

/// Converts a graph to v1beta1. PVCs and service annotations do not exist there and are dropped.
pub fn to_v1beta1(graph: &Value) -> Value {
    let empty = Map::new();
    let services = graph["spec"]["services"].as_object().unwrap_or(&empty);
    let components: Vec<Value> = services.iter().map(|(name, service)| component(name, service)).collect();
    json!({
        "apiVersion": "nvidia.com/v1beta1",
        "kind": graph["kind"],
        "metadata": graph["metadata"],
        "spec": { "backendFramework": graph["spec"]["backendFramework"], "components": components },
    })
}

fn component(name: &str, service: &Value) -> Value {
    let kind = service.get("subComponentType").unwrap_or(&service["componentType"]);
    let mut component = json!({ "name": name, "type": kind, "podTemplate": pod_template(service) });
    for field in ["replicas", "multinode", "runtimeVersionOverride"] {
        if let Some(value) = service.get(field) {
            component[field] = value.clone();
        }
    }
    match &service["sharedMemory"] {
        Value::Null => {}
        memory if memory["disabled"] == true => component["sharedMemorySize"] = json!("0"),
        memory => component["sharedMemorySize"] = memory["size"].clone(),
    }
    component
}

fn pod_template(service: &Value) -> Value {
    let mut pod = service["extraPodSpec"].clone();
    let mut main =
        pod.as_object_mut().and_then(|pod| pod.remove("mainContainer")).unwrap_or_else(|| json!({}));
    main["name"] = json!("main");
    for (alpha_field, beta_field) in
        [("envs", "env"), ("livenessProbe", "livenessProbe"), ("readinessProbe", "readinessProbe")]
    {
        if let Some(value) = service.get(alpha_field) {
            main[beta_field] = value.clone();
        }
    }
    if let Some(resources) = service.get("resources") {
        main["resources"] = rename_gpu_resource(resources);
    }
    for mount in service["volumeMounts"].as_array().into_iter().flatten() {
        push(&mut main, "volumeMounts", json!({ "name": mount["name"], "mountPath": mount["mountPoint"] }));
        let pvc = json!({ "claimName": mount["name"] });
        push(&mut pod, "volumes", json!({ "name": mount["name"], "persistentVolumeClaim": pvc }));
    }
    pod["containers"] = json!([main]);
    let mut template = json!({ "spec": pod });
    if let Some(metadata) = service.get("extraPodMetadata") {
        template["metadata"] = metadata.clone();
    }
    template
}

fn rename_gpu_resource(resources: &Value) -> Value {
    let mut resources_copy = resources.clone();
    let limits = resources_copy.pointer_mut("/limits").and_then(Value::as_object_mut);
    if let Some(limits) = limits
        && let Some(gpus) = limits.remove("gpu")
    {
        limits.insert("nvidia.com/gpu".into(), gpus);
    }
    resources_copy
}

fn push(object: &mut Value, field: &str, item: Value) {
    if let Some(list) = object[field].as_array_mut() {
        list.push(item);
    } else {
        object[field] = json!([item]);
    }
}

/// Returns the graph with unordered lists (components, volumes, mounts) sorted by name.
pub fn sort_lists(mut graph: Value) -> Value {
    let by_name = |list: &mut Value| {
        if let Some(list) = list.as_array_mut() {
            list.sort_by_key(|item| item["name"].as_str().unwrap_or_default().to_owned());
        }
    };
    let Some(components) = graph.pointer_mut("/spec/components") else { return graph };
    by_name(components);
    for component in components.as_array_mut().into_iter().flatten() {
        let pod = &mut component["podTemplate"]["spec"];
        if pod.get("volumes").is_some() {
            by_name(&mut pod["volumes"]);
        }
        for container in pod["containers"].as_array_mut().into_iter().flatten() {
            if container.get("volumeMounts").is_some() {
                by_name(&mut container["volumeMounts"]);
            }
        }
    }
    graph
}

/// The command of one component of a graph.
#[derive(Debug, Clone)]
pub struct ComponentCommand {
    /// `frontend`, `worker`, `prefill`, or `decode`.
    pub component: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables with a plain value.
    pub environment: Map<String, Value>,
}

/// Returns the commands of the components of a v1beta1 graph.
pub fn commands(graph: &Value) -> Vec<ComponentCommand> {
    let components = graph["spec"]["components"].as_array().into_iter().flatten();
    components
        .map(|component| {
            let main = &component["podTemplate"]["spec"]["containers"][0];
            let argv = [&main["command"], &main["args"]];
            let argv = argv.into_iter().flat_map(|list| list.as_array().into_iter().flatten());
            let environment = main["env"].as_array().into_iter().flatten();
            ComponentCommand {
                component: text(&component["name"]),
                argv: argv.map(text).collect(),
                environment: environment
                    .filter(|variable| variable.get("valueFrom").is_none())
                    .map(|variable| (text(&variable["name"]), json!(text(&variable["value"]))))
                    .collect(),
            }
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
