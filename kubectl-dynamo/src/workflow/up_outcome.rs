//! How `up` ended, for the verb that prints it.

use super::resolve::ResolvedDeployment;
use super::superseded_fetch::SupersededFetch;
use kubectl_dynamo_cluster::{ApplyResult, Change};
use kubectl_dynamo_core::error::Exit;

/// How `up` ended.
pub(crate) enum UpOutcome {
    Finished(Exit),
    /// Only the resolved values were requested.
    Plan {
        deployment: Box<ResolvedDeployment>,
        namespace: String,
        superseded: Vec<SupersededFetch>,
    },
    ClientDryRun(Vec<Change>),
    ServerDryRun {
        /// The Secret of the hub token, and what would happen to it.
        token_secret: Option<(String, ApplyResult)>,
        changes: Vec<Change>,
        superseded: Vec<SupersededFetch>,
        exit: Exit,
    },
}

impl UpOutcome {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Finished(exit) | Self::ServerDryRun { exit, .. } => *exit,
            Self::Plan { .. } | Self::ClientDryRun(_) => Exit::Ok,
        }
    }
}
