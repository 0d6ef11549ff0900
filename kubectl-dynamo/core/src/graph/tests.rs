//! Tests of the view: both API versions, and documents that are not graphs.

use serde_json::{Value, json};

use super::*;

fn v1beta1() -> Value {
    json!({
        "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
        "metadata": { "name": "g", "uid": "1", "generation": 2 },
        "spec": { "env": [{ "name": "DYN_LOG" }], "components": [{
            "name": "worker", "type": "prefill", "replicas": 2, "multinode": { "nodeCount": 2 },
            "podTemplate": { "spec": {
                "nodeSelector": { "pool": "a" },
                "initContainers": [{ "name": "wait" }],
                "volumes": [{ "name": "models", "persistentVolumeClaim": { "claimName": "models" } }],
                "containers": [{ "name": "sidecar", "image": "s:1" }, {
                    "name": "main", "image": "r:1", "command": ["python3"], "args": ["-m", "dynamo.vllm"],
                    "env": [{ "name": "A", "value": "b" }],
                    "envFrom": [{ "secretRef": { "name": "hf" } }],
                    "volumeMounts": [{ "name": "models", "mountPath": "/m" }],
                    "resources": { "requests": { "cpu": "1" }, "limits": { "nvidia.com/gpu": "4" } },
                }],
            } },
        }] },
    })
}

fn v1alpha1() -> Value {
    json!({
        "apiVersion": "nvidia.com/v1alpha1", "kind": "DynamoGraphDeployment",
        "metadata": { "name": "g", "uid": "1", "generation": 2 },
        "spec": { "envs": [{ "name": "DYN_LOG" }], "services": { "worker": {
            "componentType": "worker", "subComponentType": "prefill", "replicas": 2, "multinode": { "nodeCount": 2 },
            "resources": { "requests": { "cpu": "1" }, "limits": { "gpu": "4" } },
            "envs": [{ "name": "A", "value": "b" }],
            "envFromSecret": "hf",
            "volumeMounts": [{ "name": "models", "mountPoint": "/m" }],
            "extraPodSpec": {
                "nodeSelector": { "pool": "a" },
                "initContainers": [{ "name": "wait" }],
                "mainContainer": { "image": "r:1", "command": ["python3"], "args": ["-m", "dynamo.vllm"] },
            },
        } } },
    })
}

#[test]
fn both_api_versions_are_read_in_the_same_way() {
    for graph in [v1beta1(), v1alpha1()] {
        let graph = GraphView::new(&graph);
        let [worker] = graph.components()[..] else { panic!("one component") };
        assert_eq!(
            (worker.name, worker.role(), worker.replicas(), worker.nodes()),
            ("worker", "prefill", 2, 2)
        );
        assert!(worker.is_worker() && worker.is_multinode() && !worker.has_scaling_adapter());
        assert_eq!(worker.gpus_per_replica(), 8);
        assert_eq!((worker.requests()["cpu"].as_str(), worker.limits()[GPU_RESOURCE].as_str()), ("1", "4"));
        assert_eq!(worker.main_container().image(), Some("r:1"));
        assert_eq!(worker.main_container().command(), ["python3", "-m", "dynamo.vllm"]);
        assert_eq!((worker.env_var("A"), worker.env_from_secret()), (Some("b"), Some("hf")));
        assert_eq!((worker.pvcs(), worker.pvc_mounts()), (vec!["models"], vec![("models", "/m")]));
        assert_eq!((worker.node_selector()["pool"].as_str(), worker.init_containers()), ("a", vec!["wait"]));
        assert_eq!((graph.env_names(), graph.name(), graph.generation()), (vec!["DYN_LOG"], "g", Some(2)));
    }
}

#[test]
fn documents_of_any_shape_are_read() {
    for (path, value) in [
        ("/metadata", json!("foo")),
        ("/spec", json!([])),
        ("/spec/components", json!({ "name": "worker" })),
        ("/spec/components/0", json!("worker")),
        ("/spec/components/0/podTemplate", json!([{ "spec": 1 }])),
        ("/spec/components/0/podTemplate/spec/containers", json!({ "main": {} })),
    ] {
        let mut graph = v1beta1();
        *graph.pointer_mut(path).expect("the field exists") = value;
        let view = GraphView::new(&graph);
        for component in view.components() {
            let _ =
                (component.gpus_per_replica(), component.pvc_mounts(), component.main_container().command());
        }
        let _ =
            (view.references(), view.listed_pvcs().count(), view.restart_status(), view.available_replicas());
        assert!(component_mut(&mut graph, "other").is_none(), "{path}");
    }
}

#[test]
fn references_are_found_at_any_depth() {
    let document = json!({ "a": [{ "claimName": "models" }, { "secretKeyRef": { "name": "hf", "key": "k" } }],
        "b": { "secretRef": { "name": "maybe", "optional": true } }, "envFromSecret": "all", "claimName": 1 });
    let references = References::of_value(&document);
    assert_eq!(references.pvcs.into_iter().collect::<Vec<_>>(), ["models"]);
    let secrets: Vec<(&str, bool)> = references.secrets.into_iter().collect();
    assert_eq!(secrets, [("all", true), ("hf", true), ("maybe", false)]);
}

#[test]
fn status_is_read_from_both_api_versions() {
    for field in ["components", "services"] {
        let graph = json!({ "status": { "state": "successful", field: {
            "frontend": { "availableReplicas": 1 }, "worker": { "readyReplicas": 2 }, "odd": 3,
        } } });
        let graph = GraphView::new(&graph);
        assert_eq!((graph.state(), graph.available_replicas()), (Some("successful"), 3));
    }
}
