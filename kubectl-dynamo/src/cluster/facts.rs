//! What one look at the cluster tells before anything is applied: single questions here, the whole pass in `gather`.

mod gather;
mod read;

use base64::Engine;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Cluster, ClusterError, Kind, Result};
use crate::preflight::{ClaimFacts, Platform};
use crate::resources::GraphApi;
pub use gather::Look;

impl Cluster {
    /// Reads which Dynamo platform the cluster has.
    ///
    /// # Errors
    /// [`ClusterError::NoPlatform`] where no version serves DynamoGraphDeployment; refusals.
    pub async fn platform(&self) -> Result<Platform> {
        let (beta, alpha, monitoring, groups) = futures::try_join!(
            self.group_resources("nvidia.com/v1beta1"),
            self.group_resources("nvidia.com/v1alpha1"),
            self.group_resources("monitoring.coreos.com/v1"),
            self.groups(),
        )?;
        let has = |name: &str| groups.iter().any(|group| group == name);
        // Its group alone says little: EKS has one for the health of nodes, too.
        let eks = match has("eks.amazonaws.com") {
            true => self.group_resources("eks.amazonaws.com/v1").await?,
            false => None,
        };
        let serves = |list: &Option<APIResourceList>, name: &str| {
            list.iter().flat_map(|list| &list.resources).any(|resource| resource.name == name)
        };
        let beta_graph = beta.as_ref().and_then(graph_storage_hash);
        let alpha_graph = alpha.as_ref().and_then(graph_storage_hash);
        let stored_as_beta =
            |hash: &str| hash == storage_version_hash("nvidia.com", "v1beta1", "DynamoGraphDeployment");
        let graph_api = match (&beta_graph, &alpha_graph) {
            (None, None) => return Err(ClusterError::NoPlatform { server: self.server.clone() }),
            (Some(hash), _) if stored_as_beta(hash) => GraphApi::V1Beta1,
            (Some(_), None) => GraphApi::V1Beta1,
            (_, Some(_)) => GraphApi::V1Alpha1,
        };
        Ok(Platform {
            graph_api,
            serves_v1beta1: beta.is_some(),
            serves_v1beta1_graph: beta_graph.is_some(),
            grove: has("grove.io"),
            leader_worker_sets: has("leaderworkerset.x-k8s.io"),
            volcano: has("scheduling.volcano.sh"),
            kai_scheduler: has("scheduling.run.ai"),
            karpenter: has("karpenter.sh"),
            pod_monitors: serves(&monitoring, "podmonitors"),
            eks_auto_mode: serves(&eks, "nodeclasses"),
        })
    }

    /// The names of all groups that are served.
    async fn groups(&self) -> Result<Vec<String>> {
        let discover = async |client: kube::Client| client.list_api_groups().await;
        let groups = self.ask("discover", Kind::Graph(GraphApi::V1Beta1), "", discover).await?;
        Ok(groups.groups.into_iter().map(|group| group.name).collect())
    }

    async fn group_resources(&self, group_version: &str) -> Result<Option<APIResourceList>> {
        let discover = async |client: kube::Client| match client.list_api_group_resources(group_version).await
        {
            Ok(list) => Ok(Some(list)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        };
        self.ask("discover", Kind::Graph(GraphApi::V1Beta1), "", discover).await
    }

    /// What is known of a claim; nothing where it does not exist.
    ///
    /// # Errors
    /// Refusals.
    pub async fn claim(&self, name: &str) -> Result<Option<ClaimFacts>> {
        Ok(self.get(Kind::Claim, name).await?.as_ref().map(claim_facts))
    }

    /// Whether a Secret has a key with something in it; `None` where the Secret does not exist.
    ///
    /// # Errors
    /// Refusals.
    pub async fn secret_has_key(&self, name: &str, key: &str) -> Result<Option<bool>> {
        let secret = self.get(Kind::Secret, name).await?;
        Ok(secret.map(|secret| secret["data"][key].as_str().is_some_and(|value| !value.is_empty())))
    }
}

/// What is known of a claim.
pub fn claim_facts(claim: &Value) -> ClaimFacts {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let modes: Vec<String> =
        claim["spec"]["accessModes"].as_array().into_iter().flatten().map(text).collect();
    ClaimFacts {
        bound: claim["status"]["phase"] == "Bound",
        many_nodes: modes.iter().any(|mode| mode == "ReadWriteMany"),
        size: text(&claim["spec"]["resources"]["requests"]["storage"]),
        storage_class: text(&claim["spec"]["storageClassName"]),
        access_modes: modes.join(","),
        phase: text(&claim["status"]["phase"]),
    }
}

fn graph_storage_hash(list: &APIResourceList) -> Option<String> {
    list.resources
        .iter()
        .find(|resource| resource.name == "dynamographdeployments")
        .map(|resource| resource.storage_version_hash.clone().unwrap_or_default())
}

/// The hash that discovery publishes for a stored version: the first 8 bytes of the sha256 of
/// `group/version/kind`, in base64 (`k8s.io/apiserver/pkg/endpoints/discovery`).
fn storage_version_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{group}/{version}/{kind}").as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_storage_hash_is_the_one_kubernetes_publishes() {
        // Published by every API server for the core kinds.
        assert_eq!(storage_version_hash("", "v1", "Pod"), "xPOwRZ+Yhw8=");
        assert_eq!(storage_version_hash("apps", "v1", "Deployment"), "8aSe+NMegvE=");
    }
}
