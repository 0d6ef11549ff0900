//! `--rollback-on-failure`: applies the previous spec again after a failed update and waits for it.
//!
//! As in helm, any failure counts, including a timeout. A new deployment is left unchanged: it does not have
//! a previous spec, and nothing is deleted.

use std::fmt;
use std::time::Duration;

use crate::report::{Report, Stage};
use crate::workflow::revisions;
use crate::workflow::rollout::{RolloutWait, WaitOptions};
use crate::workflow::wait_ready::{self, RolloutTarget};
use kubectl_dynamo_cluster::{ApplyResult, Change, Cluster, ConflictPolicy, Kind};
use kubectl_dynamo_core::change::owned_by;
use kubectl_dynamo_core::change::revision::number;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Error, Exit, Explain, Result};
use kubectl_dynamo_core::resources::{FIELD_MANAGER, GraphApi, Resource};

/// The failure of an update and the result of its rollback. Code and exit code are those of the failure.
#[derive(Debug, thiserror::Error)]
#[error("{failure}; {outcome}")]
struct RolledBack {
    failure: Error,
    outcome: RollbackResult,
    name: String,
    namespace: String,
}

/// The result of a rollback.
#[derive(Debug)]
enum RollbackResult {
    /// The previous spec is serving again, as the revision with this number.
    Serving(Option<i64>),
    Failed(Error),
    /// The previous spec is applied, but did not serve within this time.
    TimedOut(Duration),
}

impl fmt::Display for RollbackResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serving(Some(number)) => {
                write!(
                    f,
                    "rolled back to the previous spec (now revision {number}); the deployment is serving"
                )
            }
            Self::Serving(None) => f.write_str("rolled back to the previous spec; the deployment is serving"),
            Self::Failed(error) => write!(f, "the rollback also failed: {error}"),
            Self::TimedOut(limit) => {
                write!(f, "timed out waiting for the rollback to serve after {}s", limit.as_secs())
            }
        }
    }
}

impl Explain for RolledBack {
    fn code(&self) -> Option<MessageCode> {
        self.failure.code()
    }

    fn hint(&self) -> Option<Fix> {
        match &self.outcome {
            RollbackResult::Serving(_) => self.failure.hint().map(|hint| match names_pod(&hint) {
                true => {
                    "read the logs of the failed pods, which no longer exist, in the evidence folder".into()
                }
                false => hint,
            }),
            RollbackResult::Failed(_) | RollbackResult::TimedOut(_) => {
                let Self { name, namespace, .. } = self;
                let diagnose =
                    SuggestedCommand::plugin("diagnose").operand(name, "NAME").in_namespace(namespace);
                Some(diagnose.after("find the cause with: "))
            }
        }
    }

    fn exit(&self) -> Exit {
        self.failure.exit()
    }
}

/// Returns whether a hint contains a command about a pod. The pods of a failed update are deleted with its rollback.
fn names_pod(hint: &Fix) -> bool {
    hint.commands().filter(|command| !command.is_plugin()).any(|command| {
        let words = command.arguments();
        let verb: Vec<&str> = words.iter().take(2).map(String::as_str).collect();
        verb.first() == Some(&"logs") || verb == ["describe", "pod"]
    })
}

/// Options of a rollback.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RollbackOptions {
    pub wait: WaitOptions,
    /// Take over fields that another field manager owns.
    pub conflicts: ConflictPolicy,
}

/// Rolls back a failed change. Returns the failure, extended by the result of the rollback.
pub(crate) async fn roll_back(
    failure: Error,
    change: &Change,
    options: RollbackOptions,
    cluster: &Cluster,
    report: &Report,
) -> Error {
    let previous = change.live.as_ref().filter(|_| change.outcome == ApplyResult::Configured);
    let Some(previous) = previous.and_then(|live| owned_by(live, FIELD_MANAGER)) else {
        report.info(format!(
            "{} does not have a previous spec to roll back to; it is left unchanged",
            change.resource
        ));
        return failure;
    };
    report.info(format!("rolling back because the update failed: {failure}"));
    let previous = Resource { object: previous };
    let result =
        tokio::time::timeout(options.wait.timeout, restore(&previous, options, cluster, report)).await;
    let outcome = match result {
        Ok(Ok(number)) => RollbackResult::Serving(number),
        Ok(Err(error)) => RollbackResult::Failed(error),
        Err(_) => RollbackResult::TimedOut(options.wait.timeout),
    };
    let (name, namespace) = (change.resource.name().to_owned(), cluster.namespace.clone());
    RolledBack { failure, outcome, name, namespace }.into()
}

async fn restore(
    resource: &Resource,
    options: RollbackOptions,
    cluster: &Cluster,
    report: &Report,
) -> Result<Option<i64>> {
    let api = match Kind::from_resource(resource) {
        Some(Kind::Graph(api)) => api,
        _ => GraphApi::V1Beta1,
    };
    let changes = cluster.dry_run(std::slice::from_ref(resource), options.conflicts).await?;
    let change = changes.first().expect("one object in, one change out");
    let target = RolloutTarget::from_graph(&resource.object, api);
    let restarts_before = wait_ready::restart_counts(cluster, &target.name).await;
    let live =
        revisions::apply(cluster, change, options.conflicts, "rollback of a failed up", report).await?;
    report.done(Stage::Deploy, format!("{resource} rolled back"));
    let rollout = RolloutWait { options: options.wait, target: &target, cluster, report };
    rollout.until_serving(&live, restarts_before).await?;
    Ok(number(&live))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kubectl_dynamo_core::readiness::Problem;

    #[test]
    fn hint_after_a_rollback_does_not_name_a_deleted_pod() {
        let text = String::from;
        let rolled_back = |failure: Problem| RolledBack {
            failure: failure.into(),
            outcome: RollbackResult::Serving(Some(3)),
            name: "tiny".into(),
            namespace: "serving".into(),
        };
        let crash = Problem::Crash {
            pod: text("tiny-worker-x"),
            namespace: text("serving"),
            container: text("main"),
            restarts: 3,
            exit_code: 1,
            message: String::new(),
        };
        let hint = rolled_back(crash).hint().expect("a hint").to_string();
        assert!(hint.contains("evidence folder") && !hint.contains("tiny-worker-x"), "{hint}");
        let operator = Problem::Operator { message: text("no") };
        assert_eq!(rolled_back(operator.clone()).hint(), operator.hint());
    }
}
