//! A real API server with Dynamo's real definitions, and the operators' admission rules.

use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, Status};
use kubectl_dynamo::plan::ServingPlan;
use kubectl_dynamo::release::Release;
use kubectl_dynamo::resources::{GraphApi, Resource, render};
use kubectl_dynamo_tests::conversion::to_v1beta1;
use kubectl_dynamo_tests::kubernetes::definitions::{GraphDefinition, Stored};
use kubectl_dynamo_tests::operator::rules;
use kubectl_dynamo_tests::{Outcome, ensure};
use serde_json::{Value, json};

use crate::{Accepted, Server, Wrong};

const NAMESPACE: &str = "default";

/// Definitions of one upstream state, storing one version, and the releases that meet them.
pub(crate) struct Home {
    pub(crate) definition: GraphDefinition,
    releases: &'static [&'static str],
}

const fn home(folder: &'static str, stored: Stored, releases: &'static [&'static str]) -> Home {
    Home { definition: GraphDefinition { folder, stored }, releases }
}

/// Fields only ever came, so a release whose own definitions are not here meets the nearest older ones in the shape
/// that was there already, and the nearest newer ones in the shape that came with it.
pub(crate) const HOMES: &[Home] = &[
    home("0.9.1", Stored::V1Alpha1, &["0.9.1"]),
    home("1.0.2", Stored::V1Alpha1, &["1.0.2", "1.1.1", "1.2.1", "1.3.1"]),
    home("1.4.0-main-20260730", Stored::V1Alpha1, &["1.4.2"]),
    home("1.4.0-main-20260730", Stored::V1Beta1, &["1.2.1", "1.3.1", "1.4.2"]),
    home("1.5.0-main-20260821", Stored::V1Alpha1, &["1.5.1", "1.6.1"]),
    home("1.5.0-main-20260821", Stored::V1Beta1, &["1.5.1", "1.6.1"]),
];

impl Home {
    fn api(&self) -> GraphApi {
        match self.definition.stored {
            Stored::V1Alpha1 => GraphApi::V1Alpha1,
            Stored::V1Beta1 => GraphApi::V1Beta1,
        }
    }

    fn is_of(&self, release: &Release) -> bool {
        self.releases.contains(&release.version)
    }
}

pub(crate) async fn every_object_of_every_cell_is_accepted(server: Arc<Server>) -> Outcome {
    let _turn = server.turn.lock().await;
    let accepted = Accepted::of_all()?;
    let client = server.cluster.control_plane(None)?.client();
    let mut wrong = Wrong::new();
    let mut asked = 0;
    for home in HOMES {
        home.definition.put(&client).await?;
        for (cell, plan) in accepted.plans.iter().filter(|(cell, _)| home.is_of(cell.release)) {
            for resource in render(plan, NAMESPACE, home.api()) {
                asked += 1;
                if let Err(refusal) = dry_run(&client, &resource.object).await? {
                    let complaint = format!("{} of {resource}: {}", home.definition.folder, refusal.message);
                    wrong.entry(cell.to_string()).or_insert(complaint);
                }
            }
            for rule in broken_rules(plan, home.api()) {
                wrong.entry(cell.to_string()).or_insert(rule);
            }
        }
    }
    ensure!(asked > accepted.plans.len() * 3, "only {asked} objects were asked about");
    accepted.conclude(&format!("API server ({asked} objects) and admission rules"), &wrong)
}

/// The admission rules that the graph of a plan breaks: in its own shape and, as the operators of both shapes see it,
/// converted.
fn broken_rules(plan: &ServingPlan, api: GraphApi) -> Vec<String> {
    let Some(Resource { object }) = render(plan, NAMESPACE, api).pop() else {
        return vec!["no graph".into()];
    };
    match api {
        GraphApi::V1Alpha1 => {
            [rules::broken_v1alpha1(&object), rules::broken_v1beta1(&to_v1beta1(&object))].concat()
        }
        GraphApi::V1Beta1 => rules::broken_v1beta1(&object),
    }
}

/// The matrix would say nothing if the server took everything.
pub(crate) async fn what_is_wrong_is_refused(server: Arc<Server>) -> Outcome {
    let _turn = server.turn.lock().await;
    let accepted = Accepted::of_all()?;
    let client = server.cluster.control_plane(None)?.client();
    let (_, plan) = accepted.plans.first().ok_or("no cell is accepted")?;
    for home in [&HOMES[0], &HOMES[HOMES.len() - 1]] {
        home.definition.put(&client).await?;
        let graph = render(plan, NAMESPACE, home.api()).pop().ok_or("a graph is rendered")?.object;
        ensure!(dry_run(&client, &graph).await?.is_ok(), "the graph itself is refused");
        let mut unknown = graph.clone();
        unknown["spec"]["noSuchField"] = json!(1);
        let mut wrong_type = graph.clone();
        wrong_type["spec"]["backendFramework"] = json!("no-such-engine");
        for broken in [unknown, wrong_type] {
            ensure!(
                dry_run(&client, &broken).await?.is_err(),
                "{} takes what is wrong",
                home.definition.folder
            );
        }
    }
    ensure!(
        !rules::broken_v1alpha1(&json!({ "spec": { "services": {} } })).is_empty(),
        "no rule for no services"
    );
    ensure!(
        !rules::broken_v1beta1(&json!({ "spec": { "components": [] } })).is_empty(),
        "no rule for no components"
    );
    Ok(())
}

/// What the API server says to a server-side apply of the object that is not kept.
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
