//! Deletes the objects that a file contained next to its graph, if the plugin created them. It never deletes an object
//! that another tool created or that another deployment lists.

use serde_json::Value;

use crate::report::{Report, Stage};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::resources::{Resource, companions_of, creator_of};

/// Deletes the companions of a deleted graph and reports those that remain. `remaining` are the graphs of the namespace
/// that are not deleted.
pub(crate) async fn delete_companions(
    cluster: &Cluster,
    graph: &Value,
    remaining: &[&Value],
    report: &Report,
) -> Result<()> {
    let deployment = ObjectView::new(graph).name();
    let other_users: Vec<(&str, Vec<Resource>)> =
        remaining.iter().map(|graph| (ObjectView::new(graph).name(), companions_of(graph))).collect();
    for companion in companions_of(graph) {
        let Some(kind) = Kind::from_resource(&companion) else { continue };
        let report_retained = |reason: String| report.info(format!("{companion} is retained: {reason}"));
        let live = match cluster.get(kind, companion.name()).await {
            Ok(Some(live)) => live,
            Ok(None) => continue,
            Err(error @ ClusterError::Forbidden { .. }) => {
                report_retained(error.to_string());
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let is_same = |one: &Resource| one.kind() == companion.kind() && one.name() == companion.name();
        let user = other_users.iter().find(|(_, listed)| listed.iter().any(is_same));
        match user {
            _ if creator_of(&live) != Some(deployment) => {
                report_retained(format!("deployment \"{deployment}\" did not create it"));
            }
            Some((user, _)) => report_retained(format!("deployment \"{user}\" uses it")),
            None => match cluster.delete(kind, companion.name()).await {
                Err(error @ ClusterError::Forbidden { .. }) => {
                    report_retained(error.to_string());
                }
                result => {
                    result?;
                    report.done(Stage::Apply, format!("{companion} deleted"));
                }
            },
        }
    }
    Ok(())
}
