//! `--rollback-on-failure`: the graph as it was before a change that failed, applied again and waited for.
//!
//! As with helm, any failure counts, also that it took too long: who asks for this wants the old state rather than a
//! new one that may still come. What was created is left as it is: there is nothing before it, and nothing is deleted.

use std::fmt;

use super::UpArgs;
use super::deploy::{self, Awaited};
use crate::change::applied;
use crate::change::revision::number;
use crate::cluster::{Change, Cluster, Kind, Outcome};
use crate::commands::{revisions, settle};
use crate::error::{Error, Exit, Explain, Result};
use crate::report::{Report, Stage};
use crate::resources::{GraphApi, MANAGER, Resource};

/// The failure of a change, and what came of going back. Code and exit code are those of the failure.
#[derive(Debug, thiserror::Error)]
#[error("{failure}; {outcome}")]
struct WentBack {
    failure: Error,
    outcome: Ending,
    name: String,
    namespace: String,
}

/// What came of going back.
#[derive(Debug)]
enum Ending {
    /// It answers as before, as a revision of this number.
    Serves(Option<i64>),
    Failed(Error),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serves(Some(number)) => {
                write!(f, "rolled back: what was there before serves again, as revision {number}")
            }
            Self::Serves(None) => f.write_str("rolled back: what was there before serves again"),
            Self::Failed(error) => write!(f, "rolling back failed too: {error}"),
        }
    }
}

impl Explain for WentBack {
    fn code(&self) -> Option<&'static str> {
        self.failure.code()
    }

    fn hint(&self) -> Option<String> {
        match &self.outcome {
            Ending::Serves(_) => self.failure.hint(),
            Ending::Failed(_) => {
                let Self { name, namespace, .. } = self;
                Some(format!("see why: kubectl dynamo diagnose {name} -n {namespace}"))
            }
        }
    }

    fn exit(&self) -> Exit {
        self.failure.exit()
    }
}

/// Goes back to what was there before a change, and answers the failure with what came of that.
pub(super) async fn go_back(
    failure: Error,
    change: &Change,
    args: &UpArgs,
    cluster: &Cluster,
    report: &Report,
) -> Error {
    let before = change.live.as_ref().filter(|_| change.outcome == Outcome::Configured);
    let Some(before) = before.and_then(|live| applied(live, MANAGER)) else {
        report.detail(format!("{} had no state before to go back to; it is left as it is", change.resource));
        return failure;
    };
    report.detail(format!("going back, since the change failed: {failure}"));
    let before = Resource { object: before };
    let went = tokio::time::timeout(args.settle.timeout, restore(&before, args, cluster, report)).await;
    let outcome = match went {
        Ok(Ok(number)) => Ending::Serves(number),
        Ok(Err(error)) => Ending::Failed(error),
        Err(_) => Ending::Failed(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    };
    let (name, namespace) = (change.resource.name().to_owned(), cluster.namespace.clone());
    WentBack { failure, outcome, name, namespace }.into()
}

async fn restore(
    resource: &Resource,
    args: &UpArgs,
    cluster: &Cluster,
    report: &Report,
) -> Result<Option<i64>> {
    let api = match Kind::of(resource) {
        Some(Kind::Graph(api)) => api,
        _ => GraphApi::V1Beta1,
    };
    let changes = cluster.compare(std::slice::from_ref(resource), args.force_conflicts).await?;
    let change = changes.first().expect("one object is compared");
    let awaited = Awaited::graph(&resource.object, api);
    let attempts = deploy::attempts(cluster, &awaited.name).await;
    let live =
        revisions::apply(cluster, change, args.force_conflicts, "rollback of a failed up", report).await?;
    report.done(Stage::Deploy, format!("{resource} as it was before"));
    settle::serve_again(&awaited, &live, attempts, &args.settle, cluster, report).await?;
    Ok(number(&live))
}
