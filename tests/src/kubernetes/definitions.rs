//! Dynamo's custom resource definitions, as a cluster of each generation holds them.

use std::path::PathBuf;

use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::Value;

use crate::{Outcome, cache};

/// Which object version of a graph deployment a cluster stores, and so which operator runs there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GraphGeneration {
    /// v1alpha1 alone: Dynamo 0.9.1.
    V1Alpha1,
    /// v1beta1 stored, v1alpha1 served: Dynamo 1.5 and later.
    V1Beta1,
}

impl GraphGeneration {
    /// The stored version, as in `nvidia.com/VERSION`.
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

/// Why the definitions cannot be read, if they cannot.
pub fn missing() -> Option<String> {
    let absent = [GraphGeneration::V1Alpha1, GraphGeneration::V1Beta1]
        .into_iter()
        .map(folder)
        .find(|path| !path.is_dir());
    absent.map(|path| format!("{} is missing: set DYNAMO_CRD_DIR to Dynamo's definitions", path.display()))
}

fn folder(generation: GraphGeneration) -> PathBuf {
    root().join(generation.folder())
}

fn root() -> PathBuf {
    let given = cache::set("DYNAMO_CRD_DIR");
    given.unwrap_or_else(|| cache::repository().join("../shared/crds"))
}

/// The version that a definition is made to store: without conversion the other one comes back empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    V1Alpha1,
    V1Beta1,
}

/// The definition of graph deployments of one upstream state, alone, with a storage version of our choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphDefinition {
    /// Its folder among the definitions.
    pub folder: &'static str,
    pub stored: Stored,
}

impl GraphDefinition {
    /// The definition itself, as a bare API server can hold it.
    pub fn read(self) -> Outcome<Value> {
        let mut definition = read(&root().join(self.folder).join("nvidia.com_dynamographdeployments.yaml"))?;
        let stored = match self.stored {
            Stored::V1Alpha1 => "v1alpha1",
            Stored::V1Beta1 => "v1beta1",
        };
        for version in
            definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut).into_iter().flatten()
        {
            version["storage"] = (version["name"] == stored).into();
        }
        Ok(definition)
    }

    /// Puts it in the place of any other that the API server holds, and waits until it is served.
    pub async fn put(self, client: &Client) -> Outcome {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let definition = self.read()?;
        let name = definition["metadata"]["name"].as_str().ok_or("a definition without a name")?;
        if let Some(other) = api.get_opt(name).await? {
            let uid = other.metadata.uid.unwrap_or_default();
            api.delete(name, &DeleteParams::default()).await?;
            await_condition(api.clone(), name, conditions::is_deleted(&uid)).await?;
        }
        apply_one(client, &definition).await?;
        self.wait_until_served(client).await
    }

    /// Established comes a moment before the server answers, and that moment is no event.
    async fn wait_until_served(self, client: &Client) -> Outcome {
        let version = match self.stored {
            Stored::V1Alpha1 => GraphGeneration::V1Alpha1,
            Stored::V1Beta1 => GraphGeneration::V1Beta1,
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

/// Applies the definitions and waits until the API server serves them.
pub(super) async fn apply(client: &Client, generation: GraphGeneration) -> Outcome {
    let mut definitions = Vec::new();
    for entry in std::fs::read_dir(folder(generation))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            definitions.push(read(&path)?);
        }
    }
    try_join_all(definitions.iter().map(|definition| apply_one(client, definition))).await?;
    Ok(())
}

fn read(path: &std::path::Path) -> Outcome<Value> {
    let mut definition: Value = serde_saphyr::from_str(&std::fs::read_to_string(path)?)?;
    // Conversion by webhook would need the real operator; without it only the stored version may be used.
    if let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("conversion");
    }
    Ok(definition)
}

async fn apply_one(client: &Client, definition: &Value) -> Outcome {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = definition["metadata"]["name"].as_str().ok_or("a definition without a name")?;
    // Server-side: the annotation of a client-side apply cannot hold 800 kB.
    api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(definition)).await?;
    await_condition(api, name, conditions::is_crd_established()).await?;
    Ok(())
}
