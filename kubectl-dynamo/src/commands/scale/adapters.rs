//! Scaling adapters: the objects that own a component's replicas where they are turned on.

use futures::StreamExt;
use serde_json::{Value, json};

use super::{ScaleError, Wanted};
use crate::change::graph_components;
use crate::cluster::{Cluster, Kind, Seen, Watched};
use crate::commands::up::deploy::Awaited;
use crate::error::Result;
use crate::intent::Word;
use crate::readiness::{COMPONENT_LABEL, GRAPH_LABEL};
use crate::report::{Report, Stage};
use crate::resources::{GraphApi, MANAGER, Resource};

/// Tells a component's adapter how many replicas to keep, as `kubectl scale` would.
pub(super) async fn set(
    cluster: &Cluster,
    api: GraphApi,
    graph: &str,
    wanted: &Wanted,
    dry_run: bool,
) -> Result<()> {
    let all = cluster.list(Kind::ScalingAdapter(api), "", false).await?;
    let field = match api {
        GraphApi::V1Alpha1 => "serviceName",
        GraphApi::V1Beta1 => "componentName",
    };
    let adapter = all.iter().find(|one| {
        let target = &one["spec"]["dgdRef"];
        target["name"] == graph && target[field] == *wanted.component
    });
    let Some(adapter) = adapter else {
        let component = wanted.component.clone();
        return Err(ScaleError::NoAdapter { name: graph.into(), component }.into());
    };
    if adapter["spec"]["replicas"] == wanted.to {
        return Ok(());
    }
    let object = json!({
        "apiVersion": format!("nvidia.com/{}", api.as_str()),
        "kind": "DynamoGraphDeploymentScalingAdapter",
        "metadata": { "name": adapter["metadata"]["name"], "namespace": cluster.namespace },
        "spec": { "replicas": wanted.to },
    });
    cluster.apply_as(MANAGER, &Resource { object }, dry_run).await?;
    Ok(())
}

/// Waits until the operator has written the adapters' numbers into the graph and, where no generation tells which spec
/// a status belongs to, into the component deployments: before that the graph is ready as it was.
pub(super) async fn until_taken_over(
    cluster: &Cluster,
    awaited: &Awaited,
    wanted: &[Wanted],
    report: &Report,
) -> Result<()> {
    let api = awaited.graph_api;
    report.waiting(Stage::Deploy, "the operator to take over what the scaling adapter says");
    let mut events = cluster.watch(&[
        Watched::named(Kind::Graph(api), &awaited.name),
        Watched::labelled(Kind::ComponentDeployment(api), format!("{GRAPH_LABEL}={}", awaited.name)),
    ]);
    let mut missing: Vec<(&Wanted, Kind)> = Vec::new();
    for one in wanted {
        missing.push((one, Kind::Graph(api)));
        if api == GraphApi::V1Alpha1 {
            missing.push((one, Kind::ComponentDeployment(api)));
        }
    }
    while !missing.is_empty() {
        let Some(event) = events.next().await else { break };
        let (kind, objects) = match event {
            Seen::All(kind, all) => (kind, all),
            Seen::Now(kind, one) => (kind, vec![one]),
            Seen::Trouble(_, error) if !error.may_pass() => return Err(error.into()),
            _ => continue,
        };
        missing
            .retain(|(one, where_)| *where_ != kind || !objects.iter().any(|object| says(object, kind, one)));
    }
    Ok(())
}

fn says(object: &Value, kind: Kind, wanted: &Wanted) -> bool {
    let to = u64::from(wanted.to);
    match kind {
        Kind::Graph(_) => {
            graph_components(object).iter().any(|one| one.name == wanted.component && one.replicas() == to)
        }
        _ => {
            object["metadata"]["labels"][COMPONENT_LABEL] == *wanted.component
                && object["spec"]["replicas"] == to
        }
    }
}
