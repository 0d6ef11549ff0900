//! Renders the result of a dry run.

use crate::workflow::confirm_change::{adapter_owned_lines, effect_lines};
use crate::workflow::rollout::{ChangePreview, DryRun};
use crate::workflow::superseded_fetch::SupersededFetch;
use kubectl_dynamo_cluster::{ApplyResult, Change};

/// Returns the result of a client-side dry run.
pub(crate) fn client_dry_run_text(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("{} {} (dry run)\n", change.resource, change.outcome)).collect()
}

/// Returns the result of a server-side dry run: each object and what would happen to it.
pub(crate) fn server_dry_run_text(
    outcomes: &[(String, ApplyResult)],
    superseded: &[SupersededFetch],
) -> String {
    let deleted = superseded.iter().filter(|one| one.is_deleted());
    let deleted = deleted.map(|one| format!("job/{} deleted (server dry run)\n", one.name()));
    let line = |(object, outcome): &(String, ApplyResult)| format!("{object} {outcome} (server dry run)\n");
    deleted.chain(outcomes.iter().map(line)).collect()
}

/// Returns the result of a dry run of one change, with its effect on the pods.
pub(crate) fn change_preview_text(preview: &ChangePreview) -> String {
    let ChangePreview { change, effect, dry_run } = preview;
    let mut text = match dry_run {
        DryRun::Client => client_dry_run_text(std::slice::from_ref(change)),
        DryRun::Server | DryRun::None => {
            format!("{} {} (server dry run)\n", change.resource, change.outcome)
        }
    };
    for line in effect.iter().flat_map(effect_lines) {
        text.push_str(&line);
        text.push('\n');
    }
    adapter_owned_lines(change).for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}
