//! Waits for the deletion of a previous deployment with the same name. Its pods still hold GPUs and have the
//! labels of the new one, and on 0.9.1 they make the new one look ready.

use std::time::Duration;

use crate::context::Context;
use crate::report::Stage;
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::wait_deleted::{wait_for_deletion, warn_if_not_deleted};
use kubectl_dynamo_cluster::{Cluster, Kind, Platform, WatchTarget};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::readiness::GRAPH_LABEL;

/// Timeout for the deletion of children: pods have one minute to terminate, and a finalizer may hold some for
/// good.
const CLEANUP_TIMEOUT: Duration = Duration::from_secs(90);

/// Waits until a graph that is being deleted no longer exists.
pub(crate) async fn wait_until_graph_deleted(
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    context: &Context,
) -> Result<()> {
    context.report.waiting(Stage::Deploy, format!("the previous deployment \"{name}\" to be deleted"));
    warn_if_not_deleted(cluster, platform, name, context).await?;
    let graph = WatchTarget::by_name(Kind::Graph(platform.graph_api), name);
    wait_for_deletion(cluster, name, &[graph], |_| {}).await
}

/// Waits until the components and pods of a previous graph are deleted, with a warning after the timeout.
pub(crate) async fn wait_until_children_deleted(
    cluster: &Cluster,
    deployment: &ResolvedDeployment,
    context: &Context,
) -> Result<()> {
    let name = &deployment.name;
    let selector = format!("{GRAPH_LABEL}={name}");
    let components = Kind::ComponentDeployment(deployment.graph_api);
    let (remaining_components, pods) =
        futures::join!(cluster.list(components, &selector), cluster.list(Kind::Pod, &selector),);
    // Without the permission to list them, the command cannot wait for them.
    if remaining_components.unwrap_or_default().is_empty() && pods.unwrap_or_default().is_empty() {
        return Ok(());
    }
    let kinds =
        [WatchTarget::by_labels(components, selector.clone()), WatchTarget::by_labels(Kind::Pod, selector)];
    let cleanup = wait_for_deletion(cluster, name, &kinds, |remaining| {
        let remaining = remaining.join(", ");
        context.report.waiting(
            Stage::Deploy,
            format!("objects of the previous deployment \"{name}\" to be deleted: {remaining}"),
        );
    });
    match tokio::time::timeout(CLEANUP_TIMEOUT, cleanup).await {
        Ok(result) => result,
        Err(_) => {
            let text = format!("components or pods of the previous deployment \"{name}\" still exist");
            let list = SuggestedCommand::kubectl("get pods").in_namespace(&cluster.namespace);
            let hint = list.flag("-l").flag(&format!("{GRAPH_LABEL}={name}")).after("list them with: ");
            context.report.warn(Some(MessageCode::PredecessorTerminating), text, Some(hint));
            Ok(())
        }
    }
}
