//! The texts that `up` prints before and after the work: dry runs, the plan screen, and the closing lines. It
//! makes no requests.

use serde_json::Value;

use crate::render::table::columns;
use crate::report::units;
use crate::typed_command::{deployment_command, typed};
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::summary;
use kubectl_dynamo_cluster::Cluster;
use kubectl_dynamo_core::intent::request::SettingSource;
use kubectl_dynamo_core::intent::{Backend, Parallelism, StringEnum, Topology};
use kubectl_dynamo_core::plan::{ModelCache, PlanComponent, ServingPlan};
use kubectl_dynamo_core::preflight::{
    ClusterFacts, GpuMemory, ModelMetadata, PreflightInput, gpu_line, worker_gpu_memory,
};

/// Returns the lines of the plan, with the known facts about the model and the nodes.
pub(crate) fn plan_lines(
    deployment: &ResolvedDeployment,
    namespace: &str,
    context: Option<&str>,
    facts: &ClusterFacts,
) -> Vec<String> {
    let Some(plan) = &deployment.plan else { return manifest_lines(deployment, namespace) };
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
    let subject = PreflightInput {
        plan: Some(plan),
        resources: &deployment.resources,
        pvc: deployment.pvc.as_ref(),
        starting_pods: None,
        command: None,
    };
    lines.extend(component_lines(deployment, plan, facts, &subject));
    lines.extend(gpu_line(facts, &subject).map(|line| format!("  {:<9} {line}", "GPUs")));
    lines.extend(plan.cache.as_ref().map(|cache| cache_line(deployment, cache, facts)));
    lines.extend(deployment.parser_lines().into_iter().map(|line| format!("  {:<9} {line}", "parser")));
    lines.extend(deployment.preserved.iter().map(|retained| format!("  {:<9} {retained}", "keeps")));
    if plan.intent.backend == Backend::Mocker {
        lines.push("  engine    mocker (generates placeholder text)".into());
    }
    lines
}

/// Returns one line for each component: replicas, parallelism, memory per GPU, and source.
fn component_lines(
    deployment: &ResolvedDeployment,
    plan: &ServingPlan,
    facts: &ClusterFacts,
    subject: &PreflightInput<'_>,
) -> Vec<String> {
    let memory: Vec<Option<GpuMemory>> =
        plan.components.iter().map(|component| worker_gpu_memory(facts, subject, component.role)).collect();
    let (heading, placeholder) = match memory.iter().flatten().next() {
        Some(GpuMemory { kv_room: Some(_), .. }) => ("per GPU: weights + KV cache", "–"),
        Some(_) => ("per GPU", "–"),
        None => ("", ""),
    };
    let rows = plan.components.iter().zip(memory).map(|(component, memory)| {
        vec![
            component.name().to_owned(),
            format!("×{}", component.replicas),
            parallelism_text(component, &plan.intent.topology),
            memory.map_or_else(|| placeholder.to_owned(), |memory| memory.to_string()),
            source_of(&deployment.values, component.name()),
        ]
    });
    align(["", "", "", heading, "source"], rows.collect())
}

/// Returns the parallelism of a component, such as `TP2 PP2 4 GPU`.
fn parallelism_text(component: &PlanComponent, topology: &Topology) -> String {
    let groups = topology.groups();
    let Some((_, group)) = groups.into_iter().find(|(role, _)| *role == component.role) else {
        return String::new();
    };
    let Parallelism { tensor, pipeline, data, expert } = group.parallelism;
    let mut parts: Vec<String> = [("TP", tensor), ("PP", pipeline), ("DP", data)]
        .into_iter()
        .filter(|(_, ways)| *ways > 1)
        .map(|(kind, ways)| format!("{kind}{ways}"))
        .collect();
    parts.extend(expert.then(|| "EP".to_owned()));
    parts.extend((component.nodes > 1).then(|| format!("{} nodes", component.nodes)));
    parts.extend((component.gpus > 0).then(|| format!("{} GPU", component.gpus)));
    parts.join(" ")
}

/// Returns the source of a component's values: the one with the highest precedence, and whether the replica
/// count is only the default.
fn source_of(values: &[(String, Value, SettingSource)], component: &str) -> String {
    let belongs_to_component =
        |path: &str| path.strip_prefix(component).is_some_and(|rest| rest.starts_with('.'));
    let component_values = values.iter().filter(|(path, ..)| belongs_to_component(path));
    let Some((_, _, strongest)) = component_values.clone().max_by_key(|(_, _, source)| source.precedence())
    else {
        return SettingSource::Default.to_string();
    };
    let is_count = |path: &str| path.ends_with(".replicas");
    let count = component_values.clone().find(|(path, ..)| is_count(path)).map(|(_, _, source)| source);
    match count {
        Some(count) if *count == SettingSource::Default && *strongest != SettingSource::Default => {
            format!("{strongest}, replicas default")
        }
        _ => strongest.to_string(),
    }
}

/// Returns the line of the PVC, with what will be fetched into it if the hub is known to have it.
fn cache_line(deployment: &ResolvedDeployment, cache: &ModelCache, facts: &ClusterFacts) -> String {
    let pvc = cache.cache.pvc();
    let mode = match &deployment.pvc {
        Some(pvc) if pvc.is_multi_node => " RWX",
        _ => "",
    };
    let fetched_by = facts.model_fetched_by.as_ref().map(|job| format!(", fetched by job/{job}"));
    let fetch = facts.model().map_or_else(
        || format!("at {}{}", cache.model_folder, fetched_by.clone().unwrap_or_default()),
        |model| {
            let ModelMetadata { files, bytes, .. } = model;
            let (size, revision) = (units::bytes(*bytes), model.revision());
            match &fetched_by {
                Some(job) => format!("  {size} already present, {files} files, rev {revision}{job}"),
                None => format!("  {size} to fetch, {files} files, rev {revision}"),
            }
        },
    );
    format!("  {:<9} pvc/{pvc}{mode} {fetch}", "cache")
}

/// Aligns the rows of a plan in columns and omits empty columns.
fn align(headings: [&str; 5], rows: Vec<Vec<String>>) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        std::iter::once(headings.map(ToOwned::to_owned).to_vec()).chain(rows).collect();
    let is_empty = |column: usize| rows.iter().all(|row| row[column].is_empty());
    let visible: Vec<usize> = (0..headings.len()).filter(|column| !is_empty(*column)).collect();
    let rows = rows.iter().map(|row| visible.iter().map(|column| row[*column].clone()).collect());
    columns(rows, 2).lines().map(|line| format!("  {line}")).collect()
}

/// Returns the lines of a plan for a manifest: its objects.
fn manifest_lines(deployment: &ResolvedDeployment, namespace: &str) -> Vec<String> {
    let objects = deployment.resources.iter().map(|resource| format!("  {resource}"));
    let first = format!(
        "{} · namespace {} · from a manifest ({})",
        deployment.name,
        namespace,
        deployment.graph_api.as_str()
    );
    [first].into_iter().chain(objects).collect()
}

/// The command that the user can run next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextCommand {
    /// The deployment is starting.
    Status,
    Chat,
}

/// Returns the endpoint and the next command.
pub(crate) fn closing_lines(
    deployment: &ResolvedDeployment,
    cluster: &Cluster,
    next: NextCommand,
) -> Vec<String> {
    let (name, namespace) = (&deployment.name, &cluster.namespace);
    let next = match next {
        NextCommand::Status => "status",
        NextCommand::Chat => "chat",
    };
    vec![
        String::new(),
        format!("  in-cluster {}", summary::in_cluster_url(name, namespace)),
        format!("  try        {}", typed(deployment_command(next, name, namespace))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_columns_are_hidden() {
        let row = |cells: [&str; 5]| cells.map(ToOwned::to_owned).to_vec();
        let rows = vec![
            row(["frontend", "×1", "", "–", "default"]),
            row(["prefill", "×2", "TP2 2 GPU", "16.4 + 51.0 GiB of 79.6", "flag"]),
        ];
        let lines = align(["", "", "", "per GPU: weights + KV cache", "source"], rows);
        assert_eq!(
            lines,
            [
                "                           per GPU: weights + KV cache  source",
                "  frontend  ×1             –                            default",
                "  prefill   ×2  TP2 2 GPU  16.4 + 51.0 GiB of 79.6      flag",
            ]
        );
        let lines = align(["", "", "", "", "source"], vec![row(["worker", "×1", "", "", "flag"])]);
        assert_eq!(lines, ["              source", "  worker  ×1  flag"]);
    }

    #[test]
    fn source_with_highest_precedence_is_shown() {
        let source_for = |sources: &[(&str, SettingSource)]| {
            let values: Vec<(String, Value, SettingSource)> = sources
                .iter()
                .map(|(path, source)| ((*path).to_owned(), Value::Null, source.clone()))
                .collect();
            source_of(&values, "decode")
        };
        let tensor = ("decode.tensorParallelSize", SettingSource::Flag);
        assert_eq!(
            source_for(&[tensor.clone(), ("decode.replicas", SettingSource::Default)]),
            "flag, replicas default"
        );
        assert_eq!(source_for(&[tensor, ("decode.replicas", SettingSource::Environment)]), "flag");
        assert_eq!(source_for(&[("prefill.replicas", SettingSource::Flag)]), "default");
    }
}
