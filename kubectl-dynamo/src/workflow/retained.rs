//! Lists the PVCs and Secrets of a deployment that are deleted with it, and those that are retained.
//! It only reads objects; `down` deletes them.

use std::collections::BTreeSet;

use serde_json::Value;

use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::ServingIntent;

/// Returns the PVCs that a v1alpha1 graph created: they are its children and are deleted with it, with their
/// models.
pub(crate) fn pvcs_created_by_graph(graph: &Value) -> Vec<String> {
    let created = GraphView::new(graph).listed_pvcs().filter(|pvc| pvc.is_created);
    created.map(|pvc| pvc.name.to_owned()).collect()
}

/// Returns one line for each PVC and Secret that the graph uses but does not own.
pub(crate) fn retained_objects(graph: &Value, intent: Option<&ServingIntent>) -> Vec<String> {
    let deleted_pvcs = pvcs_created_by_graph(graph);
    let mut pvcs = BTreeSet::new();
    let mut secrets = BTreeSet::new();
    if let Some(intent) = intent {
        pvcs.insert(intent.cache.pvc().to_owned());
        secrets.extend(intent.token_secret.as_ref().map(|secret| secret.name.clone()));
    }
    let graph = GraphView::new(graph);
    let references = graph.references();
    pvcs.extend(graph.listed_pvcs().map(|pvc| pvc.name).chain(references.pvcs).map(ToOwned::to_owned));
    secrets.extend(references.secrets.into_keys().map(ToOwned::to_owned));
    let pvcs = pvcs.into_iter().filter(|pvc| !deleted_pvcs.contains(pvc));
    let pvcs = pvcs.map(|pvc| format!("pvc/{pvc} and its models are retained"));
    pvcs.chain(secrets.into_iter().map(|secret| format!("secret/{secret} is retained"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn graph_created_pvc_is_deleted_and_others_are_retained() {
        let graph = json!({ "spec": {
            "pvcs": [{ "name": "own", "create": true }, { "name": "shared", "create": false }],
            "services": { "Worker": { "envFromSecret": "hf" } },
        } });
        assert_eq!(pvcs_created_by_graph(&graph), ["own"]);
        assert_eq!(
            retained_objects(&graph, None),
            ["pvc/shared and its models are retained", "secret/hf is retained"]
        );
    }
}
