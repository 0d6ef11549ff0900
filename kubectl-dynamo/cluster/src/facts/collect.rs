//! Collects the facts for preflight checks with concurrent requests.
//!
//! A denied or failed request becomes an unavailable fact with its reason, not an error. Only an unreachable
//! cluster or rejected credentials fail the collection.

use futures::future::OptionFuture;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::parse;
use crate::{Cluster, ClusterError, Kind, Result};
use kubectl_dynamo_core::preflight::{
    Authorizer, ClusterFacts, Fact, Node, OperatorFacts, PodUsage, Volume, Webhook,
};

/// Selects the facts to collect. Each takes one list request; webhooks and operators take several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactsRequest {
    pub kubernetes: bool,
    pub namespace: bool,
    pub permissions: bool,
    pub operators: bool,
    pub webhooks: bool,
    /// Nodes, and whether a cluster autoscaler may add some.
    pub nodes: bool,
    /// Pods in all namespaces.
    pub pods: bool,
    /// ResourceQuotas and LimitRanges of the namespace.
    pub limits: bool,
    pub storage: bool,
    /// Name of the Secret with the hub token.
    pub token_secret: Option<String>,
}

/// A list response, with only the fields of `T`.
#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

impl Cluster {
    /// Collects all selected facts concurrently.
    ///
    /// # Errors
    /// An unreachable server or rejected credentials.
    pub async fn collect_facts(&self, request: &FactsRequest) -> Result<ClusterFacts> {
        let if_requested = |is_requested: bool| is_requested.then_some(());
        let (
            kubernetes,
            namespace_phase,
            permissions,
            operators,
            webhooks,
            nodes,
            autoscaler,
            pods,
            quotas,
            limit_ranges,
            storage_classes,
            volumes,
            token_secret,
        ) = Box::pin(async {
            futures::try_join!(
                if_some(if_requested(request.kubernetes).map(|()| self.kubernetes_version())),
                if_some(if_requested(request.namespace).map(|()| self.namespace_phase())),
                if_some(if_requested(request.permissions).map(|()| self.permissions())),
                if_some(if_requested(request.operators).map(|()| self.operators())),
                if_some(if_requested(request.webhooks).map(|()| self.webhooks())),
                if_some(if_requested(request.nodes).map(|()| self.nodes())),
                if_some(if_requested(request.nodes).map(|()| self.autoscaler())),
                if_some(if_requested(request.pods).map(|()| self.pods_with_nodes())),
                if_some(if_requested(request.limits).map(|()| self.list_facts(
                    Kind::ResourceQuota,
                    Some(&self.namespace),
                    parse::quota
                ))),
                if_some(if_requested(request.limits).map(|()| self.list_facts(
                    Kind::LimitRange,
                    Some(&self.namespace),
                    parse::limit_range
                ))),
                if_some(if_requested(request.storage).map(|()| self.list_facts(
                    Kind::StorageClass,
                    None,
                    parse::storage_class
                ))),
                if_some(if_requested(request.storage).map(|()| self.volumes())),
                if_some(request.token_secret.as_deref().map(|name| self.secret_keys(name))),
            )
        })
        .await?;
        // A role in the namespace cannot grant cluster-wide permissions, and the skipped checks are reported
        // anyway.
        self.missing_permissions.retain_namespace(&self.namespace);
        Ok(ClusterFacts {
            namespace: self.namespace.clone(),
            kubernetes,
            namespace_phase,
            permissions,
            operators,
            webhooks,
            nodes,
            autoscaler,
            pods,
            quotas,
            limit_ranges,
            storage_classes,
            volumes,
            token_secret,
            ..ClusterFacts::default()
        })
    }

    async fn kubernetes_version(&self) -> Result<Fact<(u32, u32)>> {
        let get_version = async |client: Client| client.apiserver_version().await;
        let version = self.request("discover", Kind::Namespace, "", get_version).await;
        Ok(match to_fact(version)? {
            Fact::Known(version) => {
                let number = |text: &str| text.trim_end_matches('+').parse().unwrap_or(0);
                Fact::Known((number(&version.major), number(&version.minor)))
            }
            Fact::Unavailable(reason) => Fact::Unavailable(reason),
            Fact::NotQueried => Fact::NotQueried,
        })
    }

    async fn namespace_phase(&self) -> Result<Fact<Option<String>>> {
        let get = async |client| Api::<Namespace>::all(client).get_opt(&self.namespace).await;
        let found = self.request("get", Kind::Namespace, &self.namespace, get).await;
        to_fact(found.map(|found| {
            let phase = |namespace: Namespace| namespace.status.and_then(|status| status.phase);
            found.map(|namespace| phase(namespace).unwrap_or_else(|| "Active".into()))
        }))
    }

    async fn permissions(&self) -> Result<Fact<Authorizer>> {
        let review = SelfSubjectRulesReview {
            spec: SelfSubjectRulesReviewSpec { namespace: Some(self.namespace.clone()) },
            ..SelfSubjectRulesReview::default()
        };
        let create = async |client| {
            Api::<SelfSubjectRulesReview>::all(client).create(&PostParams::default(), &review).await
        };
        let response = self.request("create", Kind::SelfSubjectRulesReview, "", create).await;
        to_fact(response.map(|response| parse::permissions(response.status.unwrap_or_default())))
    }

    /// Deployments of Dynamo operators in all namespaces, or in this namespace if listing all is not
    /// permitted.
    async fn operators(&self) -> Result<Fact<Vec<OperatorFacts>>> {
        // Every version of the chart sets this label. The name of the Deployment is not fixed.
        let labels = ListParams::default().labels("control-plane=controller-manager");
        let read = |all: Vec<Deployment>| all.iter().filter_map(parse::operator).collect::<Vec<_>>();
        let in_all_namespaces = to_fact(self.list_items(Kind::Deployment, None, &labels).await.map(read))?;
        if matches!(in_all_namespaces, Fact::Known(_)) {
            return Ok(in_all_namespaces);
        }
        let in_namespace = self.list_items(Kind::Deployment, Some(&self.namespace), &labels).await.map(read);
        Ok(match to_fact(in_namespace)? {
            Fact::Known(in_namespace) if !in_namespace.is_empty() => Fact::Known(in_namespace),
            _ => in_all_namespaces,
        })
    }

    /// Webhooks for graphs, each with the number of ready addresses behind its Service.
    async fn webhooks(&self) -> Result<Fact<Vec<Webhook>>> {
        let all = ListParams::default();
        let (validating, mutating) = futures::try_join!(
            async { to_fact(self.list_items(Kind::ValidatingWebhookConfiguration, None, &all).await) },
            async { to_fact(self.list_items(Kind::MutatingWebhookConfiguration, None, &all).await) },
        )?;
        let (validating, mutating) = match (validating, mutating) {
            (Fact::Known(validating), Fact::Known(mutating)) => (validating, mutating),
            (Fact::Unavailable(reason), _) | (_, Fact::Unavailable(reason)) => {
                return Ok(Fact::Unavailable(reason));
            }
            _ => return Ok(Fact::NotQueried),
        };
        let configurations = validating.into_iter().chain(mutating);
        let mut webhooks: Vec<Webhook> =
            configurations.flat_map(parse::WebhookConfiguration::into_facts).collect();
        let mut ready_by_service: Vec<(String, Fact<usize>)> = Vec::new();
        for webhook in &mut webhooks {
            let Some(service) = &webhook.service else { continue };
            let cached =
                ready_by_service.iter().find(|(one, _)| one == service).map(|(_, ready)| ready.clone());
            let ready = match cached {
                Some(ready) => ready,
                None => self.count_ready_addresses(service).await?,
            };
            ready_by_service.push((service.clone(), ready.clone()));
            webhook.ready = ready;
        }
        Ok(Fact::Known(webhooks))
    }

    /// The number of ready addresses behind the Service `namespace/name`.
    async fn count_ready_addresses(&self, service: &str) -> Result<Fact<usize>> {
        let (namespace, name) = service.split_once('/').unwrap_or((&self.namespace, service));
        let parameters = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
        let slices = self.list_items(Kind::EndpointSlice, Some(namespace), &parameters).await;
        to_fact(slices.map(|slices| slices.iter().map(parse::ready_addresses).sum()))
    }

    async fn nodes(&self) -> Result<Fact<Vec<Node>>> {
        let nodes = self.list_items(Kind::Node, None, &ListParams::default()).await;
        to_fact(nodes.map(|nodes| nodes.into_iter().map(parse::NodeObject::into_facts).collect()))
    }

    /// Whether a cluster autoscaler runs. It writes its status to a ConfigMap of this name, also on managed
    /// clouds.
    async fn autoscaler(&self) -> Result<Fact<bool>> {
        let get = async |client| {
            let kind = Kind::ConfigMap.api_resource();
            let api = Api::<DynamicObject>::namespaced_with(client, "kube-system", &kind);
            api.get_metadata_opt("cluster-autoscaler-status").await
        };
        to_fact(self.request("get", Kind::ConfigMap, "", get).await.map(|found| found.is_some()))
    }

    async fn pods_with_nodes(&self) -> Result<Fact<Vec<PodUsage>>> {
        let running =
            ListParams::default().fields("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed");
        let pods = self.list_items(Kind::Pod, None, &running).await;
        to_fact(pods.map(|pods| pods.into_iter().map(parse::PodObject::into_facts).collect()))
    }

    async fn volumes(&self) -> Result<Fact<Vec<Volume>>> {
        let volumes = self.list_items(Kind::PersistentVolume, None, &ListParams::default()).await;
        to_fact(volumes.map(|volumes| volumes.iter().filter_map(parse::volume).collect()))
    }

    async fn secret_keys(&self, name: &str) -> Result<Fact<Option<Vec<String>>>> {
        let secret = self.get_object::<Secret>(name).await;
        to_fact(secret.map(|secret| secret.map(|secret| parse::non_empty_keys(&secret))))
    }

    /// The facts of all objects of a kind, in one namespace or cluster-wide.
    async fn list_facts<K: DeserializeOwned, T>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        read: fn(K) -> T,
    ) -> Result<Fact<Vec<T>>> {
        let items: Result<Vec<K>> = self.list_items(kind, namespace, &ListParams::default()).await;
        to_fact(items.map(|items| items.into_iter().map(read).collect()))
    }

    /// Lists objects and deserializes only the fields of `T`: the pods of a large cluster take many
    /// megabytes.
    async fn list_items<T: DeserializeOwned>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        parameters: &ListParams,
    ) -> Result<Vec<T>> {
        let resource = kind.api_resource();
        let path = <DynamicObject as kube::Resource>::url_path(&resource, namespace);
        let list = async |client: Client| {
            let request = kube::core::Request::new(path.clone()).list(parameters);
            client.request::<Items<T>>(request.map_err(kube::Error::BuildRequest)?).await
        };
        Ok(self.request("list", kind, "", list).await?.items)
    }
}

/// Awaits an optional query; without one the fact is not queried.
async fn if_some<T>(query: Option<impl Future<Output = Result<Fact<T>>>>) -> Result<Fact<T>> {
    OptionFuture::from(query).await.unwrap_or(Ok(Fact::NotQueried))
}

/// Turns denied and failed requests into an unavailable fact. Connection errors stay errors.
fn to_fact<T>(result: Result<T>) -> Result<Fact<T>> {
    match result {
        Ok(value) => Ok(Fact::Known(value)),
        Err(ClusterError::Forbidden { permission, .. }) => {
            Ok(Fact::Unavailable(format!("missing permission to {permission}")))
        }
        Err(
            error @ (ClusterError::Server { .. }
            | ClusterError::WebhookUnavailable { .. }
            | ClusterError::Rejected { .. }
            | ClusterError::AdmissionDenied { .. }
            | ClusterError::NotFound { .. }),
        ) => Ok(Fact::Unavailable(error.to_string())),
        Err(error) => Err(error),
    }
}
