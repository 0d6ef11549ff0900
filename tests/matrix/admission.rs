//! Checks rendered objects with a real API server, Dynamo's real CRDs, and the operators' admission rules.

use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, Status};
use kubectl_dynamo_core::plan::ServingPlan;
use kubectl_dynamo_core::resources::{GraphApi, Resource, render};
use kubectl_dynamo_tests::conversion::to_v1beta1;
use kubectl_dynamo_tests::kubernetes::definition_sets::DEFINITION_SETS;
use kubectl_dynamo_tests::operator::rules;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::{AcceptedPlans, Failures, SharedServer};

const NAMESPACE: &str = "default";

pub(crate) async fn api_server_accepts_every_object_of_every_cell(server: Arc<SharedServer>) -> Outcome {
    let _turn = server.exclusive.lock().await;
    let accepted = AcceptedPlans::from_all_cells()?;
    let client = server.cluster.control_plane(None)?.client();
    let mut failures = Failures::new();
    let mut object_count = 0;
    for definitions in DEFINITION_SETS {
        definitions.definition.install(&client).await?;
        for (cell, plan) in accepted.plans.iter().filter(|(cell, _)| definitions.supports(cell.release)) {
            for resource in render(plan, NAMESPACE, definitions.graph_api()) {
                object_count += 1;
                if let Err(refusal) = dry_run(&client, &resource.object).await? {
                    let complaint =
                        format!("{} of {resource}: {}", definitions.definition.folder, refusal.message);
                    failures.entry(cell.to_string()).or_insert(complaint);
                }
            }
            for rule in violated_rules(plan, definitions.graph_api()) {
                failures.entry(cell.to_string()).or_insert(rule);
            }
        }
    }
    ensure!(object_count > accepted.plans.len() * 3, "only {object_count} objects were checked");
    accepted.report(&format!("API server ({object_count} objects) and admission rules"), &failures)
}

/// Returns the admission rules that the graph of a plan violates: in its own API version and, as the
/// operators of both versions see it, after conversion.
fn violated_rules(plan: &ServingPlan, api: GraphApi) -> Vec<String> {
    let Some(Resource { object }) = render(plan, NAMESPACE, api).pop() else {
        return vec!["no graph".into()];
    };
    match api {
        GraphApi::V1Alpha1 => {
            [rules::v1alpha1_violations(&object), rules::v1beta1_violations(&to_v1beta1(&object))].concat()
        }
        GraphApi::V1Beta1 => rules::v1beta1_violations(&object),
    }
}

/// Checks that the server rejects invalid objects, because otherwise the matrix proves nothing.
pub(crate) async fn api_server_rejects_invalid_objects(server: Arc<SharedServer>) -> Outcome {
    let _turn = server.exclusive.lock().await;
    let accepted = AcceptedPlans::from_all_cells()?;
    let client = server.cluster.control_plane(None)?.client();
    let (_, plan) = accepted.plans.first().ok_or("no valid cell")?;
    for definitions in [&DEFINITION_SETS[0], &DEFINITION_SETS[DEFINITION_SETS.len() - 1]] {
        definitions.definition.install(&client).await?;
        let graph =
            render(plan, NAMESPACE, definitions.graph_api()).pop().ok_or("a graph is rendered")?.object;
        ensure!(dry_run(&client, &graph).await?.is_ok(), "the valid graph is rejected");
        let mut unknown = graph.clone();
        unknown["spec"]["noSuchField"] = json!(1);
        let mut wrong_type = graph.clone();
        wrong_type["spec"]["backendFramework"] = json!("no-such-engine");
        for broken in [unknown, wrong_type] {
            ensure!(
                dry_run(&client, &broken).await?.is_err(),
                "{} accepts an invalid object",
                definitions.definition.folder
            );
        }
    }
    ensure!(
        !rules::v1alpha1_violations(&json!({ "spec": { "services": {} } })).is_empty(),
        "no rule requires services"
    );
    ensure!(
        !rules::v1beta1_violations(&json!({ "spec": { "components": [] } })).is_empty(),
        "no rule requires components"
    );
    Ok(())
}

/// Returns the API server's result of a server-side apply as dry run.
async fn dry_run(client: &kube::Client, object: &Value) -> Outcome<Result<(), Status>> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (group, version) = match text("/apiVersion").split_once('/') {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), text("/apiVersion")),
    };
    let kind = ApiResource::from_gvk(&GroupVersionKind { group, version, kind: text("/kind") });
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("kubectl-dynamo") };
    match api.patch(&text("/metadata/name"), &parameters, &Patch::Apply(object)).await {
        Ok(_) => Ok(Ok(())),
        Err(kube::Error::Api(status)) => Ok(Err(*status)),
        Err(error) => Err(error.into()),
    }
}
