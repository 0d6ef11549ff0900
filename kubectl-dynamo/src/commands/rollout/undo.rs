//! `rollout undo`: an earlier revision applied again, said and asked about as any change by `up`.

use clap::Args;

use super::error::RolloutError;
use super::{There, numbered, there};
use crate::change::revision::{Revision, number, restored};
use crate::commands::changes::Answer;
use crate::commands::settle::{self, ChangeArgs, Occasion};
use crate::commands::{Context, revisions};
use crate::error::{Exit, Result};
use crate::intent::Word;

/// Go back to the revision before the present one, or to any that is kept
#[derive(Args)]
pub(super) struct UndoArgs {
    /// Name of the deployment
    pub name: String,
    /// The revision to go back to; the one before the present when absent
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub to_revision: Option<i64>,
    #[command(flatten)]
    pub change: ChangeArgs,
    /// Do not ask before a change that leaves a serving deployment without answers for a while
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn run(args: UndoArgs, context: &Context) -> Result<Exit> {
    let There { cluster, platform, graph } = there(&args.name, context).await?;
    let kept = revisions::of(&cluster, &graph).await?;
    let wanted = match args.to_revision {
        Some(number) => numbered(&kept, number, &args.name)?,
        None => before(&kept, number(&graph), &args.name)?,
    };
    let resource = restored(wanted, &cluster.namespace);
    let stored = format!("nvidia.com/{}", platform.graph_api.as_str());
    if resource.api_version() != stored {
        let (name, given) = (args.name.clone(), resource.api_version().to_owned());
        return Err(RolloutError::OtherShape { name, number: wanted.number, given, stored }.into());
    }
    context
        .report
        .detail(format!("{} goes back to revision {} ({})", args.name, wanted.number, wanted.cause));
    let cause = format!("rollout undo to {}", wanted.number);
    let occasion = Occasion { cause: &cause, answer: Answer::of(args.yes) };
    settle::change(&resource, &occasion, &args.change, &platform, &cluster, context).await
}

/// The newest revision that is not the present one.
fn before<'a>(kept: &'a [Revision], present: Option<i64>, name: &str) -> Result<&'a Revision> {
    let present = present.or_else(|| kept.last().map(|last| last.number)).unwrap_or_default();
    let earlier = kept.iter().rfind(|one| one.number < present);
    earlier.ok_or_else(|| RolloutError::NothingBefore { name: name.into() }.into())
}
