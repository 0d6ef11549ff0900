//! Revisions of a graph, stored as ControllerRevisions that the graph owns, as Kubernetes does for
//! StatefulSets.
//!
//! Each revision contains the applied graph. A revision that is applied again gets the newest number.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::object::{ObjectFields, ObjectView, ObservedObject, time_text};
use crate::resources::{FIELD_MANAGER, MANAGED_BY_LABEL, NAME_LABEL, REVISION_LABEL, Resource, object_at};

/// Number of revisions to keep: the default `revisionHistoryLimit` of Deployments and StatefulSets.
pub const REVISION_HISTORY_LIMIT: usize = 10;
/// kubectl's annotation for the command that created a revision.
const CHANGE_CAUSE_ANNOTATION: &str = "kubernetes.io/change-cause";

/// An applied state of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    pub number: i64,
    /// Name of the ControllerRevision.
    pub name: String,
    /// Creation time, RFC 3339.
    pub created: String,
    /// Time of the last apply, RFC 3339. `rollout undo` applies an earlier revision again.
    pub applied: String,
    /// The command that created the revision, such as `up` or `rollout undo`.
    pub cause: String,
    /// The applied graph without its namespace and revision number.
    pub graph: Value,
}

/// Returns the revision number of a graph.
pub fn number(graph: &Value) -> Option<i64> {
    ObjectView::new(graph).label(REVISION_LABEL)?.parse().ok()
}

/// Sets the revision number of a graph.
pub fn set_number(graph: &mut Value, number: i64) {
    object_at(graph, &["metadata", "labels"]).insert(REVISION_LABEL.into(), number.to_string().into());
}

/// Returns the label selector of a graph's revisions.
pub fn selector(name: &str) -> String {
    format!("{NAME_LABEL}={name},{MANAGED_BY_LABEL}={FIELD_MANAGER}")
}

/// Returns the listed revisions that this graph owns, oldest first. It compares UIDs, because revisions of a
/// deleted graph with the same name may still exist.
pub fn revisions(listed: &[ObservedObject<ControllerRevision>], graph: &Value) -> Vec<Revision> {
    let uid = ObjectView::new(graph).uid();
    let mut revisions: Vec<Revision> = listed
        .iter()
        .filter(|one| one.is_owned_by(uid))
        .map(|one| Revision {
            number: one.revision,
            name: one.name().to_owned(),
            created: one.created(),
            applied: applied_time(one),
            cause: one.annotation(CHANGE_CAUSE_ANNOTATION).unwrap_or_default().to_owned(),
            graph: one.data.as_ref().map(|data| data.0.clone()).unwrap_or_default(),
        })
        .collect();
    revisions.sort_by_key(|one| one.number);
    revisions
}

/// Returns when this program wrote a revision last: its number changes with every apply.
fn applied_time(revision: &ControllerRevision) -> String {
    let ObjectMeta { managed_fields, creation_timestamp, .. } = &revision.metadata;
    let entries = managed_fields.iter().flatten();
    let own = entries.filter(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    let times = own.filter_map(|entry| entry.time.as_ref()).chain(creation_timestamp);
    time_text(times.max())
}

/// Returns the part of an applied graph that a revision stores.
pub fn revision_content(applied: &Value) -> Value {
    let mut graph = applied.clone();
    if let Some(metadata) = graph.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| ["name", "labels", "annotations"].contains(&field.as_str()));
    }
    if let Some(labels) = graph.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(REVISION_LABEL);
    }
    graph
}

/// Returns the ControllerRevision for an applied graph. Its name contains a hash of the content, so applying
/// an earlier state again only changes the number of its revision.
pub fn to_controller_revision(live: &Value, applied: &Value, number: i64, cause: &str) -> Resource {
    let (graph, live) = (revision_content(applied), ObjectView::new(live));
    let name = live.name();
    let hash: String =
        Sha256::digest(graph.to_string().as_bytes())[..5].iter().map(|byte| format!("{byte:02x}")).collect();
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{name}-{hash}"),
            "namespace": live.namespace(),
            "labels": {
                MANAGED_BY_LABEL: FIELD_MANAGER, NAME_LABEL: name, REVISION_LABEL: number.to_string(),
            },
            "annotations": { CHANGE_CAUSE_ANNOTATION: cause },
            "ownerReferences": [{
                "apiVersion": live.api_version(), "kind": live.kind(), "name": name, "uid": live.uid(),
                "controller": true,
            }],
        },
        "revision": number,
        "data": graph,
    });
    Resource { object }
}

/// Returns the graph to apply to restore a revision.
pub fn to_resource(revision: &Revision, namespace: &str) -> Resource {
    let mut object = revision.graph.clone();
    object_at(&mut object, &["metadata"]).insert("namespace".into(), namespace.into());
    Resource { object }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::typed;

    fn live() -> Value {
        json!({
            "apiVersion": "nvidia.com/v1beta1", "kind": "DynamoGraphDeployment",
            "metadata": { "name": "tiny", "namespace": "dyn", "uid": "1",
                "labels": { "a": "b", REVISION_LABEL: "3" } },
            "spec": { "components": [] },
        })
    }

    #[test]
    fn equal_content_has_equal_revision_name() {
        let mut renumbered = live();
        set_number(&mut renumbered, 7);
        let (one, other) = (
            to_controller_revision(&live(), &live(), 3, "up"),
            to_controller_revision(&live(), &renumbered, 7, "rollout undo"),
        );
        assert_eq!(one.name(), other.name());
        let mut changed = live();
        changed["spec"]["components"] = json!([{}]);
        assert_ne!(one.name(), to_controller_revision(&live(), &changed, 3, "up").name());
    }

    #[test]
    fn revision_that_is_applied_again_has_the_time_of_the_last_apply() {
        let mut object = to_controller_revision(&live(), &live(), 3, "up").object;
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        object["metadata"]["managedFields"] = json!([
            { "manager": FIELD_MANAGER, "operation": "Apply", "time": "2026-01-03T00:00:00Z" },
            { "manager": "kubectl", "operation": "Update", "time": "2026-01-09T00:00:00Z" },
        ]);
        let listed = [typed(object)];
        let found = revisions(&listed, &live());
        assert_eq!(
            (found[0].created.as_str(), found[0].applied.as_str()),
            ("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z")
        );
    }

    #[test]
    fn manually_changed_revision_does_not_panic() {
        for graph in [json!("foo"), json!({ "metadata": "foo" }), json!({ "metadata": { "labels": "foo" } })]
        {
            let mut numbered = graph.clone();
            set_number(&mut numbered, 7);
            assert_eq!(number(&numbered), Some(7), "{graph}");
            assert_eq!(revision_content(&graph), graph);
            let revision = Revision {
                number: 1,
                name: "r".into(),
                created: String::new(),
                applied: String::new(),
                cause: "up".into(),
                graph,
            };
            assert_eq!(to_resource(&revision, "dyn").object["metadata"]["namespace"], "dyn");
        }
    }

    #[test]
    fn revision_round_trips_to_applied_object() {
        let mut object = to_controller_revision(&live(), &live(), 3, "up").object;
        object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        let mut foreign = object.clone();
        foreign["metadata"]["ownerReferences"][0]["uid"] = "2".into();
        let listed = [foreign, object].map(typed);
        let found = revisions(&listed, &live());
        assert_eq!(found.len(), 1, "a revision of a deleted graph with the same name is excluded");
        assert_eq!((found[0].number, found[0].cause.as_str()), (3, "up"));
        assert_eq!(found[0].applied, "2026-01-01T00:00:00Z");
        let restored = to_resource(&found[0], "dyn").object;
        assert_eq!(
            restored["metadata"],
            json!({ "name": "tiny", "namespace": "dyn", "labels": { "a": "b" } })
        );
        assert_eq!(restored["spec"], live()["spec"]);
    }
}
