//! A deployment of the same name that was deleted and is not gone yet: its pods hold GPUs and carry the labels of the
//! one to come, and on 0.9.1 they lend it a `Ready` that is not its own.

use std::time::Duration;

use crate::cluster::{Cluster, Kind, Platform, Watched};
use crate::commands::Context;
use crate::commands::deployment::Deployment;
use crate::commands::down::{say_if_held, until_gone};
use crate::error::Result;
use crate::readiness::GRAPH_LABEL;
use crate::report::Stage;

/// How long children may outlive their graph: pods have a minute to end. Some are kept on purpose.
const LINGERING: Duration = Duration::from_secs(90);

/// Waits until a graph that is being deleted has gone.
pub(super) async fn wait_for_graph(
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    context: &Context,
) -> Result<()> {
    context.report.waiting(Stage::Deploy, format!("the {name} before it to be deleted"));
    say_if_held(cluster, platform, name, context).await?;
    until_gone(cluster, &[Watched::named(Kind::Graph(platform.graph_api), name)], |_| {}).await
}

/// Waits until nothing of an earlier graph is left.
pub(super) async fn wait_for_children(
    cluster: &Cluster,
    deployment: &Deployment,
    context: &Context,
) -> Result<()> {
    let name = &deployment.name;
    let of_graph = format!("{GRAPH_LABEL}={name}");
    let components = Kind::ComponentDeployment(deployment.graph_api);
    let (left, pods) = futures::join!(
        cluster.list(components, &of_graph, false),
        cluster.list(Kind::Pod, &of_graph, false),
    );
    // Who may not see them cannot wait for them.
    if left.unwrap_or_default().is_empty() && pods.unwrap_or_default().is_empty() {
        return Ok(());
    }
    let kinds = [Watched::labelled(components, of_graph.clone()), Watched::labelled(Kind::Pod, of_graph)];
    let gone = until_gone(cluster, &kinds, |left| {
        let left = left.join(", ");
        context.report.waiting(Stage::Deploy, format!("what is left of the {name} before it to end: {left}"));
    });
    match tokio::time::timeout(LINGERING, gone).await {
        Ok(gone) => gone,
        Err(_) => {
            let text = format!("components or pods of an earlier {name} are still there");
            let hint = format!("see them: kubectl get pods -l {GRAPH_LABEL}={name} -n {}", cluster.namespace);
            context.report.warn(Some("KD0223"), text, Some(hint));
            Ok(())
        }
    }
}
