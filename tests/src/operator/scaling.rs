//! Scaling adapters: one for each component that enables it. Its number of replicas is written into the
//! graph.

use serde_json::{Value, json};

use super::api_client::{ApiResult, OperatorClient, list, owner_references, text};
use super::graph::{GraphComponent, OperatorGraph};
use crate::kubernetes::definitions::GraphGeneration;

pub(super) const ADAPTER_KIND: &str = "DynamoGraphDeploymentScalingAdapter";

/// Creates missing adapters and copies the values of the others. Returns whether the graph was changed.
pub(super) async fn sync_adapters(graph: &OperatorGraph, access: &OperatorClient) -> ApiResult<bool> {
    let mut changed = false;
    for component in graph.components.iter().filter(|component| component.has_adapter()) {
        let name = format!("{}-{}", graph.name(), component.name.to_lowercase());
        match access.find(graph.namespace(), &access.adapters(), &name).await? {
            None => create_adapter(graph, component, &name, access).await?,
            Some(adapter) if adapter["spec"]["replicas"] != component.replicas() => {
                let path = replicas_path(graph, component);
                let value = &adapter["spec"]["replicas"];
                access
                    .json_patch(&graph.object, "", json!([{"op": "add", "path": path, "value": value}]))
                    .await?;
                changed = true;
            }
            Some(_) => {}
        }
    }
    Ok(changed)
}

async fn create_adapter(
    graph: &OperatorGraph,
    component: &GraphComponent,
    name: &str,
    access: &OperatorClient,
) -> ApiResult<()> {
    let field = match graph.generation {
        GraphGeneration::V1Alpha1 => "serviceName",
        GraphGeneration::V1Beta1 => "componentName",
    };
    let adapter = json!({
        "apiVersion": text(&graph.object, "/apiVersion"),
        "kind": ADAPTER_KIND,
        "metadata": {"name": name, "namespace": graph.namespace(), "ownerReferences": owner_references(&graph.object)},
        "spec": {"replicas": component.replicas(), "dgdRef": {"name": graph.name(), field: component.name}},
    });
    access.create_if_absent(&adapter).await?;
    let message = format!("Created scaling adapter {name} for component {}", component.name);
    access.report_event(&graph.object, "Normal", "AdapterCreated", &message).await
}

/// Returns the JSON pointer of the component's replicas in the graph.
fn replicas_path(graph: &OperatorGraph, component: &GraphComponent) -> String {
    match graph.generation {
        GraphGeneration::V1Alpha1 => format!("/spec/services/{}/replicas", component.name),
        GraphGeneration::V1Beta1 => {
            let is_match = |one: &Value| one["name"] == *component.name;
            let index = list(&graph.object, "/spec/components").iter().position(is_match).unwrap_or_default();
            format!("/spec/components/{index}/replicas")
        }
    }
}
