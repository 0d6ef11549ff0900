//! Renders the result of a dry run: what would happen to each object, or the objects as they would be.

use crate::output::{ObjectFormat, PreviewFormat, PrintFormat, TableFormat};
use crate::render::{objects, plan_table};
use crate::workflow::confirm_change::{adapter_owned_lines, effect_lines};
use crate::workflow::rollout::{ChangePreview, DryRun};
use crate::workflow::superseded_fetch::SupersededFetch;
use crate::workflow::up_outcome::UpOutcome;
use kubectl_dynamo_cluster::{ApplyResult, Change};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::resources::Resource;

/// Returns the result of a dry run in one format. `lines` are the text of the table format.
///
/// # Errors
/// A template that does not fit the objects.
pub(crate) fn text(
    changes: &[Change],
    lines: impl FnOnce() -> String,
    format: Option<&PrintFormat<PreviewFormat>>,
) -> Result<String> {
    let objects = || changes.iter().map(object_after).collect::<Vec<_>>();
    match format {
        None | Some(PrintFormat::Own(PreviewFormat::Table)) => Ok(lines()),
        Some(PrintFormat::Own(PreviewFormat::Name)) => {
            objects::text(&objects(), &PrintFormat::Own(ObjectFormat::Name))
        }
        Some(PrintFormat::Document(format)) => match objects().as_slice() {
            // As kubectl, one object is not in a list.
            [only] => format.text(&only.object),
            several => objects::text(several, &PrintFormat::Document(format.clone())),
        },
    }
}

/// Returns an object as it would be after the change, without the managed fields, as kubectl prints it: the answer of
/// the dry run, the live object if it stays, or the object that would be sent.
fn object_after(change: &Change) -> Resource {
    let live = change.live.as_ref().filter(|_| change.outcome == ApplyResult::Retained);
    let mut object = live.or(change.result.as_ref()).unwrap_or(&change.resource.object).clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    Resource { object }
}

/// Returns the plan or the result of a dry run of `up`, each in its format; `None` if `up` changed the deployment.
///
/// # Errors
/// A template that does not fit the document.
pub(crate) fn outcome_text(
    outcome: &UpOutcome,
    plan_format: &PrintFormat<TableFormat>,
    format: Option<&PrintFormat<PreviewFormat>>,
) -> Result<Option<String>> {
    match outcome {
        UpOutcome::Finished(_) => Ok(None),
        UpOutcome::Plan { deployment, namespace, superseded } => {
            plan_table::text(deployment, namespace, superseded, plan_format).map(Some)
        }
        UpOutcome::ClientDryRun(changes) => text(changes, || client_dry_run_text(changes), format).map(Some),
        UpOutcome::ServerDryRun { token_secret, changes, superseded, .. } => {
            let lines = || server_dry_run_text(token_secret.as_ref(), changes, superseded);
            let text = text(changes, lines, format)?;
            Ok(Some(match (format, token_secret) {
                (Some(PrintFormat::Own(PreviewFormat::Name)), Some((secret, _))) => {
                    format!("{secret}\n{text}")
                }
                _ => text,
            }))
        }
    }
}

/// Returns the result of a client-side dry run.
fn client_dry_run_text(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("{} {} (dry run)\n", change.resource, change.outcome)).collect()
}

/// Returns the result of a server-side dry run: each object and what would happen to it.
fn server_dry_run_text(
    token_secret: Option<&(String, ApplyResult)>,
    changes: &[Change],
    superseded: &[SupersededFetch],
) -> String {
    let deleted = superseded.iter().filter(|one| one.is_deleted());
    let deleted = deleted.map(|one| format!("job/{} deleted (server dry run)\n", one.name()));
    let secret =
        token_secret.iter().map(|(secret, outcome)| format!("{secret} {outcome} (server dry run)\n"));
    let change = |change: &Change| format!("{} {} (server dry run)\n", change.resource, change.outcome);
    deleted.chain(secret).chain(changes.iter().map(change)).collect()
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
