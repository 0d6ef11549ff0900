//! Waiting for the end of a graph and its pods, and saying who holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};

use crate::cluster::{Cluster, ClusterError, Kind, Platform, Seen, Watched};
use crate::commands::Context;
use crate::error::Result;
use crate::readiness::GRAPH_LABEL;
use crate::report::Stage;
use crate::resources::{GraphApi, Resource};

/// How long an operator that runs may take to let a graph go: a second at worst was seen.
const LETTING_GO: Duration = Duration::from_secs(5);
/// The manager of a dry run that asks whether the operator's webhook answers.
const ASKING: &str = "kubectl-dynamo-asks";

/// Waits for the graph and its children: the graph goes when the operator has let it go, and its pods still answer
/// for a moment after that.
pub(super) async fn wait_until_gone(
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    context: &Context,
) -> Result<()> {
    let of_graph = || format!("{GRAPH_LABEL}={name}");
    let kinds = [
        Watched::named(Kind::Graph(platform.graph_api), name),
        Watched::labelled(Kind::ComponentDeployment(platform.graph_api), of_graph()),
        Watched::labelled(Kind::Deployment, of_graph()),
        Watched::labelled(Kind::Pod, of_graph()),
    ];
    until_gone(cluster, &kinds, |left| {
        context.report.waiting(Stage::Deploy, format!("{} to end", left.join(", ")));
    })
    .await
}

/// Gives the operator a moment to let the graph go, and says who holds it when it does not.
pub(in crate::commands) async fn say_if_held(
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    context: &Context,
) -> Result<()> {
    let kind = Kind::Graph(platform.graph_api);
    let kinds = [Watched::named(kind, name)];
    let gone = until_gone(cluster, &kinds, |_| {});
    if let Ok(gone) = tokio::time::timeout(LETTING_GO, gone).await {
        return gone;
    }
    let Some(graph) = cluster.get(kind, name).await? else { return Ok(()) };
    let finalizers: Vec<&str> =
        graph["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let held = format!("dynamographdeployment/{name} is still there, held by {}", finalizers.join(", "));
    match operator_answers(cluster, platform.graph_api, name).await {
        Err(silent @ ClusterError::OperatorSilent { .. }) => {
            use crate::error::Explain;
            let text =
                format!("{held}; {silent}; it goes, and its pods with it, when the operator runs again");
            context.report.warn(silent.code(), text, silent.hint());
        }
        _ => {
            context.report.warn(Some("KD0221"), held, Some(format!("see it: kubectl get dgd {name} -o yaml")))
        }
    }
    Ok(())
}

/// Every write of a graph goes through the operator's webhook, a dry run as well.
async fn operator_answers(
    cluster: &Cluster,
    api: GraphApi,
    name: &str,
) -> std::result::Result<(), ClusterError> {
    use crate::intent::Word;
    let object = json!({
        "apiVersion": format!("nvidia.com/{}", api.as_str()),
        "kind": "DynamoGraphDeployment",
        "metadata": { "name": name, "annotations": { "kubectl-dynamo.dev/asks": "" } },
    });
    cluster.apply_as(ASKING, &Resource { object }, true).await.map(|_| ())
}

/// Waits until nothing is left of several kinds.
pub(in crate::commands) async fn until_gone(
    cluster: &Cluster,
    kinds: &[Watched],
    mut say: impl FnMut(&[&str]),
) -> Result<()> {
    let mut events = cluster.watch(kinds);
    let object_name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let mut left: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Seen::All(kind, all) => {
                left.insert(kind.to_string(), all.iter().map(object_name).collect());
            }
            Seen::Now(kind, one) => {
                left.entry(kind.to_string()).or_default().insert(object_name(&one));
            }
            Seen::Gone(kind, one) => {
                left.entry(kind.to_string()).or_default().remove(&object_name(&one));
            }
            Seen::Trouble(_, error) if error.may_pass() => continue,
            Seen::Trouble(Kind::Graph(_), error) => return Err(error.into()),
            // Who may not see children cannot wait for them.
            Seen::Trouble(kind, _) => {
                left.insert(kind.to_string(), BTreeSet::new());
            }
        }
        // Each has been listed once, and nothing is left of any.
        if left.len() == kinds.len() && left.values().all(BTreeSet::is_empty) {
            return Ok(());
        }
        let names: Vec<&str> = left.values().flatten().map(String::as_str).collect();
        if !names.is_empty() {
            say(&names);
        }
    }
    Ok(())
}
