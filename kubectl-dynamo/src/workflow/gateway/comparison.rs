//! Compares the entries that a proxy has loaded with the deployments of the cluster or of this machine.

use super::deployments::{GatewaySelection, SelectionPlace};
use super::proxy::GatewayProxy;
use super::route_test::compromised_text;
use crate::context::Context;
use crate::report::Report;
use kubectl_dynamo_cluster::NamespaceScope;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::gateway::{
    ComparedEntry, ComparedScope, RoutedDeployment, compare_entries, compromised_version_hint, is_compromised,
};

/// Lists the entries of the proxy and the deployments, and compares them.
///
/// # Errors
/// A proxy that denies access, every API error, and a missing permission to ask the frontends.
pub(crate) async fn compare_with_proxy(
    proxy: &GatewayProxy,
    place: SelectionPlace,
    context: &Context,
) -> Result<Vec<ComparedEntry>> {
    let selection = GatewaySelection::new(Vec::new(), place);
    let (entries, found) = futures::join!(proxy.entries(), selection.find(context));
    let found = found?;
    let mut deployments: Vec<RoutedDeployment> = Vec::new();
    for one in found {
        match one.problem {
            // Without the permission, every model would be unknown.
            Some(problem) if problem.exit() == Exit::Access => return Err(problem),
            _ => deployments.push(one.routed),
        }
    }
    let entries = entries?;
    let namespace = match (place, context.kube.scope()) {
        (SelectionPlace::Cluster, NamespaceScope::OneNamespace) => Some(context.cluster().await?.namespace),
        _ => None,
    };
    let scope = match (place, &namespace) {
        (SelectionPlace::Local, _) => ComparedScope::ThisMachine,
        (SelectionPlace::Cluster, Some(namespace)) => ComparedScope::Namespace(namespace),
        (SelectionPlace::Cluster, None) => ComparedScope::AllNamespaces,
    };
    Ok(compare_entries(&entries, &deployments, scope))
}

/// Warns about a version of LiteLLM that is known to be compromised.
pub(crate) fn warn_compromised(version: Option<&str>, report: &Report) {
    if let Some(version) = version.filter(|version| is_compromised(version)) {
        let hint = Some(compromised_version_hint());
        report.warn(Some(MessageCode::CompromisedGateway), compromised_text(version), hint);
    }
}
