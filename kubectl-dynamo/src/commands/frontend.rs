//! Finding a deployment and its frontend: what every verb does that talks to a running one.

use serde_json::Value;

use super::Context;
use crate::cluster::{Cluster, ClusterError, Kind, Platform, TunnelTarget};
use crate::error::Result;
use crate::readiness::{COMPONENT_TYPE_LABEL, GRAPH_LABEL};
use crate::resources::{MANAGED_BY, MANAGER};

/// The port a frontend listens on, by the operator's own constant.
const FRONTEND_PORT: u16 = 8000;

/// Any ready frontend of a deployment.
pub(super) fn target(name: &str) -> TunnelTarget {
    TunnelTarget {
        labels: format!("{GRAPH_LABEL}={name},{COMPONENT_TYPE_LABEL}=frontend"),
        name: name.into(),
        port: FRONTEND_PORT,
    }
}

/// A deployment that was found.
pub(super) struct Found {
    pub cluster: Cluster,
    pub graph: Value,
}

/// A deployment that may not be there.
pub(super) struct Sought {
    pub cluster: Cluster,
    pub platform: Platform,
    pub graph: Option<Value>,
}

/// Looks for a name in the namespace that kubectl's flags mean.
pub(super) async fn look(name: &str, context: &Context) -> Result<Sought> {
    context.kube.refuse_all_namespaces()?;
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let graph = cluster.get(Kind::Graph(platform.graph_api), name).await?;
    Ok(Sought { cluster, platform, graph })
}

/// The deployment of a name in the namespace that kubectl's flags mean.
pub(super) async fn find(name: &str, context: &Context) -> Result<Found> {
    let Sought { cluster, platform, graph } = look(name, context).await?;
    match graph {
        Some(graph) => Ok(Found { cluster, graph }),
        None => Err(absent(&cluster, &platform, name).into()),
    }
}

/// That a deployment does not exist.
pub(super) fn absent(cluster: &Cluster, platform: &Platform, name: &str) -> ClusterError {
    ClusterError::NotFound {
        kind: Kind::Graph(platform.graph_api),
        name: name.into(),
        namespace: cluster.namespace.clone(),
    }
}

/// The fetch Jobs that were made for a deployment.
pub(super) async fn fetch_jobs(
    cluster: &Cluster,
    name: &str,
) -> std::result::Result<Vec<Value>, ClusterError> {
    cluster.list(Kind::Job, &job_labels(name), false).await
}

/// What the fetch Jobs of a deployment are known by.
pub(super) fn job_labels(name: &str) -> String {
    format!("app.kubernetes.io/name={name},{MANAGED_BY}={MANAGER}")
}
