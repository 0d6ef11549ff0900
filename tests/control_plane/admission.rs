//! The test operator rejects what the real operators reject, with their codes and messages.

use std::sync::Arc;

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::Status;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;

/// One rejected object: the change to a valid object, and the expected rejection.
struct RejectionCase {
    change: fn(&mut Value),
    code: u16,
    reason: &'static str,
    field: &'static str,
    text: &'static str,
}

pub(crate) async fn v1beta1_graph_is_rejected_with_causes(shared: Arc<Shared>) -> Outcome {
    let rows = [
        RejectionCase {
            change: |graph| graph["spec"]["components"] = json!([]),
            code: 422,
            reason: "Invalid",
            field: "spec.components",
            text: "spec.components: Required value: must have at least one component",
        },
        RejectionCase {
            change: |graph| main_container(graph)["image"] = json!("registry.test/engine:latest"),
            code: 422,
            reason: "Invalid",
            field: "spec.components[1].runtimeVersionOverride",
            text: "is required when the specified main container image has no parseable semantic-version tag",
        },
        RejectionCase {
            change: |graph| main_container(graph)["name"] = json!("engine"),
            code: 422,
            reason: "Invalid",
            field: "spec.components[1].podTemplate.spec.containers",
            text: "Required value: is required",
        },
        RejectionCase {
            change: |graph| graph["spec"]["components"][1]["name"] = json!("FRONTEND"),
            code: 422,
            reason: "Invalid",
            field: "spec.components",
            text: "component names must be unique case-insensitively",
        },
        RejectionCase {
            change: |graph| graph["spec"]["components"][1]["minAvailable"] = json!(1),
            code: 422,
            reason: "Invalid",
            field: "spec.components[1].minAvailable",
            text: "is currently supported only for Grove-backed",
        },
        RejectionCase {
            change: |graph| main_container(graph)["resources"] = json!({"limits": {"nvidia.com/gpu": "abc"}}),
            code: 400,
            reason: "",
            field: "",
            text: "quantities must match the regular expression",
        },
        RejectionCase {
            change: |graph| graph["spec"]["components"][1]["replica"] = json!(1),
            code: 500,
            reason: "",
            field: "",
            text: ".spec.components[name=\"worker\"].replica: field not declared in schema",
        },
    ];
    let namespace = shared.namespace(GraphGeneration::V1Beta1, "admission").await?;
    let graphs = dynamo::graphs(namespace.client(), GraphGeneration::V1Beta1, namespace.name());
    for row in rows {
        let mut graph = dynamo::aggregated_graph("adm", "model-cache", "tiny");
        (row.change)(&mut graph);
        assert_rejection(&row, &dry_run_rejection(&graphs, &graph).await?)?;
    }
    namespace.delete().await
}

pub(crate) async fn v1beta1_graph_rejects_immutable_changes(shared: Arc<Shared>) -> Outcome {
    let rows = [
        RejectionCase {
            change: |graph| graph["spec"]["components"][1]["name"] = json!("worker2"),
            code: 422,
            reason: "Invalid",
            field: "spec.components",
            text: "component topology is immutable and cannot be modified after creation: \
                   components added: [worker2], components removed: [worker]",
        },
        RejectionCase {
            change: |graph| graph["spec"]["backendFramework"] = json!("sglang"),
            code: 422,
            reason: "Invalid",
            field: "spec.backendFramework",
            text: "Invalid value: \"sglang\": is immutable and cannot be changed after creation",
        },
        RejectionCase {
            change: |graph| graph["spec"]["components"][1]["multinode"] = json!({"nodeCount": 2}),
            code: 422,
            reason: "Invalid",
            field: "spec.components[1].multinode",
            text: "cannot change node topology between single-node and multi-node after creation",
        },
    ];
    let namespace = shared.namespace(GraphGeneration::V1Beta1, "admission-update").await?;
    let graphs = dynamo::graphs(namespace.client(), GraphGeneration::V1Beta1, namespace.name());
    let graph = dynamo::aggregated_graph("adm", "model-cache", "tiny");
    let applied = serde_json::to_value(dynamo::apply(&graphs, &graph).await?)?;
    let annotations = &applied["metadata"]["annotations"];
    ensure!(annotations["nvidia.com/workload-provider"] == "component", "{annotations}");
    ensure!(annotations["nvidia.com/dynamo-operator-origin-version"] == "1.5.0", "{annotations}");
    for row in rows {
        let mut changed = graph.clone();
        (row.change)(&mut changed);
        assert_rejection(&row, &dry_run_rejection(&graphs, &changed).await?)?;
    }
    namespace.delete().await
}

pub(crate) async fn v1alpha1_graph_is_rejected_with_plain_text(shared: Arc<Shared>) -> Outcome {
    let forbidden = |change: fn(&mut Value), text| RejectionCase {
        change,
        code: 403,
        reason: "Forbidden",
        field: "",
        text,
    };
    let rows = [
        forbidden(
            |graph| graph["spec"]["services"] = json!({}),
            "spec.services must have at least one service",
        ),
        forbidden(
            |graph| graph["spec"]["services"]["Worker"]["sharedMemory"] = json!({"size": "0"}),
            "spec.services[Worker].sharedMemory.size is required when disabled is false",
        ),
        forbidden(
            |graph| graph["spec"]["services"]["Worker"]["volumeMounts"] = json!([{"name": "model-cache"}]),
            "spec.services[Worker].volumeMounts[0].mountPoint is required when useAsCompilationCache is false",
        ),
        forbidden(
            |graph| graph["spec"]["services"]["Worker"]["ingress"] = json!({"enabled": true}),
            "spec.services[Worker].ingress.host is required when ingress is enabled",
        ),
        RejectionCase {
            change: |graph| graph["spec"]["services"]["Worker"]["replicas"] = json!(-1),
            code: 422,
            reason: "Invalid",
            field: "spec.services.Worker.replicas",
            text: "should be greater than or equal to 0",
        },
    ];
    let namespace = shared.namespace(GraphGeneration::V1Alpha1, "admission").await?;
    let graphs = dynamo::graphs(namespace.client(), GraphGeneration::V1Alpha1, namespace.name());
    for row in rows {
        let mut graph = dynamo::aggregated_graph_v1alpha1("adm", "model-cache", "tiny");
        (row.change)(&mut graph);
        assert_rejection(&row, &dry_run_rejection(&graphs, &graph).await?)?;
    }
    dynamo::apply(&graphs, &dynamo::aggregated_graph_v1alpha1("adm", "model-cache", "tiny")).await?;
    let mut other = dynamo::aggregated_graph_v1alpha1("adm", "model-cache", "tiny");
    let worker = other["spec"]["services"]["Worker"].take();
    other["spec"]["services"] = json!({"W2": worker});
    let refused = dry_run_rejection(&graphs, &other).await;
    // Another author adds a service. The first author's service remains, so only one is added.
    let text = "service topology is immutable and cannot be modified after creation: services added: [W2]";
    assert_rejection(&forbidden(|_| (), text), &refused?)?;
    namespace.delete().await
}

pub(crate) async fn strict_validation_names_the_unknown_field(shared: Arc<Shared>) -> Outcome {
    let namespace = shared.namespace(GraphGeneration::V1Beta1, "strict").await?;
    let mut graph = dynamo::aggregated_graph("adm", "model-cache", "tiny");
    graph["spec"]["components"][1]["podTemplate"]["spec"]["foo"] = json!(1);
    let path = format!("/apis/nvidia.com/v1beta1/namespaces/{}/dynamographdeployments", namespace.name());
    let request = http::Request::post(format!("{path}?fieldValidation=Strict"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(graph.to_string().into_bytes())?;
    let posted = namespace.client().request::<Value>(request).await;
    let Err(kube::Error::Api(status)) = posted else {
        return Err(format!("not rejected: {posted:?}").into());
    };
    ensure!(status.code == 400 && status.reason == "BadRequest", "{status:?}");
    ensure!(
        status.message.contains("unknown field \"spec.components[1].podTemplate.spec.foo\""),
        "{status:?}"
    );
    namespace.delete().await
}

fn main_container(graph: &mut Value) -> &mut Value {
    &mut graph["spec"]["components"][1]["podTemplate"]["spec"]["containers"][0]
}

/// Returns the API server's rejection of a dry run of the object by the author.
async fn dry_run_rejection(graphs: &Api<DynamicObject>, graph: &Value) -> Outcome<Status> {
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("author") };
    match graphs.patch("adm", &parameters, &Patch::Apply(graph)).await {
        Err(kube::Error::Api(status)) => Ok(*status),
        Err(error) => Err(error.into()),
        Ok(accepted) => Err(format!("not rejected: {}", serde_json::to_value(accepted)?["spec"]).into()),
    }
}

fn assert_rejection(row: &RejectionCase, status: &Status) -> Outcome {
    ensure!(
        status.code == row.code && status.reason == row.reason,
        "{} {} for {}: {}",
        status.code,
        status.reason,
        row.text,
        status.message
    );
    ensure!(status.message.contains(row.text), "{} is not in {}", row.text, status.message);
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    let has_cause = row.field.is_empty() || causes.iter().any(|cause| cause.field == row.field);
    ensure!(has_cause, "no cause names {}: {causes:?}", row.field);
    Ok(())
}
