//! Dynamo's custom resource definitions for a cluster of each generation.
//! They are read from shared reference data and not stored in this repository.

use std::path::PathBuf;

use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::Value;

use crate::{Outcome, cache};

/// The graph API version that a cluster stores, and therefore which operator it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GraphGeneration {
    /// v1alpha1 only: Dynamo 0.9.1.
    V1Alpha1,
    /// v1beta1 stored, v1alpha1 served: Dynamo 1.5 and later.
    V1Beta1,
}

impl GraphGeneration {
    /// Returns the stored version, as in `nvidia.com/VERSION`.
    pub fn version(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "v1alpha1",
            Self::V1Beta1 => "v1beta1",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "0.9.1",
            Self::V1Beta1 => "1.5.0-main-20260821",
        }
    }
}

/// Returns why the CRDs cannot be read, if they cannot.
pub fn missing_reason() -> Option<String> {
    let absent = [GraphGeneration::V1Alpha1, GraphGeneration::V1Beta1]
        .into_iter()
        .map(definitions_folder)
        .find(|path| !path.is_dir());
    absent.map(|path| {
        format!("{} not found: set DYNAMO_CRD_DIR to the folder of Dynamo's CRDs", path.display())
    })
}

fn definitions_folder(generation: GraphGeneration) -> PathBuf {
    definitions_root().join(generation.folder())
}

fn definitions_root() -> PathBuf {
    let configured = cache::set("DYNAMO_CRD_DIR");
    configured.unwrap_or_else(|| cache::repository().join("../shared/crds"))
}

/// The version that a CRD stores. Without conversion, objects of the other version lose their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredVersion {
    V1Alpha1,
    V1Beta1,
}

/// The CRD of graph deployments at one upstream commit, with a chosen storage version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphDefinition {
    /// Its folder among the CRDs.
    pub folder: &'static str,
    pub stored_version: StoredVersion,
}

impl GraphDefinition {
    /// Returns the CRD, changed so that an API server without webhooks accepts it.
    pub fn read(self) -> Outcome<Value> {
        let mut definition = read_definition(
            &definitions_root().join(self.folder).join("nvidia.com_dynamographdeployments.yaml"),
        )?;
        let stored_version = match self.stored_version {
            StoredVersion::V1Alpha1 => "v1alpha1",
            StoredVersion::V1Beta1 => "v1beta1",
        };
        for version in
            definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten()
        {
            version["storage"] = (version["name"] == stored_version).into();
        }
        Ok(definition)
    }

    /// Replaces any other CRD of graph deployments on the API server, and waits until it is served.
    pub async fn install(self, client: &Client) -> Outcome {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let definition = self.read()?;
        let name = definition["metadata"]["name"].as_str().ok_or("the CRD does not have a name")?;
        if let Some(other) = api.get_opt(name).await? {
            let uid = other.metadata.uid.unwrap_or_default();
            api.delete(name, &DeleteParams::default()).await?;
            await_condition(api.clone(), name, conditions::is_deleted(&uid)).await?;
        }
        apply_one(client, &definition).await?;
        self.wait_until_served(client).await
    }

    /// The CRD is established shortly before the server serves it, and there is no event for that.
    async fn wait_until_served(self, client: &Client) -> Outcome {
        let version = match self.stored_version {
            StoredVersion::V1Alpha1 => GraphGeneration::V1Alpha1,
            StoredVersion::V1Beta1 => GraphGeneration::V1Beta1,
        };
        let graphs = crate::dynamo::graphs(client.clone(), version, "default");
        let limit = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while let Err(error) = graphs.list(&ListParams::default()).await {
            if std::time::Instant::now() > limit {
                return Err(format!("{} is not served: {error}", self.folder).into());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

/// Applies the CRDs and waits until the API server serves them.
pub(super) async fn apply_all(client: &Client, generation: GraphGeneration) -> Outcome {
    let mut definitions = Vec::new();
    for entry in std::fs::read_dir(definitions_folder(generation))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            definitions.push(read_definition(&path)?);
        }
    }
    try_join_all(definitions.iter().map(|definition| apply_one(client, definition))).await?;
    Ok(())
}

fn read_definition(path: &std::path::Path) -> Outcome<Value> {
    let mut definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    // Conversion by webhook requires the real operator; without it only the stored version may be used.
    if let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("conversion");
    }
    Ok(definition)
}

async fn apply_one(client: &Client, definition: &Value) -> Outcome {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition["metadata"]["name"].as_str().ok_or("the CRD does not have a name")?;
    // Server-side apply: the annotation of a client-side apply cannot contain 800 kB.
    api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(definition)).await?;
    await_condition(api, name, conditions::is_crd_established()).await?;
    Ok(())
}
