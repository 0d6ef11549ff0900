//! Scaling adapters: one for each component that turns it on; its number of replicas is written into the graph.

use serde_json::{Value, json};

use super::access::{Access, Result, list, owned_by, text};
use super::graph::{Component, Graph};
use crate::kubernetes::definitions::GraphGeneration;

pub(super) const KIND: &str = "DynamoGraphDeploymentScalingAdapter";

/// Makes the adapters that are missing and takes over what the others say. Answers whether the graph was changed.
pub(super) async fn follow(graph: &Graph, access: &Access) -> Result<bool> {
    let mut changed = false;
    for component in graph.components.iter().filter(|component| component.has_adapter()) {
        let name = format!("{}-{}", graph.name(), component.name.to_lowercase());
        match access.find(graph.namespace(), &access.adapters(), &name).await? {
            None => make(graph, component, &name, access).await?,
            Some(adapter) if adapter["spec"]["replicas"] != component.replicas() => {
                let path = path(graph, component);
                let value = &adapter["spec"]["replicas"];
                access.patch(&graph.object, "", json!([{"op": "add", "path": path, "value": value}])).await?;
                changed = true;
            }
            Some(_) => {}
        }
    }
    Ok(changed)
}

async fn make(graph: &Graph, component: &Component, name: &str, access: &Access) -> Result<()> {
    let field = match graph.generation {
        GraphGeneration::V1Alpha1 => "serviceName",
        GraphGeneration::V1Beta1 => "componentName",
    };
    let adapter = json!({
        "apiVersion": text(&graph.object, "/apiVersion"),
        "kind": KIND,
        "metadata": {"name": name, "namespace": graph.namespace(), "ownerReferences": owned_by(&graph.object)},
        "spec": {"replicas": component.replicas(), "dgdRef": {"name": graph.name(), field: component.name}},
    });
    access.create_if_absent(&adapter).await?;
    let message = format!("Created scaling adapter {name} for component {}", component.name);
    access.event(&graph.object, "Normal", "AdapterCreated", &message).await
}

/// Where the component's replicas stand in the graph.
fn path(graph: &Graph, component: &Component) -> String {
    match graph.generation {
        GraphGeneration::V1Alpha1 => format!("/spec/services/{}/replicas", component.name),
        GraphGeneration::V1Beta1 => {
            let is_it = |one: &Value| one["name"] == *component.name;
            let index = list(&graph.object, "/spec/components").iter().position(is_it).unwrap_or_default();
            format!("/spec/components/{index}/replicas")
        }
    }
}
