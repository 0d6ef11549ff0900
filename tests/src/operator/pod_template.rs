//! The pod template that an operator creates for a component: environment, ports, probes, volumes, labels.
//! It does not access the API server.

use serde_json::{Value, json};

use super::api_client::{list, text};
use super::names;
use super::workload::{ComponentWorkload, merge_by_name};
use crate::kubernetes::definitions::GraphGeneration;
use crate::kubernetes::dynamo_services;

/// Returns the pod template of the component's Deployment.
pub(super) fn build(workload: &ComponentWorkload, generation: GraphGeneration) -> Value {
    let mut template = workload.template.clone();
    let pod = &mut template["spec"];
    let mut main = pod["containers"][0].take();
    set_container_defaults(&mut main, workload, generation);
    main["env"] = container_environment(workload, generation, list(&main, "/env"));
    let volumes = pod_volumes(workload, list(pod, "/volumes"), list(&main, "/volumeMounts"));
    if workload.shared_memory.is_some() {
        main["volumeMounts"] =
            with_appended(&main, "/volumeMounts", json!({"name": "shared-memory", "mountPath": "/dev/shm"}));
    }
    pod["volumes"] = volumes;
    pod["containers"][0] = main;
    pod["serviceAccountName"] = json!(format!("{}-k8s-service-discovery", workload.graph));
    set_if_absent(pod, "securityContext", json!({"fsGroup": 1000}));
    set_if_absent(pod, "terminationGracePeriodSeconds", json!(60));
    set_if_absent(pod, "restartPolicy", json!("Always"));
    for (name, value) in pod_labels(workload, generation) {
        template["metadata"]["labels"][name] = json!(value);
    }
    // 1.5 sets its version on the component and removes it from the pods.
    if let Some(annotations) = template.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(names::ORIGIN_VERSION);
    }
    template
}

/// Returns the labels that select a component's pods, independent of its hash.
pub(super) fn component_labels(workload: &ComponentWorkload) -> Vec<(&'static str, String)> {
    vec![
        (names::COMPONENT_LABEL, workload.component.clone()),
        (names::COMPONENT_TYPE_LABEL, workload.component_type.clone()),
        (names::DYNAMO_NAMESPACE_LABEL, workload.dynamo_namespace()),
    ]
}

fn pod_labels(workload: &ComponentWorkload, generation: GraphGeneration) -> Vec<(&'static str, String)> {
    let mut labels = component_labels(workload);
    labels.push((names::GRAPH_LABEL, workload.graph.clone()));
    labels.push((names::SELECTOR_LABEL, workload.name.clone()));
    labels.push((names::METRICS_LABEL, "true".to_owned()));
    labels.extend(workload.sub_type.clone().map(|kind| (names::SUB_COMPONENT_TYPE_LABEL, kind)));
    if generation == GraphGeneration::V1Beta1 {
        labels.extend(workload.hash.clone().map(|hash| (names::WORKER_HASH_LABEL, hash)));
        labels.push((names::DISCOVERY_BACKEND, "kubernetes".to_owned()));
        labels.push((names::DISCOVERY_ENABLED, "true".to_owned()));
    }
    labels
}

/// Sets defaults of a component's container. Command and arguments are replaced separately: a custom command
/// keeps the default arguments, and custom arguments keep the default command.
fn set_container_defaults(main: &mut Value, workload: &ComponentWorkload, generation: GraphGeneration) {
    if workload.is_frontend() {
        set_if_absent(main, "command", json!(["python3"]));
        set_if_absent(main, "args", json!(["-m", "dynamo.frontend"]));
        set_if_absent(main, "ports", json!([container_port("http", 8000)]));
        set_if_absent(
            main,
            "livenessProbe",
            probe("/live", "http", &[("initialDelaySeconds", 15), ("timeoutSeconds", 1)]),
        );
        set_if_absent(
            main,
            "readinessProbe",
            probe("/health", "http", &[("initialDelaySeconds", 10), ("timeoutSeconds", 3)]),
        );
        return;
    }
    set_if_absent(main, "command", json!(["/bin/sh", "-c"]));
    let ports = match generation {
        GraphGeneration::V1Alpha1 => json!([container_port("system", 9090)]),
        GraphGeneration::V1Beta1 => json!([container_port("system", 9090), container_port("nixl", 19090)]),
    };
    set_if_absent(main, "ports", ports);
    if workload.is_worker() {
        // One failed liveness probe kills a worker.
        let liveness_timing = [("periodSeconds", 5), ("timeoutSeconds", 4), ("failureThreshold", 1)];
        set_if_absent(main, "livenessProbe", probe("/live", "system", &liveness_timing));
        set_if_absent(main, "readinessProbe", probe("/health", "system", &[("timeoutSeconds", 4)]));
        let startup_timing = [("timeoutSeconds", 5), ("failureThreshold", 720)];
        set_if_absent(main, "startupProbe", probe("/live", "system", &startup_timing));
    }
}

fn container_port(name: &str, number: u16) -> Value {
    json!({"name": name, "containerPort": number, "protocol": "TCP"})
}

/// Returns a probe every ten seconds that fails after three failures, unless `timing` overrides it.
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

/// Merges the operator's variables with the user's, which take precedence.
fn container_environment(
    workload: &ComponentWorkload,
    generation: GraphGeneration,
    user_env: &[Value],
) -> Value {
    let newer = generation == GraphGeneration::V1Beta1;
    let namespace = workload.dynamo_namespace();
    let mut own = vec![
        env_var("DYN_COMPONENT", &workload.component_type),
        env_var("DYN_DISCOVERY_BACKEND", "kubernetes"),
        env_var("DYN_NAMESPACE", &namespace),
        env_var("DYN_PARENT_DGD_K8S_NAME", &workload.graph),
        env_var("DYN_PARENT_DGD_K8S_NAMESPACE", &workload.namespace),
        env_field_ref("POD_NAME", "metadata.name"),
        env_field_ref("POD_NAMESPACE", "metadata.namespace"),
        env_field_ref("POD_UID", "metadata.uid"),
    ];
    if !newer {
        own.extend([
            env_var("ETCD_ENDPOINTS", &dynamo_services::etcd_endpoints()),
            env_var("NATS_SERVER", &dynamo_services::nats_server()),
        ]);
    }
    if workload.is_frontend() {
        own.extend([env_var("DYNAMO_PORT", "8000"), env_var("DYN_HTTP_PORT", "8000")]);
        if newer {
            own.push(env_var("DYN_NAMESPACE_PREFIX", &namespace));
        }
    }
    if workload.is_worker() {
        own.extend([
            env_var("DYN_HEALTH_CHECK_ENABLED", "false"),
            env_var("DYN_SYSTEM_ENABLED", "true"),
            env_var("DYN_SYSTEM_PORT", "9090"),
            env_var("DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS", r#"["generate"]"#),
        ]);
        if newer {
            own.extend([
                env_var("DYN_FORWARDPASS_METRIC_PORT", "20380"),
                env_var("NIXL_TELEMETRY_ENABLE", "n"),
                env_var("NIXL_TELEMETRY_EXPORTER", "prometheus"),
                env_var("NIXL_TELEMETRY_PROMETHEUS_PORT", "19090"),
            ]);
            own.extend(workload.hash.as_ref().map(|hash| env_var("DYN_NAMESPACE_WORKER_SUFFIX", hash)));
        }
    }
    own.extend_from_slice(user_env);
    merge_by_name(&own)
}

fn env_var(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn env_field_ref(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}})
}

/// A mount whose name matches no volume becomes the PVC of that name; /dev/shm is last.
fn pod_volumes(workload: &ComponentWorkload, declared: &[Value], mounts: &[Value]) -> Value {
    let mut volumes = declared.to_vec();
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

fn with_appended(object: &Value, pointer: &str, entry: Value) -> Value {
    json!([list(object, pointer), &[entry]].concat())
}

fn set_if_absent(object: &mut Value, name: &str, value: Value) {
    if object.get(name).is_none_or(Value::is_null) {
        object[name] = value;
    }
}
