//! `cache`: the models on claims: what is known of them, fetching one ahead, verifying one, removing some.

mod error;
mod known;
mod list;
mod pull;
mod remove;
mod target;
mod verify;

use clap::Subcommand;

use super::Context;
use crate::error::{Exit, Result};

/// The models on claims: list, fetch ahead, verify, remove
#[derive(Subcommand)]
pub(super) enum CacheVerb {
    List(list::ListArgs),
    Pull(Box<pull::PullArgs>),
    Verify(Box<verify::VerifyArgs>),
    Rm(Box<remove::RmArgs>),
    Prune(remove::PruneArgs),
}

impl CacheVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::List(_) => "cache list",
            Self::Pull(_) => "cache pull",
            Self::Verify(_) => "cache verify",
            Self::Rm(_) => "cache rm",
            Self::Prune(_) => "cache prune",
        }
    }
}

pub(super) async fn run(verb: CacheVerb, context: &Context) -> Result<Exit> {
    match verb {
        CacheVerb::List(args) => list::run(&args, context).await,
        CacheVerb::Pull(args) => pull::run(*args, context).await,
        CacheVerb::Verify(args) => verify::run(*args, context).await,
        CacheVerb::Rm(args) => remove::rm(*args, context).await,
        CacheVerb::Prune(args) => remove::prune(&args, context).await,
    }
}
