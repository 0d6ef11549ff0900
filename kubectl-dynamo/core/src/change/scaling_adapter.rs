//! Fields that an apply takes from the live object instead of the request: replicas that a scaling adapter
//! owns and the revision number, which increases only if another field changes.

use serde_json::{Map, Value, json};

use super::revision::number;
use crate::graph::{GraphView, component_mut};
use crate::object::ManagedFieldsView;
use crate::resources::{REVISION_LABEL, object_at};

/// Requested replicas that are not applied because a scaling adapter owns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterOwnedReplicas {
    pub component: String,
    pub requested: u64,
    /// The replicas that the adapter has set.
    pub live: u64,
}

/// Copies the revision number and adapter-owned replicas from the live graph into `object`. Returns the
/// requested replicas that differ from the live ones and are therefore not applied.
///
/// The adapter writes replicas into the graph, and the webhook rejects any other value. If the adapter owns
/// the field, `object` omits it. Otherwise `object` repeats the live value, because omitting it would remove
/// it from the graph.
pub fn yield_replicas(object: &mut Value, live: &Value, manager: &str) -> Vec<AdapterOwnedReplicas> {
    if let Some(number) = number(live) {
        object_at(object, &["metadata", "labels"]).insert(REVISION_LABEL.into(), number.to_string().into());
    }
    let mut adapter_owned = Vec::new();
    for component in GraphView::new(live).components().into_iter().filter(|one| one.has_scaling_adapter()) {
        let Some(fields) = component_mut(object, component.name).and_then(Value::as_object_mut) else {
            continue;
        };
        let replicas = fields.get("replicas").map(|value| value.as_u64().unwrap_or(1));
        if is_owned_by_others(live, component.name, manager) {
            fields.remove("replicas");
        } else {
            fields.insert("replicas".into(), component.replicas().into());
        }
        if let Some(requested) = replicas.filter(|requested| *requested != component.replicas()) {
            adapter_owned.push(AdapterOwnedReplicas {
                component: component.name.into(),
                requested,
                live: component.replicas(),
            });
        }
    }
    adapter_owned
}

fn is_owned_by_others(live: &Value, component: &str, manager: &str) -> bool {
    let is_other = |entry: &ManagedFieldsView| entry.manager() != Some(manager) || !entry.is_apply();
    let others = GraphView::new(live).managed_fields().filter(is_other);
    let key = format!("k:{}", json!({ "name": component }));
    let owns = |spec: &Map<String, Value>| {
        let listed = spec.get("f:components").and_then(|all| all.get(&key));
        let keyed = spec.get("f:services").and_then(|all| all.get(format!("f:{component}")));
        listed.or(keyed).is_some_and(|fields| fields.get("f:replicas").is_some())
    };
    others.filter_map(ManagedFieldsView::spec_fields).any(owns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(owner: &str) -> Value {
        json!({
            "metadata": { "labels": { REVISION_LABEL: "4" }, "managedFields": [
                { "manager": owner, "operation": if owner == "ours" { "Apply" } else { "Update" }, "fieldsV1": {
                    "f:spec": { "f:components": { "k:{\"name\":\"worker\"}": { "f:replicas": {} } } },
                } },
            ] },
            "spec": { "components": [
                { "name": "frontend", "replicas": 1 },
                { "name": "worker", "replicas": 3, "scalingAdapter": {} },
            ] },
        })
    }

    fn requested_graph() -> Value {
        json!({ "metadata": { "name": "tiny", "labels": {} }, "spec": { "components": [
            { "name": "frontend", "replicas": 2 }, { "name": "worker", "replicas": 1 },
        ] } })
    }

    #[test]
    fn omits_replicas_set_by_the_scaling_adapter() {
        let mut object = requested_graph();
        let adapter_owned = yield_replicas(&mut object, &live("manager"), "ours");
        assert_eq!(
            adapter_owned,
            [AdapterOwnedReplicas { component: "worker".into(), requested: 1, live: 3 }]
        );
        assert_eq!(object["spec"]["components"][0]["replicas"], 2);
        assert_eq!(object["spec"]["components"][1], json!({ "name": "worker" }));
        assert_eq!(object["metadata"]["labels"][REVISION_LABEL], "4");
    }

    #[test]
    fn preserves_replicas_set_only_by_this_manager() {
        let mut object = requested_graph();
        yield_replicas(&mut object, &live("ours"), "ours");
        assert_eq!(object["spec"]["components"][1]["replicas"], 3);
    }

    #[test]
    fn v1alpha1_adapter_requires_enabled_field() {
        let service = |adapter: Value| {
            json!({ "metadata": {}, "spec": { "services": { "worker": {
                "componentType": "worker", "replicas": 3, "scalingAdapter": adapter,
            } } } })
        };
        let requested_graph = || json!({ "spec": { "services": { "worker": { "replicas": 1 } } } });
        assert!(yield_replicas(&mut requested_graph(), &service(json!({})), "ours").is_empty());
        let mut object = requested_graph();
        assert_eq!(yield_replicas(&mut object, &service(json!({ "enabled": true })), "ours").len(), 1);
        assert_eq!(object["spec"]["services"]["worker"]["replicas"], 3);
    }
}
