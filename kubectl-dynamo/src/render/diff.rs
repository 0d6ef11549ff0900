//! Renders differences as text and as a JSON document.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::render::value::display_value;
use crate::workflow::confirm_change::effect_lines;
use crate::workflow::diff::ObjectDiff;
use kubectl_dynamo_cluster::ApplyResult;
use kubectl_dynamo_core::change::{ComponentChange, Difference, GraphChange, RolloutEffect};
use kubectl_dynamo_core::release::MeasuredLoss;

/// Returns the differences of the objects that change.
pub(crate) fn text(diffs: &[ObjectDiff]) -> String {
    diffs.iter().filter(|one| one.has_changes()).map(object_text).collect()
}

/// Returns the differences without those of the plugin's own annotations, which only repeat the change. If nothing
/// else differs, these are the change.
fn shown_differences(diff: &ObjectDiff) -> Vec<Difference> {
    let all = diff.differences();
    let is_own = |one: &Difference| one.path.contains("kubectl-dynamo.dev/");
    match all.iter().all(is_own) {
        true => all,
        false => all.into_iter().filter(|one| !is_own(one)).collect(),
    }
}

fn object_text(diff: &ObjectDiff) -> String {
    let mut text = format!("{} {}\n", diff.change.resource, outcome_text(diff.change.outcome));
    for difference in shown_differences(diff) {
        let values = match (&difference.before, &difference.after) {
            (Some(was), Some(becomes)) => format!("{} -> {}", display_value(was), display_value(becomes)),
            (diff, new_value) => display_value(diff.as_ref().or(new_value.as_ref()).unwrap_or(&Value::Null)),
        };
        let _ = writeln!(text, "  {} {}: {values}", difference.sign(), difference.path);
    }
    if let Some(effect) = &diff.effect {
        text.push_str("pods\n");
        for line in effect_lines(effect) {
            text.push_str(&line);
            text.push('\n');
        }
        if let Some(loss) = effect.loss {
            let _ = writeln!(text, "requests  {loss}");
        }
    }
    text
}

fn outcome_text(outcome: ApplyResult) -> &'static str {
    match outcome {
        ApplyResult::Created => "created",
        ApplyResult::Configured => "configured",
        ApplyResult::Recreated => "retried",
        ApplyResult::Unchanged | ApplyResult::Retained => "unchanged",
    }
}

/// Returns the differences as a JSON document.
pub(crate) fn document(diffs: &[ObjectDiff]) -> Value {
    let object = |diff: &ObjectDiff| {
        let changes: Vec<Value> = diff
            .differences()
            .into_iter()
            .map(|diff| json!({ "path": diff.path, "before": diff.before, "after": diff.after }))
            .collect();
        let resource = &diff.change.resource;
        json!({
            "apiVersion": resource.api_version(), "kind": resource.kind(), "name": resource.name(),
            "outcome": diff.change.outcome.to_string(), "changes": changes,
        })
    };
    let effect = diffs.iter().find_map(|diff| diff.effect.as_ref());
    let loss = effect.and_then(|effect| effect.loss);
    let component = |diff: &ComponentChange| {
        let effect = match diff.effect {
            RolloutEffect::None => "none",
            RolloutEffect::Scaled { .. } => "scaled",
            RolloutEffect::Rolling { .. } => "rolling",
            RolloutEffect::Starting { .. } => "starts",
        };
        json!({ "name": diff.name, "pods": effect, "text": diff.to_string(), "additionalGpus": diff.extra_gpus })
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "Difference",
        "objects": diffs.iter().map(object).collect::<Vec<_>>(),
        "components": effect.map(|effect| effect.components.iter().map(component).collect::<Vec<_>>()),
        "downtime": loss.is_some_and(MeasuredLoss::interrupts_requests),
        "measured": loss.map(|loss| json!({
            "operator": loss.operator, "failed": loss.failed, "requests": loss.requests, "seconds": loss.seconds(),
        })),
        "additionalGpus": effect.map_or(0, GraphChange::extra_gpus),
    })
}
