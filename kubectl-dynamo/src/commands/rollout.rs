//! `rollout`: the revisions of a deployment, rollback, and restart, with the subcommands of `kubectl
//! rollout`.

mod error;
mod history;
mod restart;
mod status;
mod undo;

use clap::{Args, Subcommand};

use crate::context::Context;
use error::RevisionError;
use kubectl_dynamo_core::change::revision::Revision;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(super) struct RolloutArgs {
    #[command(subcommand)]
    verb: RolloutVerb,
}

#[derive(Subcommand)]
enum RolloutVerb {
    Status(status::RolloutStatusArgs),
    History(history::HistoryArgs),
    Undo(undo::UndoArgs),
    Restart(restart::RestartArgs),
}

impl RolloutArgs {
    /// Returns the full command name, as the table of permissions has it.
    pub(super) fn name(&self) -> &'static str {
        match self.verb {
            RolloutVerb::Status(_) => "rollout status",
            RolloutVerb::History(_) => "rollout history",
            RolloutVerb::Undo(_) => "rollout undo",
            RolloutVerb::Restart(_) => "rollout restart",
        }
    }
}

pub(super) async fn run(args: RolloutArgs, context: &Context) -> Result<Exit> {
    match args.verb {
        RolloutVerb::Status(args) => status::run(args, context).await,
        RolloutVerb::History(args) => history::run(args, context).await,
        RolloutVerb::Undo(args) => undo::run(args, context).await,
        RolloutVerb::Restart(args) => restart::run(args, context).await,
    }
}

/// Returns the revision with this number, or an error that lists the available ones.
fn find_revision<'a>(revisions: &'a [Revision], number: i64, name: &str) -> Result<&'a Revision> {
    revisions.iter().find(|one| one.number == number).ok_or_else(|| {
        let available = revisions.iter().map(|one| one.number.to_string()).collect();
        RevisionError::RevisionNotFound { name: name.into(), number, available }.into()
    })
}
