//! Why `up` ended before the deployment answered, beyond what the cluster itself refuses.

use std::time::Duration;

use super::leaving::{Stands, this_command};
use crate::cluster::Cluster;
use crate::error::{Exit, Explain};
use crate::report::Report;
use crate::smoke_test::SmokeTestError;

/// A failure of `up` on a cluster.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum UpError {
    #[error("{name} is not ready after {} s: it still waits for {last}", timeout.as_secs())]
    NotInTime { name: String, namespace: String, timeout: Duration, last: String },
    #[error("{name} is not applied after {} s: it still waits for {last}", timeout.as_secs())]
    NotBegun { name: String, timeout: Duration, last: String, again: String },
    #[error("{name} reports ready and does not serve: {cause}")]
    NotServing { name: String, namespace: String, cause: SmokeTestError },
    #[error("stdin holds no token")]
    NoToken,
    #[error("a file's own objects name their Secrets themselves, so there is no place for a token")]
    TokenOfFile,
    #[error("{name} was deleted while it came up")]
    Deleted { name: String },
    #[error("{name} was deleted and created again by somebody else while it came up")]
    Replaced { name: String },
    #[error("the fetch Job {job} failed: {reason}")]
    Job { job: String, namespace: String, reason: String },
}

impl UpError {
    /// That it took too long, with what it was last waiting for. Where nothing of the graph was applied yet a download
    /// may go on, and nobody goes on after it.
    pub(in crate::commands) fn late(
        name: &str,
        stands: Stands,
        cluster: &Cluster,
        timeout: Duration,
        report: &Report,
    ) -> Self {
        let last = report.last_wait().unwrap_or_else(|| "the cluster".into());
        match stands {
            Stands::Nothing => Self::NotBegun { name: name.into(), timeout, last, again: this_command() },
            Stands::Applied | Stands::GoesBack => {
                Self::NotInTime { name: name.into(), namespace: cluster.namespace.clone(), timeout, last }
            }
        }
    }
}

impl Explain for UpError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotInTime { .. } | Self::NotBegun { .. } => "KD0207",
            Self::NotServing { cause, .. } => return cause.code(),
            Self::NoToken => "KD0413",
            Self::TokenOfFile => "KD0007",
            Self::Deleted { .. } | Self::Replaced { .. } => "KD0208",
            Self::Job { .. } => "KD0410",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotInTime { name, namespace, .. } => {
                format!("it goes on coming up; wait on: kubectl dynamo status {name} -n {namespace}")
            }
            Self::NotBegun { again, .. } => format!("this continues it: {again}"),
            Self::NotServing { name, namespace, .. } => {
                format!("see what its workers say: kubectl dynamo logs {name} -n {namespace}")
            }
            Self::TokenOfFile => "leave --hf-token-stdin out".into(),
            Self::NoToken => "as in: kubectl dynamo up MODEL --hf-token-stdin < token.txt".into(),
            Self::Deleted { .. } | Self::Replaced { .. } => "run the same command again".into(),
            Self::Job { job, namespace, .. } => {
                format!("see its log: kubectl logs job/{job} -n {namespace}; then run the same command again")
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NotInTime { .. } | Self::NotBegun { .. } => Exit::NotReadyInTime,
            Self::NotServing { .. } => Exit::SmokeTest,
            Self::NoToken | Self::TokenOfFile => Exit::Usage,
            Self::Deleted { .. } | Self::Replaced { .. } => Exit::Failed,
            Self::Job { .. } => Exit::Model,
        }
    }
}
