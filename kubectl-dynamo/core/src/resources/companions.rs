//! The objects that a recipe puts next to a graph in one file: ConfigMaps with engine settings, and the objects of
//! dynamic resource allocation. They belong to the deployment: the graph lists them in an annotation, and a label on
//! each one that the plugin creates names the deployment.

use serde_json::{Value, json};

use super::{Resource, object_at};
use crate::object::ObjectView;

/// Annotation on a graph with its companions, as a JSON list of `apiVersion`, `kind`, and `name`.
pub const COMPANIONS_ANNOTATION: &str = "kubectl-dynamo.dev/companions";
/// Label with the deployment for which the plugin created an object.
pub const DEPLOYMENT_LABEL: &str = "kubectl-dynamo.dev/deployment";

/// The kinds and their API groups. A PVC, Secret, or Job next to a graph is not among them: it can be shared with other
/// deployments, and deleting it loses data.
const COMPANION_KINDS: [(&str, &str); 3] = [
    ("ConfigMap", ""),
    ("ComputeDomain", "resource.nvidia.com"),
    ("ResourceClaimTemplate", "resource.k8s.io"),
];

/// Whether an object in a file is a companion of its graph.
pub fn is_companion(object: &Value) -> bool {
    let object = ObjectView::new(object);
    let group = object.api_version().split_once('/').map_or("", |(group, _)| group);
    COMPANION_KINDS.contains(&(object.kind(), group))
}

/// Lists the companions in the annotation of their graph, together with those that the live graph lists: `up` does not
/// delete an object that is no longer in the file, but `down` does.
pub fn list_companions(graph: &mut Resource, companions: &[Resource], live: Option<&Value>) {
    let of_live = live.map(companions_of).unwrap_or_default();
    let mut listed: Vec<&Resource> = of_live.iter().collect();
    for companion in companions {
        listed.retain(|one| one.kind() != companion.kind() || one.name() != companion.name());
        listed.push(companion);
    }
    if listed.is_empty() {
        return;
    }
    let list = listed
        .into_iter()
        .map(|one| json!({ "apiVersion": one.api_version(), "kind": one.kind(), "name": one.name() }));
    let list = Value::from(list.collect::<Vec<_>>()).to_string();
    object_at(&mut graph.object, &["metadata", "annotations"])
        .insert(COMPANIONS_ANNOTATION.into(), list.into());
}

/// Returns the companions that a graph lists, with kind and name only.
pub fn companions_of(graph: &Value) -> Vec<Resource> {
    let list = ObjectView::new(graph).annotation(COMPANIONS_ANNOTATION).unwrap_or_default();
    let list: Vec<Value> = serde_json::from_str(list).unwrap_or_default();
    let entries = list.into_iter().map(|entry| Resource {
        object: json!({
            "apiVersion": entry["apiVersion"],
            "kind": entry["kind"],
            "metadata": { "name": entry["name"] },
        }),
    });
    entries.filter(|entry| is_companion(&entry.object) && !entry.name().is_empty()).collect()
}

/// Marks a companion as created for a deployment.
pub fn mark_companion(companion: &mut Resource, deployment: &str) {
    object_at(&mut companion.object, &["metadata", "labels"])
        .insert(DEPLOYMENT_LABEL.into(), deployment.into());
}

/// The deployment for which the plugin created a live object; `None` if another tool created it.
pub fn creator_of(object: &Value) -> Option<&str> {
    ObjectView::new(object).label(DEPLOYMENT_LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config_map(name: &str) -> Resource {
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
        Resource { object }
    }

    fn names(graph: &Value) -> Vec<String> {
        companions_of(graph).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_kinds_of_recipes_are_companions() {
        for (api_version, kind, expected) in [
            ("v1", "ConfigMap", true),
            ("resource.nvidia.com/v1beta1", "ComputeDomain", true),
            ("resource.k8s.io/v1", "ResourceClaimTemplate", true),
            ("resource.k8s.io/v1beta1", "ResourceClaimTemplate", true),
            ("v1", "ComputeDomain", false),
            ("v1", "Secret", false),
            ("v1", "PersistentVolumeClaim", false),
        ] {
            let object = json!({ "apiVersion": api_version, "kind": kind });
            assert_eq!(is_companion(&object), expected, "{api_version} {kind}");
        }
    }

    #[test]
    fn graph_lists_its_companions_and_those_of_the_live_graph() {
        let mut graph = Resource { object: json!({ "metadata": { "name": "g" } }) };
        list_companions(&mut graph, &[], None);
        assert_eq!(graph.object, json!({ "metadata": { "name": "g" } }));
        list_companions(&mut graph, &[config_map("a"), config_map("b")], None);
        assert_eq!(names(&graph.object), ["configmap/a", "configmap/b"]);
        let live = graph.object.clone();
        let mut changed = Resource { object: json!({ "metadata": { "name": "g" } }) };
        list_companions(&mut changed, &[config_map("b"), config_map("c")], Some(&live));
        assert_eq!(names(&changed.object), ["configmap/a", "configmap/b", "configmap/c"]);
        let foreign = json!({ "metadata": { "annotations": { COMPANIONS_ANNOTATION:
            r#"[{"apiVersion":"v1","kind":"Secret","name":"s"},{"kind":"ConfigMap"},3]"# } } });
        assert_eq!(names(&foreign), [""; 0]);
    }

    #[test]
    fn label_names_the_deployment_that_created_an_object() {
        let mut companion = config_map("a");
        assert_eq!(creator_of(&companion.object), None);
        mark_companion(&mut companion, "g");
        assert_eq!(creator_of(&companion.object), Some("g"));
    }
}
