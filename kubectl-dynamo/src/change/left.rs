//! What an apply leaves to others although it was asked for: replicas that a scaling adapter owns, and the number of
//! the revision, which only moves when something else does.

use serde_json::{Map, Value, json};

use super::component::{component_mut, graph_components};
use super::revision::number;
use crate::resources::REVISION_LABEL;

/// Replicas that were asked for and are left to a scaling adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftToAdapter {
    pub component: String,
    pub asked: u64,
    /// What the adapter has set.
    pub live: u64,
}

/// Takes over from a live graph what others decide, and answers what of the asked-for replicas is not applied.
///
/// The adapter writes replicas into the graph, and the webhook refuses any other number. Where it has written, the
/// field is left out; where it has not yet, our own number is the only one, and leaving it out would remove it.
pub fn leave_to_others(object: &mut Value, live: &Value, manager: &str) -> Vec<LeftToAdapter> {
    if let Some(number) = number(live) {
        object["metadata"]["labels"][REVISION_LABEL] = number.to_string().into();
    }
    let mut left = Vec::new();
    for component in graph_components(live).into_iter().filter(|one| one.has_scaling_adapter()) {
        let Some(asked) = component_mut(object, component.name).and_then(Value::as_object_mut) else {
            continue;
        };
        let replicas = asked.get("replicas").map(|value| value.as_u64().unwrap_or(1));
        if others_own_replicas(live, component.name, manager) {
            asked.remove("replicas");
        } else {
            asked.insert("replicas".into(), component.replicas().into());
        }
        if let Some(asked) = replicas.filter(|asked| *asked != component.replicas()) {
            left.push(LeftToAdapter { component: component.name.into(), asked, live: component.replicas() });
        }
    }
    left
}

fn others_own_replicas(live: &Value, component: &str, manager: &str) -> bool {
    let entries = live["metadata"]["managedFields"].as_array().into_iter().flatten();
    let others = entries.filter(|entry| entry["manager"] != manager || entry["operation"] != "Apply");
    let key = format!("k:{}", json!({ "name": component }));
    let owns = |spec: &Map<String, Value>| {
        let listed = spec.get("f:components").and_then(|all| all.get(&key));
        let keyed = spec.get("f:services").and_then(|all| all.get(format!("f:{component}")));
        listed.or(keyed).is_some_and(|fields| fields.get("f:replicas").is_some())
    };
    others.filter_map(|entry| entry["fieldsV1"]["f:spec"].as_object()).any(owns)
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

    fn asked() -> Value {
        json!({ "metadata": { "name": "tiny", "labels": {} }, "spec": { "components": [
            { "name": "frontend", "replicas": 2 }, { "name": "worker", "replicas": 1 },
        ] } })
    }

    #[test]
    fn replicas_that_an_adapter_wrote_are_left_out() {
        let mut object = asked();
        let left = leave_to_others(&mut object, &live("manager"), "ours");
        assert_eq!(left, [LeftToAdapter { component: "worker".into(), asked: 1, live: 3 }]);
        assert_eq!(object["spec"]["components"][0]["replicas"], 2);
        assert_eq!(object["spec"]["components"][1], json!({ "name": "worker" }));
        assert_eq!(object["metadata"]["labels"][REVISION_LABEL], "4");
    }

    #[test]
    fn replicas_that_only_this_program_wrote_stay_as_they_are() {
        let mut object = asked();
        leave_to_others(&mut object, &live("ours"), "ours");
        assert_eq!(object["spec"]["components"][1]["replicas"], 3);
    }

    #[test]
    fn the_older_shape_turns_its_adapter_on_by_a_switch() {
        let service = |adapter: Value| {
            json!({ "metadata": {}, "spec": { "services": { "worker": {
                "componentType": "worker", "replicas": 3, "scalingAdapter": adapter,
            } } } })
        };
        let asked = || json!({ "spec": { "services": { "worker": { "replicas": 1 } } } });
        assert!(leave_to_others(&mut asked(), &service(json!({})), "ours").is_empty());
        let mut object = asked();
        assert_eq!(leave_to_others(&mut object, &service(json!({ "enabled": true })), "ours").len(), 1);
        assert_eq!(object["spec"]["services"]["worker"]["replicas"], 3);
    }
}
