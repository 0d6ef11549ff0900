//! Writes entries into the ConfigMap with a proxy's configuration, and restarts the proxy. Only the text between our
//! markers changes, and a ConfigMap that changed since it was read is not overwritten.

use serde_json::{Value, json};

use super::error::GatewayError;
use crate::context::Context;
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, SendMode};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::gateway::{EditedText, GatewayConfig, edit_marked_text};
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::resources::Resource;

/// A separate field manager: `up` must neither own nor remove the field.
const MANAGER: &str = "kubectl-dynamo-gateway";

/// The annotation with which `kubectl rollout restart` replaces the pods of a Deployment.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// The ConfigMap to change, and the Deployment to restart.
#[derive(Debug, Clone)]
pub(crate) struct GatewayObjects {
    pub config_map: String,
    /// The key of the configuration in the ConfigMap.
    pub key: String,
    /// The Deployment of the proxy, if it is to be restarted.
    pub deployment: Option<String>,
    /// `None` for the namespace of the command.
    pub namespace: Option<String>,
}

/// The objects of a proxy as they were read.
pub(crate) struct LiveGateway {
    objects: GatewayObjects,
    cluster: Cluster,
    resource_version: String,
    text: String,
}

/// A change of the configuration that is not written yet.
pub(crate) struct GatewayChange<'a> {
    live: &'a LiveGateway,
    edited: EditedText,
}

impl GatewayObjects {
    /// Reads the objects.
    ///
    /// # Errors
    /// An object that does not exist, a ConfigMap without the key, and every API error.
    pub(crate) async fn read(self, context: &Context) -> Result<LiveGateway> {
        let mut cluster = context.cluster().await?;
        if let Some(namespace) = &self.namespace {
            cluster.namespace.clone_from(namespace);
        }
        self.read_from(cluster).await
    }

    async fn read_from(self, cluster: Cluster) -> Result<LiveGateway> {
        let config_map = existing(&cluster, Kind::ConfigMap, &self.config_map).await?;
        if let Some(deployment) = &self.deployment {
            existing(&cluster, Kind::Deployment, deployment).await?;
        }
        let data = ObjectView::new(&config_map).map("/data").and_then(|data| data.get(&self.key));
        let text = data.and_then(Value::as_str).ok_or_else(|| GatewayError::DataKeyMissing {
            kind: Kind::ConfigMap,
            name: self.config_map.clone(),
            namespace: cluster.namespace.clone(),
            key: self.key.clone(),
        })?;
        let resource_version = ObjectView::new(&config_map).text("/metadata/resourceVersion");
        Ok(LiveGateway {
            resource_version: resource_version.unwrap_or_default().to_owned(),
            text: text.to_owned(),
            objects: self,
            cluster,
        })
    }
}

async fn existing(cluster: &Cluster, kind: Kind, name: &str) -> Result<Value> {
    let found = cluster.get(kind, name).await?;
    let namespace = || cluster.namespace.clone();
    Ok(found.ok_or_else(|| ClusterError::NotFound { kind, name: name.to_owned(), namespace: namespace() })?)
}

impl LiveGateway {
    /// Makes the change that writes these entries.
    ///
    /// # Errors
    /// A text that cannot be changed without altering other parts of it.
    pub(crate) fn change(&self, config: &GatewayConfig) -> Result<GatewayChange<'_>> {
        Ok(GatewayChange { edited: edit_marked_text(&self.text, config)?, live: self })
    }

    /// The ConfigMap as kubectl writes it, and its namespace.
    pub(crate) fn describe(&self) -> String {
        format!("configmap/{} in namespace \"{}\"", self.objects.config_map, self.cluster.namespace)
    }

    /// The Deployment that is restarted after a change.
    pub(crate) fn deployment(&self) -> Option<&str> {
        self.objects.deployment.as_deref()
    }

    /// Restarts the pods of the proxy, as `kubectl rollout restart` does.
    ///
    /// # Errors
    /// Every API error.
    pub(crate) async fn restart(&self, deployment: &str) -> Result<()> {
        let now = jiff::Timestamp::now().to_string();
        let change =
            json!({ "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: now } } } } });
        self.cluster.merge_patch(Kind::Deployment, deployment, &change).await?;
        Ok(())
    }
}

impl GatewayChange<'_> {
    /// The text before and after the change.
    pub(crate) fn texts(&self) -> (&str, &str) {
        (&self.live.text, &self.edited.text)
    }

    /// Whether the text changes.
    pub(crate) fn is_empty(&self) -> bool {
        self.live.text == self.edited.text
    }

    /// Settings that the user must write outside of the markers.
    pub(crate) fn missing_settings(&self) -> &[String] {
        &self.edited.missing_settings
    }

    /// Sends the change, or a dry run of it.
    ///
    /// # Errors
    /// Every API error, also that the ConfigMap changed since it was read.
    pub(crate) async fn send(&self, mode: SendMode) -> Result<()> {
        let GatewayObjects { config_map, key, .. } = &self.live.objects;
        let object = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": config_map,
                "namespace": self.live.cluster.namespace,
                "resourceVersion": self.live.resource_version,
            },
            "data": { key: self.edited.text },
        });
        self.live.cluster.apply_as(MANAGER, &Resource { object }, mode).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::BodyExt;
    use kubectl_dynamo_cluster::fake_api_server::{self, FakeRequest};
    use kubectl_dynamo_core::gateway::{EntryOwner, RoutedDeployment, RoutedModel};

    use super::*;

    const TEXT: &str = "# ours\nmodel_list:\n  - model_name: x\n    litellm_params: {model: x}\n";

    /// A request that the server received: method, path with query, and body.
    type Received = (String, String, Value);

    async fn live(key: &str) -> (Result<LiveGateway>, Arc<Mutex<Vec<Received>>>) {
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let log = received.clone();
        let cluster = fake_api_server::cluster(json!({}), move |request: FakeRequest| {
            let log = log.clone();
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("a complete body").to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let received = (parts.method.to_string(), parts.uri.to_string(), body);
                log.lock().expect("no panic").push(received);
                let kind = if parts.uri.path().contains("deployments") { "Deployment" } else { "ConfigMap" };
                fake_api_server::object_response(&json!({
                    "apiVersion": "v1", "kind": kind,
                    "metadata": { "name": "litellm", "resourceVersion": "7" },
                    "data": { "config.yaml": TEXT, "other": "kept" },
                }))
            }
        });
        let objects = GatewayObjects {
            config_map: "litellm".into(),
            key: key.into(),
            deployment: Some("litellm".into()),
            namespace: None,
        };
        (objects.read_from(cluster.await).await, received)
    }

    fn config() -> GatewayConfig {
        let deployment = RoutedDeployment {
            owner: EntryOwner { namespace: Some("serving".into()), name: "tiny".into() },
            base_url: "http://tiny-frontend.serving.svc:8000/v1".into(),
            models: vec![RoutedModel { name: "tiny".into(), context_length: None }],
            replicas: 1,
        };
        GatewayConfig::new(&[deployment], None).expect("one model")
    }

    #[tokio::test]
    async fn only_the_key_is_applied_and_only_to_the_version_that_was_read() {
        let (live, received) = live("config.yaml").await;
        let live = live.expect("the objects exist");
        let change = live.change(&config()).expect("an editable text");
        assert!(!change.is_empty() && change.texts().1.starts_with(TEXT), "{}", change.texts().1);
        change.send(SendMode::Write).await.expect("the server accepts it");
        live.restart("litellm").await.expect("the server accepts it");
        let received = received.lock().expect("no panic");
        let [.., (method, uri, applied), (restart_method, restart_uri, restart)] = received.as_slice() else {
            panic!("{received:?}")
        };
        assert_eq!(method, "PATCH");
        assert!(uri.contains("fieldManager=kubectl-dynamo-gateway"), "{uri}");
        assert_eq!(applied["metadata"]["resourceVersion"], "7");
        assert_eq!(applied["data"], json!({ "config.yaml": change.texts().1 }));
        assert!(restart_method == "PATCH" && restart_uri.contains("/deployments/litellm"), "{restart_uri}");
        let annotations = &restart["spec"]["template"]["metadata"]["annotations"];
        assert!(annotations[RESTARTED_AT].is_string(), "{restart}");
    }

    #[tokio::test]
    async fn missing_key_is_named() {
        let error = live("litellm.yaml").await.0.err().expect("the ConfigMap does not have the key");
        let text = error.to_string();
        assert!(text.contains("ConfigMap \"litellm\"") && text.contains("\"litellm.yaml\""), "{text}");
    }
}
