//! Facts about the cluster that are read before anything is applied: the Dynamo platform, a PVC, a Secret
//! key. `collect` reads all facts for the preflight checks. Whether a fact is a problem is not decided here.

mod collect;
mod parse;

use base64::Engine;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use sha2::{Digest, Sha256};

use super::{Cluster, ClusterError, Kind, Result};
pub use collect::FactsRequest;
use kubectl_dynamo_core::preflight::{Platform, PvcFacts};
use kubectl_dynamo_core::resources::GraphApi;

impl Cluster {
    /// Detects the Dynamo platform and the optional components of the cluster.
    ///
    /// # Errors
    /// [`ClusterError::DynamoNotInstalled`] if the API server does not serve DynamoGraphDeployment, and API
    /// errors.
    pub async fn platform(&self) -> Result<Platform> {
        let (beta, alpha, monitoring, groups) = futures::try_join!(
            self.group_resources("nvidia.com/v1beta1"),
            self.group_resources("nvidia.com/v1alpha1"),
            self.group_resources("monitoring.coreos.com/v1"),
            self.api_groups(),
        )?;
        let has_group = |name: &str| groups.iter().any(|group| group == name);
        // The group alone proves nothing: EKS also uses it for node health.
        let eks = match has_group("eks.amazonaws.com") {
            true => self.group_resources("eks.amazonaws.com/v1").await?,
            false => None,
        };
        let has_resource = |list: &Option<APIResourceList>, name: &str| {
            list.iter().flat_map(|list| &list.resources).any(|resource| resource.name == name)
        };
        let beta_graph = beta.as_ref().and_then(graph_storage_hash);
        let alpha_graph = alpha.as_ref().and_then(graph_storage_hash);
        let stored_as_beta =
            |hash: &str| hash == storage_version_hash("nvidia.com", "v1beta1", "DynamoGraphDeployment");
        let graph_api = match (&beta_graph, &alpha_graph) {
            (None, None) => return Err(ClusterError::DynamoNotInstalled { server: self.server.clone() }),
            (Some(hash), _) if stored_as_beta(hash) => GraphApi::V1Beta1,
            (Some(_), None) => GraphApi::V1Beta1,
            (_, Some(_)) => GraphApi::V1Alpha1,
        };
        Ok(Platform {
            graph_api,
            serves_v1beta1: beta.is_some(),
            serves_v1beta1_graph: beta_graph.is_some(),
            grove: has_group("grove.io"),
            leader_worker_sets: has_group("leaderworkerset.x-k8s.io"),
            volcano: has_group("scheduling.volcano.sh"),
            kai_scheduler: has_group("scheduling.run.ai"),
            karpenter: has_group("karpenter.sh"),
            pod_monitors: has_resource(&monitoring, "podmonitors"),
            eks_auto_mode: has_resource(&eks, "nodeclasses"),
        })
    }

    /// The names of all API groups.
    async fn api_groups(&self) -> Result<Vec<String>> {
        let discover = async |client: kube::Client| client.list_api_groups().await;
        let groups = self.request("discover", Kind::Graph(GraphApi::V1Beta1), "", discover).await?;
        Ok(groups.groups.into_iter().map(|group| group.name).collect())
    }

    async fn group_resources(&self, group_version: &str) -> Result<Option<APIResourceList>> {
        let discover = async |client: kube::Client| match client.list_api_group_resources(group_version).await
        {
            Ok(list) => Ok(Some(list)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        };
        self.request("discover", Kind::Graph(GraphApi::V1Beta1), "", discover).await
    }

    /// The facts about a PVC; `None` if it does not exist.
    ///
    /// # Errors
    /// API errors.
    pub async fn pvc_facts(&self, name: &str) -> Result<Option<PvcFacts>> {
        Ok(self.get_object::<PersistentVolumeClaim>(name).await?.map(|pvc| pvc_facts(&pvc)))
    }

    /// Whether a Secret has a non-empty value for this key; `None` if the Secret does not exist.
    ///
    /// # Errors
    /// API errors.
    pub async fn secret_has_key(&self, name: &str, key: &str) -> Result<Option<bool>> {
        let secret = self.get_object::<Secret>(name).await?;
        let has_key = |secret: &Secret| {
            secret.data.as_ref().and_then(|data| data.get(key)).is_some_and(|value| !value.0.is_empty())
        };
        Ok(secret.map(|secret| has_key(&secret)))
    }
}

/// The facts of a PVC object.
pub fn pvc_facts(pvc: &PersistentVolumeClaim) -> PvcFacts {
    let spec = pvc.spec.as_ref();
    let modes = spec.and_then(|spec| spec.access_modes.clone()).unwrap_or_default();
    let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let size = requests.and_then(|requests| requests.get("storage"));
    let phase = pvc.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
    PvcFacts {
        bound: phase == "Bound",
        is_multi_node: modes.iter().any(|mode| mode == "ReadWriteMany"),
        size: size.map(|size| size.0.clone()).unwrap_or_default(),
        storage_class: spec.and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default(),
        access_modes: modes.join(","),
        phase,
    }
}

fn graph_storage_hash(list: &APIResourceList) -> Option<String> {
    list.resources
        .iter()
        .find(|resource| resource.name == "dynamographdeployments")
        .map(|resource| resource.storage_version_hash.clone().unwrap_or_default())
}

/// The hash that discovery publishes for a storage version: base64 of the first 8 bytes of the SHA-256 of
/// `group/version/kind` (`k8s.io/apiserver/pkg/endpoints/discovery`).
fn storage_version_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{group}/{version}/{kind}").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_version_hash_matches_kubernetes() {
        // The values that every API server publishes for these kinds.
        assert_eq!(storage_version_hash("", "v1", "Pod"), "xPOwRZ+Yhw8=");
        assert_eq!(storage_version_hash("apps", "v1", "Deployment"), "8aSe+NMegvE=");
    }
}
