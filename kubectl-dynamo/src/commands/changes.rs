//! Saying what a change does before it is made: the same words for `diff`, `up`, `scale` and `rollout undo`, and the
//! question before a change that leaves a serving graph without an answer.

use super::Context;
use super::confirm::confirm;
use crate::change::{ComponentChange, Effect, GraphChange, LeftToAdapter, Renewal, last_start_seconds};
use crate::cluster::{Change, Cluster, Kind, Outcome, Platform};
use crate::error::Result;
use crate::readiness::{GRAPH_LABEL, holds};

/// Whether a question was answered on the command line already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Yes,
    Ask,
}

impl Answer {
    /// From `-y`.
    pub(super) fn of(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::Ask }
    }
}

/// How this cluster's operator renews workers.
pub(super) fn renewal(platform: &Platform) -> Renewal {
    if platform.serves_v1beta1 { Renewal::AllWorkers } else { Renewal::EachComponent }
}

/// What a change of a graph does to its pods; nothing where the object is another one or nothing changes.
pub(super) fn effect(change: &Change, platform: &Platform) -> Option<GraphChange> {
    let result = change.result.as_ref().filter(|_| is_graph(change))?;
    (change.outcome != Outcome::Unchanged)
        .then(|| GraphChange::between(change.live.as_ref(), result, renewal(platform)))
}

/// Pods that come on top of those there are, of each component of the graph among the changes.
pub(super) fn starts(changes: &[Change], platform: &Platform) -> Vec<(String, u64)> {
    let effects = changes.iter().filter_map(|change| effect(change, platform));
    let components = effects.flat_map(|effect| effect.components);
    let pods = |one: &ComponentChange| match one.effect {
        Effect::None => 0,
        Effect::Scaled { from, to } => to.saturating_sub(from),
        Effect::Rolls { on_top } => on_top,
        Effect::Starts { pods } => pods,
    };
    components.map(|one| (one.name.clone(), pods(&one))).filter(|(_, pods)| *pods > 0).collect()
}

fn is_graph(change: &Change) -> bool {
    matches!(Kind::of(&change.resource), Some(Kind::Graph(_)))
}

/// One line for each component.
pub(super) fn lines(effect: &GraphChange) -> Vec<String> {
    let line = |one: &ComponentChange| format!("  {:<9} {one}", one.name);
    effect.components.iter().map(line).collect()
}

/// What was asked for and is not applied, because a scaling adapter decides it.
pub(super) fn left_lines(change: &Change) -> impl Iterator<Item = String> {
    change.left.iter().map(|left| {
        let LeftToAdapter { component, asked, live } = left;
        format!("{component} keeps {live} replicas, which its scaling adapter decides, not {asked}")
    })
}

/// Says what an update of a graph will do, and asks before one that interrupts it. Answers whether to go on.
pub(super) async fn accepted(
    cluster: &Cluster,
    platform: &Platform,
    changes: &[Change],
    answer: Answer,
    context: &Context,
) -> Result<bool> {
    changes.iter().flat_map(left_lines).for_each(|line| context.report.detail(line));
    let updates = changes.iter().filter(|change| change.live.is_some());
    for (change, effect) in updates.filter_map(|change| Some((change, effect(change, platform)?))) {
        let name = change.resource.name();
        let moving = effect.components.iter().filter(|one| one.effect != Effect::None);
        let said: Vec<String> = moving.map(|one| format!("{} {one}", one.name)).collect();
        context.report.detail(match said.as_slice() {
            [] => format!("{name} changes, and no pod moves"),
            said => format!("{name} changes: {}", said.join("; ")),
        });
        let serves = change.live.as_ref().is_some_and(|live| holds(live, "Ready"));
        if effect.gap && serves {
            let gap = format!("{name} answers nothing {}", gap(cluster, name).await);
            context.report.detail(&gap);
            if answer == Answer::Ask && !confirm("Go on?")? {
                context.report.detail("nothing is changed");
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// How long the gap is, by what the last start took.
async fn gap(cluster: &Cluster, name: &str) -> String {
    // Who may not see pods hears of the gap, and not of its length.
    let pods = cluster.list(Kind::Pod, &format!("{GRAPH_LABEL}={name}"), false).await.unwrap_or_default();
    let until = "while prefill and decode restart, each at its own pace";
    match last_start_seconds(&pods) {
        Some(seconds) => format!("{until} (the last start took {seconds} s)"),
        None => until.into(),
    }
}
