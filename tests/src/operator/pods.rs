//! The pod template that an operator makes of a component: environment, ports, probes, volumes, labels.

use serde_json::{Value, json};

use super::access::{list, text};
use super::words;
use super::workload::{Workload, merged_by_name};
use crate::kubernetes::definitions::GraphGeneration;

/// The template of the component's Deployment.
pub(super) fn template(workload: &Workload, generation: GraphGeneration) -> Value {
    let mut template = workload.template.clone();
    let pod = &mut template["spec"];
    let mut main = pod["containers"][0].take();
    set_defaults(&mut main, workload, generation);
    main["env"] = environment(workload, generation, list(&main, "/env"));
    let volumes = volumes(workload, list(pod, "/volumes"), list(&main, "/volumeMounts"));
    if workload.shared_memory.is_some() {
        main["volumeMounts"] =
            appended(&main, "/volumeMounts", json!({"name": "shared-memory", "mountPath": "/dev/shm"}));
    }
    pod["volumes"] = volumes;
    pod["containers"][0] = main;
    pod["serviceAccountName"] = json!(format!("{}-k8s-service-discovery", workload.graph));
    if_absent(pod, "securityContext", json!({"fsGroup": 1000}));
    if_absent(pod, "terminationGracePeriodSeconds", json!(60));
    if_absent(pod, "restartPolicy", json!("Always"));
    for (name, value) in labels(workload, generation) {
        template["metadata"]["labels"][name] = json!(value);
    }
    // 1.5 stamps its version on the component, and takes it off the pods again.
    if let Some(annotations) = template.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(words::ORIGIN_VERSION);
    }
    template
}

/// The labels that select a component's pods, whatever its hash.
pub(super) fn component_labels(workload: &Workload) -> Vec<(&'static str, String)> {
    vec![
        (words::COMPONENT, workload.component.clone()),
        (words::COMPONENT_TYPE, workload.component_type.clone()),
        (words::DYNAMO_NAMESPACE, workload.dynamo_namespace()),
    ]
}

fn labels(workload: &Workload, generation: GraphGeneration) -> Vec<(&'static str, String)> {
    let mut labels = component_labels(workload);
    labels.push((words::GRAPH, workload.graph.clone()));
    labels.push((words::SELECTOR, workload.name.clone()));
    labels.push((words::METRICS, "true".to_owned()));
    labels.extend(workload.sub_type.clone().map(|kind| (words::SUB_COMPONENT_TYPE, kind)));
    if generation == GraphGeneration::V1Beta1 {
        labels.extend(workload.hash.clone().map(|hash| (words::WORKER_HASH, hash)));
        labels.push((words::DISCOVERY_BACKEND, "kubernetes".to_owned()));
        labels.push((words::DISCOVERY_ENABLED, "true".to_owned()));
    }
    labels
}

/// What a component's container gets where its author says nothing. Command and arguments are replaced one by one:
/// a command alone keeps the default arguments, arguments alone follow the default command.
fn set_defaults(main: &mut Value, workload: &Workload, generation: GraphGeneration) {
    if workload.is_frontend() {
        if_absent(main, "command", json!(["python3"]));
        if_absent(main, "args", json!(["-m", "dynamo.frontend"]));
        if_absent(main, "ports", json!([port("http", 8000)]));
        if_absent(
            main,
            "livenessProbe",
            probe("/live", "http", &[("initialDelaySeconds", 15), ("timeoutSeconds", 1)]),
        );
        if_absent(
            main,
            "readinessProbe",
            probe("/health", "http", &[("initialDelaySeconds", 10), ("timeoutSeconds", 3)]),
        );
        return;
    }
    if_absent(main, "command", json!(["/bin/sh", "-c"]));
    let ports = match generation {
        GraphGeneration::V1Alpha1 => json!([port("system", 9090)]),
        GraphGeneration::V1Beta1 => json!([port("system", 9090), port("nixl", 19090)]),
    };
    if_absent(main, "ports", ports);
    if workload.is_worker() {
        // One failed liveness probe kills a worker.
        let impatient = [("periodSeconds", 5), ("timeoutSeconds", 4), ("failureThreshold", 1)];
        if_absent(main, "livenessProbe", probe("/live", "system", &impatient));
        if_absent(main, "readinessProbe", probe("/health", "system", &[("timeoutSeconds", 4)]));
        let patient = [("timeoutSeconds", 5), ("failureThreshold", 720)];
        if_absent(main, "startupProbe", probe("/live", "system", &patient));
    }
}

fn port(name: &str, number: u16) -> Value {
    json!({"name": name, "containerPort": number, "protocol": "TCP"})
}

/// A probe every ten seconds that fails after three, unless `timing` says otherwise.
fn probe(path: &str, port: &str, timing: &[(&str, u32)]) -> Value {
    let mut probe = json!({
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": 10,
        "failureThreshold": 3,
    });
    for (name, number) in timing {
        probe[name] = json!(number);
    }
    probe
}

/// The operator's variables, then the user's, which win.
fn environment(workload: &Workload, generation: GraphGeneration, given: &[Value]) -> Value {
    let newer = generation == GraphGeneration::V1Beta1;
    let namespace = workload.dynamo_namespace();
    let mut own = vec![
        variable("DYN_COMPONENT", &workload.component_type),
        variable("DYN_DISCOVERY_BACKEND", "kubernetes"),
        variable("DYN_NAMESPACE", &namespace),
        variable("DYN_PARENT_DGD_K8S_NAME", &workload.graph),
        variable("DYN_PARENT_DGD_K8S_NAMESPACE", &workload.namespace),
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_UID", "metadata.uid"),
    ];
    if workload.is_frontend() {
        own.extend([variable("DYNAMO_PORT", "8000"), variable("DYN_HTTP_PORT", "8000")]);
        if newer {
            own.push(variable("DYN_NAMESPACE_PREFIX", &namespace));
        }
    }
    if workload.is_worker() {
        own.extend([
            variable("DYN_HEALTH_CHECK_ENABLED", "false"),
            variable("DYN_SYSTEM_ENABLED", "true"),
            variable("DYN_SYSTEM_PORT", "9090"),
            variable("DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS", r#"["generate"]"#),
        ]);
        if newer {
            own.extend([
                variable("DYN_FORWARDPASS_METRIC_PORT", "20380"),
                variable("NIXL_TELEMETRY_ENABLE", "n"),
                variable("NIXL_TELEMETRY_EXPORTER", "prometheus"),
                variable("NIXL_TELEMETRY_PROMETHEUS_PORT", "19090"),
            ]);
            own.extend(workload.hash.as_ref().map(|hash| variable("DYN_NAMESPACE_WORKER_SUFFIX", hash)));
        }
    }
    own.extend_from_slice(given);
    merged_by_name(&own)
}

fn variable(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

/// A mount whose name no volume has becomes the claim of that name, and /dev/shm comes last.
fn volumes(workload: &Workload, given: &[Value], mounts: &[Value]) -> Value {
    let mut volumes = given.to_vec();
    for mount in mounts {
        let name = text(mount, "/name");
        if !volumes.iter().any(|volume| text(volume, "/name") == name) {
            volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        }
    }
    if let Some(size) = &workload.shared_memory {
        volumes.push(json!({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}}));
    }
    json!(volumes)
}

fn appended(object: &Value, pointer: &str, entry: Value) -> Value {
    json!([list(object, pointer), &[entry]].concat())
}

fn if_absent(object: &mut Value, name: &str, value: Value) {
    if object.get(name).is_none_or(Value::is_null) {
        object[name] = value;
    }
}
