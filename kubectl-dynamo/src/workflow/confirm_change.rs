//! Reports the effect of a change before it is applied, in the same format for `diff`, `up`, `scale`, `rollout undo`,
//! and `rollout restart`, and asks for confirmation if a serving deployment would lose requests. It must not apply
//! the change.

use serde_json::Value;

use crate::context::Context;
use crate::workflow::confirm::confirm;
use crate::workflow::summary;
use kubectl_dynamo_cluster::{ApplyResult, Change, Kind, Platform};
use kubectl_dynamo_core::change::{
    AdapterOwnedReplicas, ComponentChange, GraphChange, RolloutEffect, RolloutStrategy,
};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;

/// Whether the confirmation was given on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirmation {
    AssumeYes,
    Prompt,
}

impl Confirmation {
    /// Converts the value of `-y`.
    pub(crate) fn from_yes_flag(yes: bool) -> Self {
        if yes { Self::AssumeYes } else { Self::Prompt }
    }
}

/// Returns how the operator of this cluster replaces worker pods.
pub(crate) fn rollout_strategy(platform: &Platform) -> RolloutStrategy {
    if platform.serves_v1beta1 { RolloutStrategy::AllWorkers } else { RolloutStrategy::PerComponent }
}

/// Returns the effect of a graph change on its pods; `None` if the object is not a graph or does not change.
pub(crate) fn effect(change: &Change, platform: &Platform) -> Option<GraphChange> {
    let result = change.result.as_ref().filter(|_| is_graph(change))?;
    (change.outcome != ApplyResult::Unchanged)
        .then(|| GraphChange::between(change.live.as_ref(), result, rollout_strategy(platform)))
}

/// Returns the number of pods that the changes add to each component of the graph, if they add any.
pub(crate) fn added_pods(changes: &[Change], platform: &Platform) -> Vec<(String, u64)> {
    changes.iter().filter_map(|change| effect(change, platform)).flat_map(|one| starting_pods(&one)).collect()
}

/// Returns the number of pods that a change adds to each component, if it adds any.
pub(crate) fn starting_pods(effect: &GraphChange) -> Vec<(String, u64)> {
    let pods = |one: &ComponentChange| match one.effect {
        RolloutEffect::None => 0,
        RolloutEffect::Scaled { from, to } => to.saturating_sub(from),
        RolloutEffect::Rolling { surge: on_top } => on_top,
        RolloutEffect::Starting { pods } => pods,
    };
    let components = effect.components.iter();
    components.map(|one| (one.name.clone(), pods(one))).filter(|(_, pods)| *pods > 0).collect()
}

fn is_graph(change: &Change) -> bool {
    matches!(Kind::from_resource(&change.resource), Some(Kind::Graph(_)))
}

/// Returns one line for each component.
pub(crate) fn effect_lines(effect: &GraphChange) -> Vec<String> {
    let line = |one: &ComponentChange| format!("  {:<9} {one}", one.name);
    effect.components.iter().map(line).collect()
}

/// Returns one line for each replica count that is not applied because a scaling adapter controls it.
pub(crate) fn adapter_owned_lines(change: &Change) -> impl Iterator<Item = String> {
    change.adapter_owned_replicas.iter().map(|owned| {
        let AdapterOwnedReplicas { component, requested, live } = owned;
        format!("{component} stays at {live} replicas, not {requested}: its scaling adapter controls them")
    })
}

/// Reports the effect of a graph update and what was measured for such a change, and asks for confirmation if
/// requests were lost. Returns whether to continue.
pub(crate) fn confirm_disruption(
    platform: &Platform,
    changes: &[Change],
    confirmation: Confirmation,
    context: &Context,
) -> Result<bool> {
    changes.iter().flat_map(adapter_owned_lines).for_each(|line| context.report.info(line));
    let updates = changes.iter().filter(|change| change.live.is_some());
    for (live, effect) in
        updates.filter_map(|change| Some((change.live.as_ref()?, effect(change, platform)?)))
    {
        if !confirm_effect(live, &effect, confirmation, context)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Asks for confirmation if a request for a model would replace another model, because its default name is the one of an
/// existing deployment. Returns whether to continue.
pub(crate) fn confirm_other_model(
    changes: &[Change],
    confirmation: Confirmation,
    context: &Context,
) -> Result<bool> {
    let models = changes.iter().filter(|change| is_graph(change)).find_map(|change| {
        let live = summary::stored_intent(change.live.as_ref()?)?.model.without_revision();
        let desired = summary::stored_intent(&change.resource.object)?.model.without_revision();
        (live != desired).then(|| (change.resource.name().to_owned(), live, desired))
    });
    let Some((name, live, desired)) = models else { return Ok(true) };
    context.report.info(format!(
        "deployment \"{name}\" exists and serves \"{live}\"; it would serve \"{desired}\" instead"
    ));
    if confirmation == Confirmation::Prompt && !confirm("Replace the model?", context)? {
        context.report.info("nothing was changed; choose another name with --name");
        return Ok(false);
    }
    Ok(true)
}

/// Reports the effect of a change on a live graph and what was measured for such a change, and asks for confirmation
/// if requests were lost. Returns whether to continue.
pub(crate) fn confirm_effect(
    live: &Value,
    effect: &GraphChange,
    confirmation: Confirmation,
    context: &Context,
) -> Result<bool> {
    let graph = GraphView::new(live);
    let name = graph.name();
    let affected = effect.components.iter().filter(|one| one.effect != RolloutEffect::None);
    let component_effects: Vec<String> = affected.map(|one| format!("{} {one}", one.name)).collect();
    context.report.info(match component_effects.as_slice() {
        [] => format!("{name} changes without restarting pods"),
        component_effects => format!("{name} changes: {}", component_effects.join("; ")),
    });
    let Some(loss) = effect.loss.filter(|_| graph.condition_is_true("Ready")) else { return Ok(true) };
    context.report.info(format!("requests during a change of this kind: {loss}"));
    let must_confirm = loss.interrupts_requests() && confirmation == Confirmation::Prompt;
    if must_confirm && !confirm("Continue?", context)? {
        context.report.info("nothing was changed");
        return Ok(false);
    }
    Ok(true)
}
