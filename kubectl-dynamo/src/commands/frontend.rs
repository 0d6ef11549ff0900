//! Finding a deployment and its frontend: what every verb does that talks to a running one.

use serde_json::Value;

use super::Context;
use super::kube_flags::FlagError;
use crate::cluster::{Cluster, ClusterError, Kind, Platform, TunnelTarget};
use crate::error::Result;
use crate::readiness::{COMPONENT_TYPE_LABEL, GRAPH_LABEL};

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
    pub platform: Platform,
    pub graph: Value,
}

/// The deployment of a name in the namespace that kubectl's flags mean.
pub(super) async fn find(name: &str, context: &Context) -> Result<Found> {
    if context.kube.all_namespaces {
        return Err(FlagError::AllNamespaces.into());
    }
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let kind = Kind::Graph(platform.graph_api);
    let graph = cluster.get(kind, name).await?.ok_or_else(|| ClusterError::NotFound {
        kind,
        name: name.into(),
        namespace: cluster.namespace.clone(),
    })?;
    Ok(Found { cluster, platform, graph })
}
