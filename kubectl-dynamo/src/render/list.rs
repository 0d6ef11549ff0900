//! Renders a list of deployments as a table and as a JSON document.

use serde_json::{Value, json};

use crate::render::table::table;
use crate::workflow::deployments::ListEntry;
use crate::workflow::summary::{DeploymentSummary, age};
use kubectl_dynamo_cluster::NamespaceScope;
use kubectl_dynamo_core::intent::StringEnum;

/// The columns of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListColumns {
    Standard,
    Wide,
}

/// Returns the table of the list.
pub(crate) fn rows(entries: Vec<ListEntry>, scope: NamespaceScope, columns: ListColumns) -> String {
    let (all_namespaces, wide) = (scope == NamespaceScope::AllNamespaces, columns == ListColumns::Wide);
    let now = jiff::Timestamp::now();
    let mut headings = vec!["NAME", "MODEL", "MODE", "READY", "STATUS", "GPUS", "ROUTER", "AGE"];
    if all_namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.extend(["RELEASE", "BACKEND", "ENDPOINT"]);
    }
    let row = |ListEntry { summary: one, status }: ListEntry| {
        let gpus = one.gpus.map_or_else(|| "-".into(), |gpus| gpus.to_string());
        let if_created = |text: String| if status.is_created() { text } else { "-".into() };
        let (readiness, endpoint) = (if_created(one.readiness()), if_created(one.in_cluster_url()));
        let DeploymentSummary { name, namespace, model, mode, router, backend, release, created, .. } = one;
        let mut row = vec![
            name,
            model,
            if_created(mode.as_str().into()),
            readiness,
            status.as_str().into(),
            gpus,
            router,
        ];
        row.push(age(&created, now));
        if all_namespaces {
            row.insert(0, namespace);
        }
        if wide {
            row.extend([release, backend, endpoint]);
        }
        row
    };
    table(&headings, entries.into_iter().map(row).collect())
}

/// Returns the list as a JSON document.
pub(crate) fn document(entries: &[ListEntry]) -> Value {
    let items: Vec<Value> = entries
        .iter()
        .map(|ListEntry { summary: one, status }| {
            json!({
                "name": one.name, "namespace": one.namespace, "model": one.model, "mode": status.is_created().then(|| one.mode.as_str()),
                "ready": one.ready, "desired": one.desired, "status": status.as_str(), "gpus": one.gpus,
                "router": one.router, "backend": one.backend, "release": one.release,
                "created": one.created, "endpoint": one.in_cluster_url(),
            })
        })
        .collect();
    json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "DeploymentList", "items": items })
}
