//! The CRD of PodMonitors with only the fields that decide what is scraped, and PodMonitors for one role of a deployment.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};

use crate::Outcome;
use crate::kubernetes::case_namespace::CaseNamespace;

const NAME: &str = "podmonitors.monitoring.coreos.com";
/// How long the API server may need to serve an established CRD.
const SERVED_TIMEOUT: Duration = Duration::from_secs(60);

fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("monitoring.coreos.com", "v1", "PodMonitor"))
}

fn definition() -> Value {
    let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let schema = json!({ "type": "object", "properties": { "spec": any } });
    let version =
        json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } });
    let names = json!({ "kind": "PodMonitor", "plural": "podmonitors", "singular": "podmonitor" });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": NAME },
        "spec": { "group": "monitoring.coreos.com", "names": names, "scope": "Namespaced", "versions": [version] },
    })
}

/// Installs the CRD and waits until the API server serves it.
pub async fn install(client: &Client) -> Outcome {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.patch(NAME, &PatchParams::apply("tests").force(), &Patch::Apply(&definition())).await?;
    await_condition(definitions, NAME, conditions::is_crd_established()).await?;
    let monitors: Api<DynamicObject> = Api::all_with(client.clone(), &resource());
    let limit = Instant::now() + SERVED_TIMEOUT;
    while let Err(error) = monitors.list(&ListParams::default()).await {
        if Instant::now() > limit {
            return Err(format!("PodMonitors are not served: {error}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Applies a PodMonitor with the name of a role. It selects the pods whose component type is `label`, and one port.
pub async fn apply(namespace: &CaseNamespace, role: &str, label: &str, port: &str) -> Outcome {
    let monitors: Api<DynamicObject> =
        Api::namespaced_with(namespace.client(), namespace.name(), &resource());
    let monitor = json!({
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": { "name": role },
        "spec": {
            "selector": { "matchLabels": { "nvidia.com/dynamo-component-type": label } },
            "podMetricsEndpoints": [{ "port": port, "path": "/metrics" }],
        },
    });
    monitors.patch(role, &PatchParams::apply("tests").force(), &Patch::Apply(&monitor)).await?;
    Ok(())
}
