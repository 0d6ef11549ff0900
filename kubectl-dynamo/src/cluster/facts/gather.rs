//! One pass over a cluster: everything that is wanted is asked at once, and what may not be seen becomes a reason
//! instead of an error. Only a cluster that cannot be reached at all ends the pass.

use futures::future::OptionFuture;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::read;
use crate::cluster::{Cluster, ClusterError, Kind, Result};
use crate::preflight::{Authorizer, ClusterFacts, Fact, Node, Operator, PodUse, Volume, Webhook};

/// What to look at. Each is one list, the webhooks and the operator a few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    pub kubernetes: bool,
    pub namespace: bool,
    pub rights: bool,
    pub operators: bool,
    pub webhooks: bool,
    /// Nodes, and whether more may come.
    pub nodes: bool,
    /// Pods of all namespaces.
    pub pods: bool,
    /// Quotas and ranges of the namespace.
    pub limits: bool,
    pub storage: bool,
    /// The Secret of a token.
    pub token_secret: Option<String>,
}

/// The items of a list, as far as they are wanted.
#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

impl Cluster {
    /// Looks at all of it at once.
    ///
    /// # Errors
    /// A server that cannot be reached or does not know who asks.
    pub async fn gather(&self, look: &Look) -> Result<ClusterFacts> {
        let when = |wanted: bool| wanted.then_some(());
        let (
            kubernetes,
            namespace_phase,
            rights,
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
                optional(when(look.kubernetes).map(|()| self.kubernetes())),
                optional(when(look.namespace).map(|()| self.namespace_phase())),
                optional(when(look.rights).map(|()| self.rights())),
                optional(when(look.operators).map(|()| self.operators())),
                optional(when(look.webhooks).map(|()| self.webhooks())),
                optional(when(look.nodes).map(|()| self.nodes())),
                optional(when(look.nodes).map(|()| self.autoscaler())),
                optional(when(look.pods).map(|()| self.pods_with_nodes())),
                optional(when(look.limits).map(|()| self.all(
                    Kind::Quota,
                    Some(&self.namespace),
                    read::quota
                ))),
                optional(when(look.limits).map(|()| self.all(
                    Kind::LimitRange,
                    Some(&self.namespace),
                    read::limit_range
                ))),
                optional(when(look.storage).map(|()| self.all(
                    Kind::StorageClass,
                    None,
                    read::storage_class
                ))),
                optional(when(look.storage).map(|()| self.volumes())),
                optional(look.token_secret.as_deref().map(|name| self.secret_keys(name))),
            )
        })
        .await?;
        // A namespace's own role cannot give them, and every check that is skipped is counted.
        self.refusals.forget_outside(&self.namespace);
        Ok(ClusterFacts {
            namespace: self.namespace.clone(),
            kubernetes,
            namespace_phase,
            rights,
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

    async fn kubernetes(&self) -> Result<Fact<(u32, u32)>> {
        let ask = async |client: Client| client.apiserver_version().await;
        let version = self.ask("discover", Kind::Namespace, "", ask).await;
        Ok(match fact(version)? {
            Fact::Known(version) => {
                let number = |text: &str| text.trim_end_matches('+').parse().unwrap_or(0);
                Fact::Known((number(&version.major), number(&version.minor)))
            }
            Fact::Hidden(why) => Fact::Hidden(why),
            Fact::Unasked => Fact::Unasked,
        })
    }

    async fn namespace_phase(&self) -> Result<Fact<Option<String>>> {
        let get = async |client| {
            let api = Api::<DynamicObject>::all_with(client, &Kind::Namespace.api_resource());
            api.get_opt(&self.namespace).await
        };
        let found = self.ask("get", Kind::Namespace, &self.namespace, get).await;
        fact(found.map(|found| {
            found.map(|namespace| namespace.data["status"]["phase"].as_str().unwrap_or("Active").to_owned())
        }))
    }

    async fn rights(&self) -> Result<Fact<Authorizer>> {
        let review = serde_json::from_value(json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "metadata": {},
            "spec": { "namespace": self.namespace },
        }));
        let review = review.expect("a review is an object");
        let create = async |client| {
            let api = Api::<DynamicObject>::all_with(client, &Kind::Rights.api_resource());
            api.create(&PostParams::default(), &review).await
        };
        let answer = self.ask("create", Kind::Rights, "", create).await;
        fact(answer.map(|answer| read::rights(&answer.data["status"])))
    }

    /// Deployments of Dynamo operators, of all namespaces or, where those may not be seen, of this one.
    async fn operators(&self) -> Result<Fact<Vec<Operator>>> {
        // Every version of the chart has this label, and none a fixed name.
        let labels = ListParams::default().labels("control-plane=controller-manager");
        let read = |all: Vec<Value>| all.iter().filter_map(read::operator).collect::<Vec<_>>();
        let everywhere = fact(self.items(Kind::Deployment, None, &labels).await.map(read))?;
        if matches!(everywhere, Fact::Known(_)) {
            return Ok(everywhere);
        }
        let own = self.items(Kind::Deployment, Some(&self.namespace), &labels).await.map(read);
        Ok(match fact(own)? {
            Fact::Known(own) if !own.is_empty() => Fact::Known(own),
            _ => everywhere,
        })
    }

    /// Webhooks for graphs, each with how many addresses are ready behind its Service.
    async fn webhooks(&self) -> Result<Fact<Vec<Webhook>>> {
        let all = ListParams::default();
        let (validating, mutating) = futures::try_join!(
            async { fact(self.items(Kind::ValidatingWebhook, None, &all).await) },
            async { fact(self.items(Kind::MutatingWebhook, None, &all).await) },
        )?;
        let (validating, mutating) = match (validating, mutating) {
            (Fact::Known(validating), Fact::Known(mutating)) => (validating, mutating),
            (Fact::Hidden(why), _) | (_, Fact::Hidden(why)) => return Ok(Fact::Hidden(why)),
            _ => return Ok(Fact::Unasked),
        };
        let mut webhooks: Vec<Webhook> =
            validating.iter().chain(&mutating).flat_map(read::webhooks).collect();
        let mut asked: Vec<(String, Fact<usize>)> = Vec::new();
        for webhook in &mut webhooks {
            let Some(service) = &webhook.service else { continue };
            let known = asked.iter().find(|(one, _)| one == service).map(|(_, ready)| ready.clone());
            let ready = match known {
                Some(ready) => ready,
                None => self.addresses(service).await?,
            };
            asked.push((service.clone(), ready.clone()));
            webhook.ready = ready;
        }
        Ok(Fact::Known(webhooks))
    }

    /// How many addresses are ready behind a Service, `namespace/name`.
    async fn addresses(&self, service: &str) -> Result<Fact<usize>> {
        let (namespace, name) = service.split_once('/').unwrap_or((&self.namespace, service));
        let of_service = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
        let slices = self.items(Kind::EndpointSlice, Some(namespace), &of_service).await;
        fact(slices.map(|slices| slices.iter().map(read::ready_addresses).sum()))
    }

    async fn nodes(&self) -> Result<Fact<Vec<Node>>> {
        let nodes = self.items(Kind::Node, None, &ListParams::default()).await;
        fact(nodes.map(|nodes| nodes.into_iter().map(read::Node::facts).collect()))
    }

    /// The cluster autoscaler keeps its state in a ConfigMap of this name, on the machines of clouds as well.
    async fn autoscaler(&self) -> Result<Fact<bool>> {
        let get = async |client| {
            let kind = Kind::ConfigMap.api_resource();
            let api = Api::<DynamicObject>::namespaced_with(client, "kube-system", &kind);
            api.get_metadata_opt("cluster-autoscaler-status").await
        };
        fact(self.ask("get", Kind::ConfigMap, "", get).await.map(|found| found.is_some()))
    }

    async fn pods_with_nodes(&self) -> Result<Fact<Vec<PodUse>>> {
        let running =
            ListParams::default().fields("spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed");
        let pods = self.items(Kind::Pod, None, &running).await;
        fact(pods.map(|pods| pods.into_iter().map(read::Pod::facts).collect()))
    }

    async fn volumes(&self) -> Result<Fact<Vec<Volume>>> {
        let volumes = self.items(Kind::Volume, None, &ListParams::default()).await;
        fact(volumes.map(|volumes| volumes.iter().filter_map(read::volume).collect()))
    }

    async fn secret_keys(&self, name: &str) -> Result<Fact<Option<Vec<String>>>> {
        fact(self.get(Kind::Secret, name).await.map(|secret| secret.as_ref().map(read::keys)))
    }

    /// Every object of a kind, in one namespace or without one.
    async fn all<T>(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        read: fn(&Value) -> T,
    ) -> Result<Fact<Vec<T>>> {
        let items: Result<Vec<Value>> = self.items(kind, namespace, &ListParams::default()).await;
        fact(items.map(|items| items.iter().map(read).collect()))
    }

    /// A list of which only what `T` names is kept: pods of a large cluster are many megabytes.
    async fn items<T: DeserializeOwned>(
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
        Ok(self.ask("list", kind, "", list).await?.items)
    }
}

/// Asks where it is wanted.
async fn optional<T>(asked: Option<impl Future<Output = Result<Fact<T>>>>) -> Result<Fact<T>> {
    OptionFuture::from(asked).await.unwrap_or(Ok(Fact::Unasked))
}

/// What may not be seen, or is not told, is a fact too; a server that is not reached tells nothing at all.
fn fact<T>(asked: Result<T>) -> Result<Fact<T>> {
    match asked {
        Ok(value) => Ok(Fact::Known(value)),
        Err(ClusterError::Forbidden { denied, .. }) => Ok(Fact::Hidden(format!("no right to {denied}"))),
        Err(
            error @ (ClusterError::Server { .. }
            | ClusterError::OperatorSilent { .. }
            | ClusterError::Refused { .. }
            | ClusterError::NotFound { .. }),
        ) => Ok(Fact::Hidden(error.to_string())),
        Err(error) => Err(error),
    }
}
