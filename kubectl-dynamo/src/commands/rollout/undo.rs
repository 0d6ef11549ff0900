//! `rollout undo`: applies an earlier revision again, with the same diff, confirmation, and wait as an update
//! by `up`.

use clap::Args;

use super::error::RevisionError;
use super::find_revision;
use crate::commands::change_flags::ChangeArgs;
use crate::context::Context;
use crate::workflow::confirm_change::Confirmation;
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::revisions;
use crate::workflow::rollout::{self, ChangeRequest};
use kubectl_dynamo_core::change::revision::{Revision, number, to_resource};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::StringEnum;

/// Roll back to the previous revision or to a given one
#[derive(Args)]
pub(super) struct UndoArgs {
    /// Name of the deployment
    pub name: String,
    /// Revision to roll back to (default: the previous one)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub to_revision: Option<i64>,
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Do not ask for confirmation if requests can be lost
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn run(args: UndoArgs, context: &Context) -> Result<Exit> {
    let options = args.change.options()?;
    let ClusterDeployment { cluster, platform, graph } = lookup::get_deployment(&args.name, context).await?;
    let revisions = revisions::list(&cluster, &graph).await?;
    let target = match args.to_revision {
        Some(number) => find_revision(&revisions, number, &args.name)?,
        None => previous_revision(&revisions, number(&graph), &args.name)?,
    };
    let resource = to_resource(target, &cluster.namespace);
    let stored = format!("nvidia.com/{}", platform.graph_api.as_str());
    if resource.api_version() != stored {
        let (name, recorded) = (args.name.clone(), resource.api_version().to_owned());
        return Err(
            RevisionError::ApiVersionMismatch { name, number: target.number, recorded, stored }.into()
        );
    }
    context.report.info(format!(
        "rolling back deployment \"{}\" to revision {} ({})",
        args.name, target.number, target.cause
    ));
    let cause = format!("rollout undo to {}", target.number);
    let request = ChangeRequest {
        cause: &cause,
        confirmation: Confirmation::from_yes_flag(args.yes),
        options: &options,
    };
    let outcome = rollout::apply_and_wait(&resource, &request, &platform, &cluster, context).await?;
    args.change.print_outcome(&outcome)
}

/// Returns the newest revision before the current one.
fn previous_revision<'a>(
    revisions: &'a [Revision],
    current: Option<i64>,
    name: &str,
) -> Result<&'a Revision> {
    let current = current.or_else(|| revisions.last().map(|last| last.number)).unwrap_or_default();
    let earlier = revisions.iter().rfind(|one| one.number < current);
    earlier.ok_or_else(|| RevisionError::NoEarlierRevision { name: name.into() }.into())
}
