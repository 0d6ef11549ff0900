//! `cache`: lists, pulls, verifies, and removes models on PersistentVolumeClaims (PVCs).
//! This file only dispatches to one file per subcommand.

mod error;
mod inventory;
mod list;
mod pull;
mod remove;
mod selection;
mod verify;

use clap::Subcommand;

use crate::context::Context;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Subcommand)]
pub(super) enum CacheVerb {
    List(list::CacheListArgs),
    Pull(Box<pull::CachePullArgs>),
    Verify(Box<verify::CacheVerifyArgs>),
    Rm(Box<remove::CacheRmArgs>),
    Prune(remove::CachePruneArgs),
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
