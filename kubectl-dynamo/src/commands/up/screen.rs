//! What `up` says before and after the work.

use serde_json::Value;

use crate::cluster::{Change, Cluster, Outcome};
use crate::commands::deployment::Deployment;
use crate::commands::table::columns;
use crate::commands::{print_data, summary};
use crate::error::{Exit, Result};
use crate::intent::request::Source;
use crate::intent::{Backend, Parallelism, Topology, Word};
use crate::plan::{Component, ModelCache, ServingPlan};
use crate::preflight::{ClusterFacts, Memory, ModelFacts, Subject, gpu_line, memory_of};
use crate::report::units;

/// What a look alone tells.
pub(super) fn print_client_dry_run(changes: &[Change]) -> Result<Exit> {
    for change in changes {
        print_data(&format!("{} {} (dry run)\n", change.resource, change.outcome))?;
    }
    Ok(Exit::Ok)
}

/// What the API server would do.
pub(super) fn print_server_dry_run(outcomes: &[(String, Outcome)]) -> Result<()> {
    for (object, outcome) in outcomes {
        print_data(&format!("{object} {outcome} (server dry run)\n"))?;
    }
    Ok(())
}

/// What will run, with what is known of the model and the nodes.
pub(in crate::commands) fn plan_lines(
    deployment: &Deployment,
    namespace: &str,
    context: Option<&str>,
    facts: &ClusterFacts,
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
    let subject = Subject {
        plan: Some(plan),
        resources: &deployment.resources,
        claim: deployment.claim.as_ref(),
        starts: None,
    };
    lines.extend(component_lines(deployment, plan, facts, &subject));
    lines.extend(gpu_line(facts, &subject).map(|line| format!("  {:<9} {line}", "GPUs")));
    lines.extend(plan.cache.as_ref().map(|cache| cache_line(deployment, cache, facts)));
    lines.extend(deployment.kept.iter().map(|kept| format!("  {:<9} {kept}", "keeps")));
    if plan.intent.backend == Backend::Mocker {
        lines.push("  engine    mocker: real requests, but its words mean nothing".into());
    }
    lines
}

/// Each component with its shape, what lies on each of its GPUs, and who said so.
fn component_lines(
    deployment: &Deployment,
    plan: &ServingPlan,
    facts: &ClusterFacts,
    subject: &Subject<'_>,
) -> Vec<String> {
    let memory: Vec<Option<Memory>> =
        plan.components.iter().map(|component| memory_of(facts, subject, component.role)).collect();
    let (heading, without) = match memory.iter().flatten().next() {
        Some(Memory { kv_room: Some(_), .. }) => ("per GPU: weights + KV room", "–"),
        Some(_) => ("per GPU", "–"),
        None => ("", ""),
    };
    let rows = plan.components.iter().zip(memory).map(|(component, memory)| {
        vec![
            component.name().to_owned(),
            format!("×{}", component.replicas),
            shape(component, &plan.intent.topology),
            memory.map_or_else(|| without.to_owned(), |memory| memory.to_string()),
            who_said(&deployment.values, component.name()),
        ]
    });
    aligned(["", "", "", heading, "source"], rows.collect())
}

/// `TP2 PP2`, and how many GPUs that is.
fn shape(component: &Component, topology: &Topology) -> String {
    let groups = topology.groups();
    let Some((_, group)) = groups.into_iter().find(|(role, _)| *role == component.role) else {
        return String::new();
    };
    let Parallelism { tensor, pipeline, data, expert } = group.parallelism;
    let mut words: Vec<String> = [("TP", tensor), ("PP", pipeline), ("DP", data)]
        .into_iter()
        .filter(|(_, ways)| *ways > 1)
        .map(|(kind, ways)| format!("{kind}{ways}"))
        .collect();
    words.extend(expert.then(|| "EP".to_owned()));
    words.extend((component.nodes > 1).then(|| format!("{} nodes", component.nodes)));
    words.extend((component.gpus > 0).then(|| format!("{} GPU", component.gpus)));
    words.join(" ")
}

/// Who said how a component looks: the strongest source, and whether the count is only the default.
fn who_said(values: &[(String, Value, Source)], component: &str) -> String {
    let of = |path: &str| path.strip_prefix(component).is_some_and(|rest| rest.starts_with('.'));
    let said = values.iter().filter(|(path, ..)| of(path));
    let Some((_, _, strongest)) = said.clone().max_by_key(|(_, _, source)| source.strength()) else {
        return Source::Default.to_string();
    };
    let is_count = |path: &str| path.ends_with(".replicas");
    let count = said.clone().find(|(path, ..)| is_count(path)).map(|(_, _, source)| source);
    match count {
        Some(count) if *count == Source::Default && *strongest != Source::Default => {
            format!("{strongest}, replicas default")
        }
        _ => strongest.to_string(),
    }
}

/// The claim, and what is to be fetched into it where the hub told that.
fn cache_line(deployment: &Deployment, cache: &ModelCache, facts: &ClusterFacts) -> String {
    let claim = cache.cache.claim();
    let mode = match &deployment.claim {
        Some(claim) if claim.many_nodes => " RWX",
        _ => "",
    };
    let fetch = facts.model().map_or_else(
        || format!("at {}", cache.model_folder),
        |model| {
            let ModelFacts { files, bytes, .. } = model;
            format!("  {} to fetch, {files} files, rev {}", units::bytes(*bytes), model.revision())
        },
    );
    format!("  {:<9} pvc/{claim}{mode} {fetch}", "cache")
}

/// Rows of a plan in columns; one in which nothing stands is left out.
fn aligned(headings: [&str; 5], rows: Vec<Vec<String>>) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        std::iter::once(headings.map(ToOwned::to_owned).to_vec()).chain(rows).collect();
    let is_empty = |column: usize| rows.iter().all(|row| row[column].is_empty());
    let kept: Vec<usize> = (0..headings.len()).filter(|column| !is_empty(*column)).collect();
    let rows = rows.iter().map(|row| kept.iter().map(|column| row[*column].clone()).collect());
    columns(rows, 2).lines().map(|line| format!("  {line}")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_equal_and_empty_ones_are_left_out() {
        let row = |cells: [&str; 5]| cells.map(ToOwned::to_owned).to_vec();
        let rows = vec![
            row(["frontend", "×1", "", "–", "default"]),
            row(["prefill", "×2", "TP2 2 GPU", "16.4 + 51.0 GiB of 79.6", "flag"]),
        ];
        let lines = aligned(["", "", "", "per GPU: weights + KV room", "source"], rows);
        assert_eq!(
            lines,
            [
                "                           per GPU: weights + KV room  source",
                "  frontend  ×1             –                           default",
                "  prefill   ×2  TP2 2 GPU  16.4 + 51.0 GiB of 79.6     flag",
            ]
        );
        let lines = aligned(["", "", "", "", "source"], vec![row(["worker", "×1", "", "", "flag"])]);
        assert_eq!(lines, ["              source", "  worker  ×1  flag"]);
    }

    #[test]
    fn the_strongest_word_on_a_component_is_named() {
        let of = |said: &[(&str, Source)]| {
            let values: Vec<(String, Value, Source)> =
                said.iter().map(|(path, source)| ((*path).to_owned(), Value::Null, source.clone())).collect();
            who_said(&values, "decode")
        };
        let tensor = ("decode.tensorParallelSize", Source::Flag);
        assert_eq!(of(&[tensor.clone(), ("decode.replicas", Source::Default)]), "flag, replicas default");
        assert_eq!(of(&[tensor, ("decode.replicas", Source::Environment)]), "flag");
        assert_eq!(of(&[("prefill.replicas", Source::Flag)]), "default");
    }
}
