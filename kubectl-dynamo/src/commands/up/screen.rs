//! What `up` says before and after the work.

use crate::cluster::{Change, Cluster};
use crate::commands::deployment::Deployment;
use crate::commands::{print_data, summary};
use crate::error::{Exit, Result};
use crate::intent::{Backend, Word};

/// What a look alone tells.
pub(super) fn print_client_dry_run(changes: &[Change]) -> Result<Exit> {
    for change in changes {
        print_data(&format!("{} {} (dry run)\n", change.resource, change.outcome))?;
    }
    Ok(Exit::Ok)
}

/// What the API server would do.
pub(super) fn print_server_dry_run(changes: &[Change]) -> Result<Exit> {
    for change in changes {
        print_data(&format!("{} {} (server dry run)\n", change.resource, change.outcome))?;
    }
    Ok(Exit::Ok)
}

/// What will run.
pub(in crate::commands) fn plan_lines(
    deployment: &Deployment,
    namespace: &str,
    context: Option<&str>,
) -> Vec<String> {
    let Some(plan) = &deployment.plan else { return lines_of_file(deployment, namespace) };
    let context = context.map(|context| format!(" · context {context}")).unwrap_or_default();
    let mut lines = vec![format!(
        "{}{context} · namespace {} · Dynamo {} ({}, {}) · {}",
        plan.name,
        namespace,
        plan.version,
        deployment.release_source,
        deployment.graph_api.as_str(),
        plan.image,
    )];
    for component in &plan.components {
        let gpus = match component.gpus {
            0 => String::new(),
            gpus => format!("  {gpus} GPU each"),
        };
        lines.push(format!("  {:<9} ×{}{gpus}", component.name(), component.replicas));
    }
    if let Some(cache) = &plan.cache {
        lines.push(format!("  {:<9} pvc/{} at {}", "cache", cache.cache.claim(), cache.model_folder));
    }
    lines.extend(deployment.kept.iter().map(|kept| format!("  {:<9} {kept}", "keeps")));
    if plan.intent.backend == Backend::Mocker {
        lines.push("  engine    mocker: real requests, but its words mean nothing".into());
    }
    lines
}

/// Objects of a file, which say by themselves what they are.
fn lines_of_file(deployment: &Deployment, namespace: &str) -> Vec<String> {
    let objects = deployment.resources.iter().map(|resource| format!("  {resource}"));
    let first = format!(
        "{} · namespace {} · as the file has it ({})",
        deployment.name,
        namespace,
        deployment.graph_api.as_str()
    );
    [first].into_iter().chain(objects).collect()
}

/// Where it answers and what to type next.
pub(super) fn closing_lines(deployment: &Deployment, cluster: &Cluster, detached: bool) -> Vec<String> {
    let (name, namespace) = (&deployment.name, &cluster.namespace);
    let next = if detached { "status" } else { "chat" };
    vec![
        String::new(),
        format!("  in-cluster {}", summary::in_cluster_url(name, namespace)),
        format!("  try        kubectl dynamo {next} {name} -n {namespace}"),
    ]
}
