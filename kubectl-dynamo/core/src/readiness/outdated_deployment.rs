//! Finds the Deployment of a v1alpha1 component whose pods do not have the requested container.
//!
//! 0.9.1 can update a DynamoComponentDeployment, report it as available, and leave the Deployment as it was. This is
//! correct if the pod template does not change, for example if only the order of variables does. Otherwise the pods of
//! the previous spec continue to run.

use std::collections::BTreeMap;

use super::{Observation, Problem, Workload, is_component};
use crate::graph::{ComponentView, GraphView};
use crate::object::ObjectView;

/// Returns the problem of the first component whose Deployment lacks a value of the graph. Deployments that are not
/// observed are skipped: the permission to read them is optional.
pub(super) fn outdated_deployment(graph: GraphView<'_>, observation: &Observation) -> Option<Problem> {
    // The status of other API versions names the generation that it belongs to. Pods of several nodes do not belong to
    // a Deployment, and their operator rewrites the command.
    let components = graph.components().into_iter().filter(|one| graph.has_services() && !one.is_multinode());
    let mut deployments = components.filter_map(|component| {
        let workload = workload_of(graph, component.name, observation)?;
        let container = ObjectView::new(workload.document())
            .items("/spec/template/spec/containers")
            .find(|container| container.text("/name") == Some("main"))?;
        Some((workload, missing_field(graph, &component, container)?))
    });
    let (workload, field) = deployments.next()?;
    Some(Problem::OutdatedDeployment {
        deployment: workload.name().to_owned(),
        namespace: workload.namespace().to_owned(),
        field,
    })
}

fn workload_of<'a>(
    graph: GraphView<'_>,
    component: &str,
    observation: &'a Observation,
) -> Option<&'a Workload> {
    let mut owners = observation.components.iter().map(ObjectView::new);
    let owner = owners.find(|one| is_component(*one, graph, component))?.uid();
    observation.workloads.iter().find(|one| ObjectView::new(one.document()).is_owned_by(owner))
}

/// Returns the first requested field that the container does not have. Operators and policies add variables, so
/// additional ones do not count.
fn missing_field(
    graph: GraphView<'_>,
    component: &ComponentView<'_>,
    container: ObjectView<'_>,
) -> Option<String> {
    let requested = component.main_container().view();
    if requested.text("/image").is_some_and(|image| !is_same_image(image, container.text("/image"))) {
        return Some("image".to_owned());
    }
    for (field, pointer) in [("command", "/command"), ("args", "/args")] {
        let mut words = requested.texts(pointer).peekable();
        if words.peek().is_some() && !words.eq(container.texts(pointer)) {
            return Some(field.to_owned());
        }
    }
    let variables = graph.env().chain(component.env());
    let variables: BTreeMap<&str, ObjectView<'_>> =
        variables.filter_map(|one| Some((one.text("/name")?, one))).collect();
    let has_variable = |name: &str, requested: ObjectView<'_>| {
        let mut found = container.items("/env").filter(|one| one.text("/name") == Some(name));
        found.any(|one| has_value(one, requested))
    };
    let missing = variables.into_iter().find(|(name, requested)| !has_variable(name, *requested));
    missing.map(|(name, _)| format!("env {name}"))
}

/// Returns whether a variable has the requested value, or refers to the requested key.
fn has_value(variable: ObjectView<'_>, requested: ObjectView<'_>) -> bool {
    ["secretKeyRef", "configMapKeyRef"]
        .iter()
        .flat_map(|source| ["name", "key"].map(|part| format!("/valueFrom/{source}/{part}")))
        .chain(["/value".to_owned()])
        .all(|pointer| {
            variable.text(&pointer).unwrap_or_default() == requested.text(&pointer).unwrap_or_default()
        })
}

/// Compares the last part of two images without digests: a policy can replace the registry and add a digest.
fn is_same_image(requested: &str, found: Option<&str>) -> bool {
    let last_part = |image: &str| {
        let name = image.split('@').next().unwrap_or_default();
        name.rsplit('/').next().unwrap_or_default().to_owned()
    };
    found.is_some_and(|found| last_part(found) == last_part(requested))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::typed;
    use crate::readiness::{DeploymentState, deployment_state};
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{Value, json};

    /// Returns a graph that its operator reports as ready, with a Deployment of this container.
    fn observation(container: Value) -> Observation {
        let requested = json!({
            "image": "nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.1", "args": ["-m", "dynamo.vllm"],
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "service" }],
        });
        let mut container = container;
        container["name"] = "main".into();
        let containers = json!([{ "name": "sidecar" }, container]);
        Observation {
            graph: Some(json!({
                "metadata": { "name": "agg", "uid": "graph", "generation": 2 },
                "spec": {
                    "envs": [{ "name": "A", "value": "graph" }],
                    "services": { "Worker": {
                        "extraPodSpec": { "mainContainer": requested },
                        "envs": [
                            { "name": "B", "value": "2" },
                            { "name": "T", "valueFrom": { "secretKeyRef": { "name": "hf", "key": "token" } } },
                        ],
                    } },
                },
                "status": { "state": "successful", "conditions": [{ "type": "Ready", "status": "True" }] },
            })),
            components: vec![json!({
                "metadata": {
                    "name": "agg-worker", "uid": "component", "generation": 4,
                    "ownerReferences": [{ "uid": "graph" }],
                },
                "spec": { "serviceName": "Worker" },
                "status": {
                    "observedGeneration": 4, "conditions": [{ "type": "Available", "status": "True" }],
                },
            })],
            workloads: vec![
                typed::<Deployment>(json!({
                    "metadata": {
                        "name": "agg-worker", "namespace": "n", "ownerReferences": [{ "uid": "component" }],
                    },
                    "spec": { "template": { "spec": { "containers": containers } } },
                }))
                .into(),
            ],
            ..Observation::default()
        }
    }

    fn container() -> Value {
        json!({
            "image": "mirror.test/ai-dynamo/vllm-runtime:0.9.1@sha256:0", "command": ["python3"],
            "args": ["-m", "dynamo.vllm"],
            "env": [
                { "name": "B", "value": "2" }, { "name": "DYN_COMPONENT", "value": "worker" },
                { "name": "A", "value": "1" },
                { "name": "T", "valueFrom": { "secretKeyRef": { "name": "hf", "key": "token" } } },
            ],
        })
    }

    #[test]
    fn deployment_with_the_requested_container_is_ready() {
        assert_eq!(deployment_state(&observation(container())), DeploymentState::Ready);
        // Without the permission to read Deployments, the operator's report counts.
        let without = Observation { workloads: Vec::new(), ..observation(json!({})) };
        assert_eq!(deployment_state(&without), DeploymentState::Ready);
    }

    #[test]
    fn deployment_of_the_previous_spec_is_not_ready() {
        for (pointer, value, expected) in [
            ("/image", json!("nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.9.0"), "image"),
            ("/args", json!(["-m", "dynamo.vllm", "--tensor-parallel-size", "2"]), "args"),
            ("/env/0/value", json!("service"), "env B"),
            ("/env/2/value", json!("graph"), "env A"),
            ("/env/2/name", json!("Z"), "env A"),
            ("/env/3/valueFrom/secretKeyRef/key", json!("other"), "env T"),
        ] {
            let mut outdated = container();
            *outdated.pointer_mut(pointer).expect("the field") = value;
            let state = deployment_state(&observation(outdated));
            let DeploymentState::Blocked { problem } = state else { panic!("{pointer}: {state:?}") };
            let Problem::OutdatedDeployment { field, .. } = &problem else { panic!("{problem:?}") };
            assert_eq!(field, expected);
            assert!(problem.is_transient());
        }
    }
}
