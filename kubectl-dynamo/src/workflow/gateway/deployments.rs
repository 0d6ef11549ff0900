//! Finds the deployments that a gateway routes to, and asks their frontends for the models that they serve.
//! The names of a spec are not used: a gateway needs them exactly as the frontend lists them.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::{StreamExt, stream};
use serde_json::Value;
use tokio::time::timeout;

use super::error::GatewayError;
use crate::chat::{Endpoint, EndpointKind};
use crate::context::Context;
use crate::local::state::LocalDeployment;
use crate::smoke_test;
use crate::workflow::local::lookup::{all_deployments, find_running};
use crate::workflow::lookup;
use crate::workflow::summary::frontend_url;
use kubectl_dynamo_cluster::{Cluster, Kind, Platform};
use kubectl_dynamo_core::error::{Error, Exit, Result};
use kubectl_dynamo_core::gateway::{EntryOwner, RoutedDeployment, RoutedModel};
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::{ServingIntent, Topology};
use kubectl_dynamo_core::probe::context_length;
use kubectl_dynamo_core::prometheus::MetricSamples;

/// How long a frontend may take to list its models or to export its metrics.
const FRONTEND_TIMEOUT: Duration = Duration::from_secs(5);

/// The most frontends that are asked at the same time. Each needs a connection.
const MAX_CONNECTIONS: usize = 8;

/// The deployments that a command names, or all of them.
#[derive(Debug, Clone)]
pub(crate) enum GatewaySelection {
    /// In the namespace of kubectl's flags; without names all, also of all namespaces.
    Cluster { names: Vec<String> },
    /// On this machine; without names all that run.
    Local { names: Vec<String> },
}

/// A deployment, and why it does not list its models.
pub(crate) struct FoundDeployment {
    pub routed: RoutedDeployment,
    pub problem: Option<Error>,
}

impl GatewaySelection {
    /// Selects deployments by the names and the flag `--local` of a command.
    pub(crate) fn new(names: Vec<String>, place: SelectionPlace) -> Self {
        match place {
            SelectionPlace::Cluster => Self::Cluster { names },
            SelectionPlace::Local => Self::Local { names },
        }
    }

    fn names(&self) -> &[String] {
        match self {
            Self::Cluster { names } | Self::Local { names } => names,
        }
    }

    /// Finds the deployments and asks each for its models.
    ///
    /// # Errors
    /// A named deployment that does not exist, and every API error.
    pub(crate) async fn find(&self, context: &Context) -> Result<Vec<FoundDeployment>> {
        match self {
            Self::Cluster { names } => find_in_cluster(names, context).await,
            Self::Local { names } => find_local(names).await,
        }
    }

    /// Finds the deployments that serve. One that does not is an error if the command names it, and is reported
    /// otherwise.
    ///
    /// # Errors
    /// Those of [`Self::find`], and a named deployment that does not serve.
    pub(crate) async fn find_serving(&self, context: &Context) -> Result<Vec<RoutedDeployment>> {
        let mut serving = Vec::new();
        for FoundDeployment { routed, problem } in self.find(context).await? {
            match problem {
                None => serving.push(routed),
                // A missing permission affects all deployments.
                Some(problem) if !self.names().is_empty() || problem.exit() == Exit::Access => {
                    return Err(problem);
                }
                Some(problem) => {
                    let text = format!("deployment \"{}\" is left out: {problem}", routed.owner);
                    context.report.warn(problem.code(), text, problem.hint());
                }
            }
        }
        if serving.is_empty() {
            context.report.info("no deployment that serves a model was found");
        }
        Ok(serving)
    }
}

/// Where a command looks for deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SelectionPlace {
    Cluster,
    Local,
}

impl SelectionPlace {
    /// Converts the value of `--local`.
    pub(crate) fn from_local_flag(local: bool) -> Self {
        if local { Self::Local } else { Self::Cluster }
    }
}

async fn find_in_cluster(names: &[String], context: &Context) -> Result<Vec<FoundDeployment>> {
    if !names.is_empty() {
        context.kube.refuse_all_namespaces()?;
    }
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let graphs = read_graphs(names, &cluster, &platform, context).await?;
    let asked = graphs.iter().map(|graph| ask_graph(graph, &cluster));
    Ok(stream::iter(asked).buffered(MAX_CONNECTIONS).collect().await)
}

async fn read_graphs(
    names: &[String],
    cluster: &Cluster,
    platform: &Platform,
    context: &Context,
) -> Result<Vec<Value>> {
    let kind = Kind::Graph(platform.graph_api);
    if names.is_empty() {
        return Ok(cluster.list_in(context.kube.scope(), kind, "").await?);
    }
    let mut graphs = Vec::new();
    for name in names {
        let graph = cluster.get(kind, name).await?;
        graphs.push(graph.ok_or_else(|| lookup::not_found(cluster, platform, name))?);
    }
    Ok(graphs)
}

async fn ask_graph(graph: &Value, cluster: &Cluster) -> FoundDeployment {
    let view = GraphView::new(graph);
    let namespace = view.namespace().to_owned();
    let mut cluster = cluster.clone();
    cluster.namespace.clone_from(&namespace);
    let owner = EntryOwner { namespace: Some(namespace), name: view.name().to_owned() };
    let listen = (Ipv4Addr::LOCALHOST, 0).into();
    let listed = match cluster.port_forward(lookup::frontend_target(&owner.name), listen).await {
        Ok(tunnel) => list_models(&format!("http://{}/v1", tunnel.local_address), &owner).await,
        Err(error) => Err(error.into()),
    };
    found(
        RoutedDeployment {
            base_url: frontend_url(graph),
            replicas: generating_replicas(view),
            owner,
            models: Vec::new(),
        },
        listed,
    )
}

async fn find_local(names: &[String]) -> Result<Vec<FoundDeployment>> {
    let deployments: Vec<LocalDeployment> = match names {
        [] => all_deployments()?.into_iter().filter(LocalDeployment::is_supervised).collect(),
        names => names.iter().map(|name| find_running(Some(name))).collect::<Result<_>>()?,
    };
    let mut all = Vec::new();
    for LocalDeployment { spec, .. } in deployments {
        let owner = EntryOwner { namespace: None, name: spec.name.clone() };
        let base_url = spec.base_url();
        let listed = list_models(&base_url, &owner).await;
        let replicas = intent_replicas(&spec.intent);
        all.push(found(RoutedDeployment { owner, base_url, models: Vec::new(), replicas }, listed));
    }
    Ok(all)
}

fn found(deployment: RoutedDeployment, listed: Result<Vec<RoutedModel>>) -> FoundDeployment {
    let (models, problem) = match listed {
        Ok(models) => (models, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    FoundDeployment { routed: RoutedDeployment { models, ..deployment }, problem }
}

/// Asks a frontend for its models and their limits. A frontend that does not export its metrics still routes.
async fn list_models(base_url: &str, owner: &EntryOwner) -> Result<Vec<RoutedModel>> {
    let names = smoke_test::models(base_url, FRONTEND_TIMEOUT).await?;
    if names.is_empty() {
        return Err(GatewayError::NoModelListed { deployment: owner.clone() }.into());
    }
    let endpoint = Endpoint::new(base_url, EndpointKind::Dynamo, None)?;
    let metrics = match timeout(FRONTEND_TIMEOUT, endpoint.get("/metrics")).await {
        Ok(Ok(text)) => MetricSamples::parse(&text),
        _ => MetricSamples::default(),
    };
    Ok(names
        .into_iter()
        .map(|name| RoutedModel { context_length: context_length(&metrics, Some(&name)), name })
        .collect())
}

/// The workers of a graph that generate answers.
fn generating_replicas(graph: GraphView<'_>) -> u64 {
    let components = graph.components();
    let generating = components.iter().filter(|one| matches!(one.role(), "worker" | "decode"));
    generating.map(|one| one.replicas()).sum()
}

fn intent_replicas(intent: &ServingIntent) -> u64 {
    match &intent.topology {
        Topology::Aggregated { worker } => worker.replicas.into(),
        Topology::Disaggregated { decode, .. } => decode.replicas.into(),
    }
}
