//! `rollout`: what was applied to a deployment before, going back to it, and starting its pods anew. The words are
//! kubectl's.

mod error;
mod history;
mod restart;
mod status;
mod undo;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Context;
use super::frontend::{self, Sought};
use crate::change::revision::Revision;
use crate::cluster::{Cluster, Platform};
use crate::error::{Exit, Result};
use error::RolloutError;

/// See, repeat and take back changes of a deployment
#[derive(Args)]
pub(super) struct RolloutArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Status(status::StatusArgs),
    History(history::HistoryArgs),
    Undo(undo::UndoArgs),
    Restart(restart::RestartArgs),
}

impl RolloutArgs {
    /// The verb with its second word, as the table of rights names it.
    pub(super) fn name(&self) -> &'static str {
        match self.what {
            What::Status(_) => "rollout status",
            What::History(_) => "rollout history",
            What::Undo(_) => "rollout undo",
            What::Restart(_) => "rollout restart",
        }
    }
}

pub(super) async fn run(args: RolloutArgs, context: &Context) -> Result<Exit> {
    match args.what {
        What::Status(args) => status::run(args, context).await,
        What::History(args) => history::run(args, context).await,
        What::Undo(args) => undo::run(args, context).await,
        What::Restart(args) => restart::run(args, context).await,
    }
}

/// A deployment that is there, with its cluster.
struct There {
    cluster: Cluster,
    platform: Platform,
    graph: Value,
}

async fn there(name: &str, context: &Context) -> Result<There> {
    let Sought { cluster, platform, graph } = frontend::look(name, context).await?;
    match graph {
        Some(graph) => Ok(There { cluster, platform, graph }),
        None => Err(frontend::absent(&cluster, &platform, name).into()),
    }
}

/// The revision of a number.
fn numbered<'a>(revisions: &'a [Revision], number: i64, name: &str) -> Result<&'a Revision> {
    revisions.iter().find(|one| one.number == number).ok_or_else(|| {
        let known = revisions.iter().map(|one| one.number.to_string()).collect();
        RolloutError::NoRevision { name: name.into(), number, known }.into()
    })
}
