//! `status` without a name: the state of all deployments of a namespace. The first line gives the worst state.

use crate::context::Context;
use crate::output::{PrintFormat, TextFormat, print_data};
use crate::render::list::{ListColumns, document, rows};
use crate::workflow::deployments::{ListQuery, report_no_deployments};
use crate::workflow::summary::ListStatus;
use kubectl_dynamo_core::error::{Exit, Result};

/// Prints the status of all deployments of a namespace. The first line gives the worst state.
pub(super) async fn status(output: &PrintFormat<TextFormat>, context: &Context) -> Result<Exit> {
    let scope = context.kube.scope();
    let cluster = context.cluster().await?;
    let api = cluster.platform().await?.graph_api;
    let entries = ListQuery { selector: "", scope }.list(&cluster, api).await?;
    if entries.is_empty() && !output.is_document() {
        report_no_deployments(scope, &cluster, context);
        return Ok(Exit::Ok);
    }
    let names_with = |statuses: &[ListStatus]| -> Vec<&str> {
        let matching = entries.iter().filter(|one| statuses.contains(&one.status));
        matching.map(|one| one.summary.name.as_str()).collect()
    };
    let failed = names_with(&[ListStatus::Failed, ListStatus::FetchFailed]);
    let progressing = names_with(&[ListStatus::Progressing, ListStatus::Fetching]);
    let deleting = names_with(&[ListStatus::Terminating]);
    let count = entries.len() - deleting.len();
    let (mut line, exit) = match (failed.as_slice(), progressing.as_slice()) {
        ([], []) => (format!("✔ {count} of {count} deployments ready"), Exit::Ok),
        ([], progressing) => {
            let names = progressing.join(", ");
            (
                format!("… {} of {count} deployments not ready: {names}", progressing.len()),
                Exit::NotReadyInTime,
            )
        }
        (failed, _) => {
            (format!("✗ {} of {count} deployments failed: {}", failed.len(), failed.join(", ")), Exit::Failed)
        }
    };
    if !deleting.is_empty() {
        line += &format!("; being deleted: {}", deleting.join(", "));
    }
    print_data(&match output {
        PrintFormat::Own(TextFormat::Text) => {
            format!("{line}\n{}", rows(entries, scope, ListColumns::Standard))
        }
        PrintFormat::Document(format) => format.text(&document(&entries))?,
    })?;
    Ok(exit)
}
