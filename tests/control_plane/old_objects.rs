//! Objects that commit df1e54c wrote, and this version of the plugin: `up` finds nothing to change, and earlier
//! revisions can be listed and gone back to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kubectl_dynamo_core::resources::FIELD_MANAGER;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration::{V1Alpha1, V1Beta1};
use kubectl_dynamo_tests::{Outcome, dynamo, ensure};
use serde_json::{Value, json};

use crate::Shared;

fn fixture(path: &str) -> Outcome<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/df1e54c");
    Ok(serde_json::from_str(&std::fs::read_to_string(folder.join(path))?)?)
}

/// Applies an object in the case's namespace, as the plugin of df1e54c did.
async fn apply(namespace: &CaseNamespace, object: &Value) -> Outcome<DynamicObject> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let api: Api<DynamicObject> = Api::namespaced_with(namespace.client(), namespace.name(), &resource);
    let mut object = object.clone();
    object["metadata"]["namespace"] = namespace.name().into();
    let name = text(&object["metadata"]["name"]);
    Ok(api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(object)).await?)
}

/// Secrets that the objects refer to.
async fn secrets(namespace: &CaseNamespace) -> Outcome {
    let secrets: Api<Secret> = Api::namespaced(namespace.client(), namespace.name());
    for (name, key) in [("hf", "token"), ("pull", ".dockerconfigjson")] {
        let object = json!({ "metadata": { "name": name }, "stringData": { key: "{}" } });
        secrets.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
    }
    Ok(())
}

/// Annotations that the plugin writes; the operator adds its own.
fn own_annotations(graph: &DynamicObject) -> BTreeMap<String, String> {
    let mut annotations = graph.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| name.starts_with("kubectl-dynamo.dev/"));
    annotations
}

pub(crate) async fn rendered_objects_are_unchanged(shared: Arc<Shared>) -> Outcome {
    for (generation, release) in [(V1Alpha1, "0.9.1"), (V1Beta1, "1.6.1")] {
        for name in ["mocker", "aggregated", "disaggregated", "offload"] {
            let (namespace, plugin) = shared.user_in_namespace(generation, &format!("old-{name}")).await?;
            secrets(&namespace).await?;
            if name == "disaggregated" {
                namespace.create_pvc("shared").await?;
            }
            let list = fixture(&format!("objects/{name}-{release}.json"))?;
            for object in list["items"].as_array().into_iter().flatten() {
                apply(&namespace, object).await?;
            }
            let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
            let before = own_annotations(&graphs.get(name).await?);
            ensure!(before.len() == 2, "{before:?}");
            let output = plugin.run(&["diff", name]).await?.expect(0)?;
            ensure!(output.out.is_empty(), "{name} {release}: {}", output.out);
            let output =
                plugin.run(&["up", name, "--dry-run=server", "--fail-on-change"]).await?.expect(0)?;
            ensure!(output.out.contains(&format!("{name} unchanged")), "{name} {release}: {}", output.out);
            let output = plugin.run(&["up", name, "--detach"]).await?.expect(0)?;
            ensure!(
                output.err.contains("unchanged: nothing was written"),
                "{name} {release}: {}",
                output.err
            );
            let after = own_annotations(&graphs.get(name).await?);
            ensure!(before == after, "{name} {release}: {before:?} became {after:?}");
            namespace.delete().await?;
        }
    }
    Ok(())
}

pub(crate) async fn revisions_are_listed_and_restored(shared: Arc<Shared>) -> Outcome {
    for (generation, file) in [(V1Alpha1, "live/v1alpha1.json"), (V1Beta1, "live/v1beta1.json")] {
        let (namespace, plugin) = shared.user_in_namespace(generation, "old-revisions").await?;
        let list = fixture(file)?;
        let items = list["items"].as_array().ok_or("no list")?;
        let (revisions, others): (Vec<&Value>, Vec<&Value>) =
            items.iter().partition(|one| one["kind"] == "ControllerRevision");
        let last = revisions.iter().max_by_key(|one| one["revision"].as_i64()).ok_or("no revision")?;
        let mut uid = Value::Null;
        for object in others {
            let applied = match object["kind"] == "DynamoGraphDeployment" {
                true => {
                    let mut graph = last["data"].clone();
                    graph["metadata"]["labels"] = object["metadata"]["labels"].clone();
                    graph
                }
                false => written(object),
            };
            uid = json!(apply(&namespace, &applied).await?.metadata.uid);
        }
        for revision in &revisions {
            let mut revision = written(revision);
            revision["metadata"]["ownerReferences"][0]["uid"] = uid.clone();
            apply(&namespace, &revision).await?;
        }
        let output = plugin.run(&["up", "tiny", "--detach"]).await?.expect(0)?;
        ensure!(output.err.contains("unchanged: nothing was written"), "{}", output.err);
        let output = plugin.run(&["rollout", "history", "tiny", "-o", "json"]).await?.expect(0)?;
        let history: Value = serde_json::from_str(&output.out)?;
        let causes: Vec<(i64, &str)> = history["revisions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|one| Some((one["revision"].as_i64()?, one["cause"].as_str()?)))
            .collect();
        ensure!(causes == [(1, "up"), (2, "up"), (3, "scale")], "{causes:?}");
        plugin.run(&["rollout", "undo", "tiny", "--to-revision=1", "--detach"]).await?.expect(0)?;
        let first = revisions.iter().find(|one| one["revision"] == 1).ok_or("no first revision")?;
        let graph = dynamo::graphs(namespace.client(), generation, namespace.name()).get("tiny").await?;
        let annotations = serde_json::to_value(&graph.metadata.annotations)?;
        let intent = &first["data"]["metadata"]["annotations"]["kubectl-dynamo.dev/intent"];
        ensure!(annotations["kubectl-dynamo.dev/intent"] == *intent, "{annotations:#}");
        namespace.delete().await?;
    }
    Ok(())
}

/// What was written of an object that was read back: without what the API server adds.
fn written(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| {
            ["name", "labels", "annotations", "ownerReferences"].contains(&field.as_str())
        });
    }
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    // The Job controller names itself in these.
    if let Some(spec) = object.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.remove("selector");
    }
    if let Some(labels) = object.pointer_mut("/spec/template/metadata/labels").and_then(Value::as_object_mut)
    {
        labels.retain(|label, _| !label.starts_with("batch.kubernetes.io/") && !label.ends_with("-uid"));
        labels.remove("job-name");
    }
    object
}
