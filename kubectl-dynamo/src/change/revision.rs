//! Revisions of a graph: what was applied each time, kept as ControllerRevisions that the graph owns, as Kubernetes
//! keeps those of its own StatefulSets. One that is applied again gets the newest number; the oldest go.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::readiness::is_owned;
use crate::resources::{MANAGED_BY, MANAGER, REVISION_LABEL, Resource};

/// How many are kept: the number that Deployments and StatefulSets keep too.
pub const KEPT: usize = 10;
/// kubectl's annotation for what made a revision.
const CAUSE: &str = "kubernetes.io/change-cause";

/// One revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    pub number: i64,
    /// Name of the object that keeps it.
    pub name: String,
    /// RFC 3339.
    pub created: String,
    /// The verb that made it.
    pub cause: String,
    /// What was applied: the graph without its namespace and its number.
    pub graph: Value,
}

/// The number of a graph's revision.
pub fn number(graph: &Value) -> Option<i64> {
    graph["metadata"]["labels"][REVISION_LABEL].as_str()?.parse().ok()
}

/// Gives a graph the number of its revision.
pub fn set_number(graph: &mut Value, number: i64) {
    graph["metadata"]["labels"][REVISION_LABEL] = number.to_string().into();
}

/// The label selector of a graph's revisions.
pub fn selector(name: &str) -> String {
    format!("app.kubernetes.io/name={name},{MANAGED_BY}={MANAGER}")
}

/// The revisions among listed objects that belong to this very graph, oldest first.
pub fn revisions(listed: &[Value], graph: &Value) -> Vec<Revision> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut revisions: Vec<Revision> = listed
        .iter()
        .filter(|one| is_owned(one, graph))
        .map(|one| Revision {
            number: one["revision"].as_i64().unwrap_or_default(),
            name: text(&one["metadata"]["name"]),
            created: text(&one["metadata"]["creationTimestamp"]),
            cause: text(&one["metadata"]["annotations"][CAUSE]),
            graph: one["data"].clone(),
        })
        .collect();
    revisions.sort_by_key(|one| one.number);
    revisions
}

/// What is kept of an applied graph.
pub fn content(applied: &Value) -> Value {
    let mut graph = applied.clone();
    if let Some(metadata) = graph["metadata"].as_object_mut() {
        metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
    }
    if let Some(labels) = graph["metadata"]["labels"].as_object_mut() {
        labels.remove(REVISION_LABEL);
    }
    graph
}

/// The object that keeps what was applied. Equal contents have one name, so that applying an earlier one again only
/// moves its number.
pub fn kept(live: &Value, applied: &Value, number: i64, cause: &str) -> Resource {
    let (graph, metadata) = (content(applied), &live["metadata"]);
    let name = metadata["name"].as_str().unwrap_or_default();
    let hash: String =
        Sha256::digest(graph.to_string().as_bytes())[..5].iter().map(|byte| format!("{byte:02x}")).collect();
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{name}-{hash}"),
            "namespace": metadata["namespace"],
            "labels": {
                MANAGED_BY: MANAGER, "app.kubernetes.io/name": name, REVISION_LABEL: number.to_string(),
            },
            "annotations": { CAUSE: cause },
            "ownerReferences": [{
                "apiVersion": live["apiVersion"], "kind": live["kind"], "name": name, "uid": metadata["uid"],
                "controller": true,
            }],
        },
        "revision": number,
        "data": graph,
    });
    Resource { object }
}

/// The object to apply for going back to a revision.
pub fn restored(revision: &Revision, namespace: &str) -> Resource {
    let mut object = revision.graph.clone();
    object["metadata"]["namespace"] = namespace.into();
    Resource { object }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Value {
        json!({
            "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
            "metadata": { "name": "tiny", "namespace": "dyn", "uid": "1",
                "labels": { "a": "b", REVISION_LABEL: "3" } },
            "spec": { "components": [] },
        })
    }

    #[test]
    fn the_same_content_has_the_same_name_whatever_its_number() {
        let mut again = live();
        set_number(&mut again, 7);
        let (one, other) = (kept(&live(), &live(), 3, "up"), kept(&live(), &again, 7, "rollout undo"));
        assert_eq!(one.name(), other.name());
        let mut changed = live();
        changed["spec"]["components"] = json!([{}]);
        assert_ne!(one.name(), kept(&live(), &changed, 3, "up").name());
    }

    #[test]
    fn what_is_kept_comes_back_as_it_was_applied() {
        let mut object = kept(&live(), &live(), 3, "up").object;
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        let mut foreign = object.clone();
        foreign["metadata"]["ownerReferences"][0]["uid"] = "2".into();
        let found = revisions(&[foreign, object], &live());
        assert_eq!(found.len(), 1, "one of an earlier graph of the same name is another's");
        assert_eq!((found[0].number, found[0].cause.as_str()), (3, "up"));
        let restored = restored(&found[0], "dyn").object;
        assert_eq!(
            restored["metadata"],
            json!({ "name": "tiny", "namespace": "dyn", "labels": { "a": "b" } })
        );
        assert_eq!(restored["spec"], live()["spec"]);
    }
}
