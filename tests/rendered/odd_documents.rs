//! Documents of any shape: everything that reads a graph or an observed object gives a result and never panics.
//! `PROPTEST_CASES` sets the number of documents (default: ten thousand).

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod};
use kubectl_dynamo_cluster::{TypedKind, parse_object, pvc_facts};
use kubectl_dynamo_core::change::{
    GraphChange, RolloutStrategy, differences, import_graph, owned_by, release_spec_ownership, revision,
    spec_owners, three_way_merge, yield_replicas,
};
use kubectl_dynamo_core::diagnosis::{Snapshot, diagnose, redact_object};
use kubectl_dynamo_core::graph::{GraphView, References, component_mut};
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::readiness::{self, Observation, Workload};
use kubectl_dynamo_core::resources::{
    FIELD_MANAGER, GraphApi, detect_logging, invalid_metadata_field, object_at, render, update_spec_hash,
};
use kubectl_dynamo_tests::intents::plan_for_release;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::case_count;

/// The names of fields that the views read, so that random objects have them.
const FIELDS: &[&str] = &[
    "metadata",
    "name",
    "labels",
    "spec",
    "components",
    "services",
    "worker",
    "podTemplate",
    "containers",
    "main",
    "status",
    "conditions",
    "type",
    "replicas",
    "env",
    "resources",
    "limits",
    "volumes",
    "extraPodSpec",
];

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::sample::select(FIELDS).prop_map(Value::from),
        "\\PC{0,4}".prop_map(Value::from),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 32, 4, |inner| {
        let field = proptest::sample::select(FIELDS).prop_map(ToOwned::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(field, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// The places of all values in a document, as JSON pointers.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    let child = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    found.push(path.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| places(value, &child(key), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, item)| places(item, &child(&at.to_string()), found));
        }
        _ => {}
    }
}

/// A valid document with one value replaced, or any document.
fn damaged(valid: Vec<Value>) -> impl Strategy<Value = Value> {
    (any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), document(), 0..8u8).prop_map(
        move |(which, place, replacement, kind)| {
            if kind == 0 {
                return replacement;
            }
            let mut document = valid[which.index(valid.len())].clone();
            let mut found = Vec::new();
            places(&document, "", &mut found);
            let place = &found[place.index(found.len())];
            *document.pointer_mut(place).expect("the place exists") = replacement;
            document
        },
    )
}

/// Rendered graphs of both API versions, as the server returns them.
fn graphs() -> Vec<Value> {
    let intents = [crate::aggregated(), crate::disaggregated_with_offload()];
    let releases = [
        &kubectl_dynamo_core::release::CATALOG[0],
        kubectl_dynamo_core::release::CATALOG.last().expect("rows"),
    ];
    let mut graphs = Vec::new();
    for (intent, release) in intents.iter().flat_map(|intent| releases.map(|release| (intent, release))) {
        let Ok(plan) = plan_for_release(intent, release) else { continue };
        for api in [GraphApi::V1Alpha1, GraphApi::V1Beta1] {
            let mut graph = render(&plan, "serving", api).pop().expect("the graph is last").object;
            let metadata = object_at(&mut graph, &["metadata"]);
            metadata.insert("uid".into(), "1".into());
            metadata.insert("generation".into(), 2.into());
            metadata.insert(
                "managedFields".into(),
                json!([{ "manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": { "f:spec": { "f:components": {} } } }]),
            );
            let spec = object_at(&mut graph, &["spec"]);
            spec.insert("restart".into(), json!({ "id": "r" }));
            object_at(&mut graph, &["status"]).extend([
                ("state".to_owned(), "pending".into()),
                ("observedGeneration".into(), 2.into()),
                (
                    "conditions".into(),
                    json!([{ "type": "Ready", "status": "True", "observedGeneration": 2 }]),
                ),
                ("restart".into(), json!({ "observedID": "r", "inProgress": ["worker"] })),
                ("components".into(), json!({ "worker": { "availableReplicas": 1 } })),
            ]);
            graphs.push(graph);
        }
    }
    graphs
}

fn run(cases: impl Strategy<Value = (Value, Value)>, check: impl Fn(&Value, &Value)) {
    let config = Config { cases: case_count(10_000), failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&cases, |(one, other)| {
        check(&one, &other);
        Ok(())
    });
    result.expect("every document is read");
}

#[test]
fn graphs_of_any_shape_are_read_and_changed() {
    run((damaged(graphs()), damaged(graphs())), |graph, other| {
        let view = GraphView::new(graph);
        for component in view.components() {
            let _ =
                (component.role(), component.replicas(), component.gpus_per_replica(), component.requests());
            let _ = (
                component.pvcs(),
                component.pvc_mounts(),
                component.env_var("A"),
                component.env_from_secret(),
            );
            let _ = (component.tolerations(), component.node_selector(), component.init_containers());
            let _ = (
                component.main_container().command(),
                component.pod_template_fields(),
                component.runtime_version(),
            );
        }
        let _ = (
            view.references(),
            References::of_value(graph),
            view.listed_pvcs().count(),
            view.restart_status(),
        );
        let _ = (
            view.available_replicas(),
            view.env_names(),
            invalid_metadata_field(graph),
            redact_object(graph),
        );
        let _ = (import_graph(graph), detect_logging(graph), owned_by(graph, FIELD_MANAGER));
        let _ = (spec_owners(graph, "a"), release_spec_ownership(graph, "a"), revision::number(graph));
        let _ = (differences(graph, other), three_way_merge(graph, other, graph));
        for strategy in [RolloutStrategy::AllWorkers, RolloutStrategy::PerComponent] {
            let _ = GraphChange::between(Some(graph), other, strategy).extra_gpus();
        }
        let mut changed = graph.clone();
        let _ = component_mut(&mut changed, "worker");
        yield_replicas(&mut changed, other, FIELD_MANAGER);
        update_spec_hash(&mut changed);
        let snapshot = Snapshot {
            observation: Observation {
                graph: Some(graph.clone()),
                components: vec![other.clone()],
                workloads: vec![Workload::Custom(other.clone())],
                ..Observation::default()
            },
            ..Snapshot::default()
        };
        let _ = (diagnose(&snapshot), readiness::deployment_state(&snapshot.observation));
    });
}

/// Parses a document as the plugin does; `None` is reported to the user.
fn parsed<T: TypedKind>(document: &Value) -> Option<kubectl_dynamo_core::object::ObservedObject<T>> {
    parse_object(document.clone()).ok()
}

#[test]
fn observed_objects_of_any_shape_are_parsed_or_rejected() {
    let state =
        json!({ "terminated": { "exitCode": 1, "message": "m", "finishedAt": "2026-01-01T00:00:00Z" } });
    let pod = json!({
        "metadata": { "name": "p", "uid": "2", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { readiness::COMPONENT_LABEL: "worker" } },
        "spec": { "nodeName": "n", "containers": [{ "name": "main", "resources": { "limits": { "nvidia.com/gpu": "1" } } }] },
        "status": { "phase": "Running",
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z" }],
            "containerStatuses": [{ "name": "main", "restartCount": 3, "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                "lastState": state }] },
    });
    let job = json!({ "metadata": { "name": "j", "uid": "3" }, "spec": { "template": { "spec": { "containers": [] } } },
        "status": { "succeeded": 1, "conditions": [{ "type": "Failed", "status": "True" }] } });
    let event = json!({ "reason": "FailedCreate", "involvedObject": { "uid": "3" }, "lastTimestamp": "2026-01-01T00:00:00Z" });
    let pvc = json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } });
    let valid = vec![pod, job, event, pvc];
    run((damaged(valid), damaged(graphs())), |document, graph| {
        let _ = ObjectView::new(document).condition("Ready");
        let pods: Vec<_> = parsed::<Pod>(document).into_iter().collect();
        let (job, event) = (parsed::<Job>(document), parsed::<Event>(document));
        for pod in &pods {
            let _ =
                (readiness::pod_status(pod), readiness::pod_problem(pod), readiness::fetch_termination(pod));
        }
        let _ = (readiness::components(graph, &pods), readiness::restart_counts(&pods));
        if let (Some(job), Some(event)) = (&job, &event) {
            let _ = (readiness::job_problem(job, event), readiness::job_condition(job, "Failed"));
            let _ = readiness::pods_of_job(job, &pods);
        }
        let pvcs: Vec<_> = parsed::<PersistentVolumeClaim>(document).into_iter().collect();
        let _: Vec<_> = pvcs.iter().map(|pvc| pvc_facts(pvc)).collect();
        let observation = Observation { graph: Some(graph.clone()), pods, ..Observation::default() };
        let events = event.into_iter().collect();
        let _ = diagnose(&Snapshot { observation, pvcs, events, ..Snapshot::default() });
    });
}
