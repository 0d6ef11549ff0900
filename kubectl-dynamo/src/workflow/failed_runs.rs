//! Reads the log of each container run that failed during a rollout, to find errors that no restart can fix, such as an
//! unknown engine flag. It does not decide about crashes of another cause, which may not repeat.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use crate::workflow::snapshot::{ContainerRun, LogScope, tail_log};
use kubectl_dynamo_cluster::Cluster;
use kubectl_dynamo_core::diagnosis::{ContainerLog, RootCause, permanent_cause};
use kubectl_dynamo_core::readiness::{FailedRun, Observation, failed_runs};

/// What the log of a failed run says about the next run.
#[derive(Debug, PartialEq)]
pub(crate) enum RunFailure {
    /// It must fail in the same way, for this reason. The log of a later run may not be there yet.
    Permanent(Box<RootCause>),
    /// It may succeed.
    Retryable,
}

/// The failed runs of one rollout whose logs were requested.
pub(crate) struct FailedRunLogs {
    cluster: Cluster,
    requested: BTreeSet<String>,
    readers: JoinSet<(FailedRun, Vec<String>)>,
}

impl FailedRunLogs {
    pub(crate) fn new(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), requested: BTreeSet::new(), readers: JoinSet::new() }
    }

    /// Requests the log of each run that failed since the last call.
    pub(crate) fn request(&mut self, observation: &Observation) {
        let Some(graph) = &observation.graph else { return };
        for run in failed_runs(graph, &observation.pods, &observation.restart_counts_before) {
            if self.requested.insert(run.container_id.clone()) {
                let cluster = self.cluster.clone();
                self.readers.spawn(async move {
                    let failed = if run.restarted { ContainerRun::Previous } else { ContainerRun::Current };
                    let lines =
                        tail_log(&cluster, &run.pod, &run.container, failed, LogScope::NotReady).await;
                    (run, lines)
                });
            }
        }
    }

    /// Waits for the log of the next failed run. Returns `None` at once if no log is requested.
    pub(crate) async fn next_failure(&mut self, observation: &Observation) -> Option<RunFailure> {
        let (run, lines) = self.readers.join_next().await?.ok()?;
        if lines.is_empty() {
            // The node may not serve the log yet. The next event of the pod requests it again.
            self.requested.remove(&run.container_id);
        }
        let log = ContainerLog { pod: run.pod, container: run.container, lines };
        Some(match permanent_cause(observation, &log) {
            Some(cause) => RunFailure::Permanent(Box::new(cause)),
            None => RunFailure::Retryable,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use kubectl_dynamo_cluster::fake_api_server;
    use kubectl_dynamo_core::object::ObservedObject;

    fn typed<T: serde::de::DeserializeOwned>(document: Value) -> ObservedObject<T> {
        ObservedObject::parse(document).expect("the object has the fields of its kind")
    }

    /// A deployment whose worker exited once with an error.
    fn observation(id: &str, restarts: u64) -> Observation {
        let terminated = json!({ "terminated": { "exitCode": 2, "containerID": id } });
        let (state, last) = match restarts {
            0 => (terminated, Value::Null),
            _ => (json!({ "running": {} }), terminated),
        };
        Observation {
            graph: Some(json!({
                "metadata": { "name": "tiny", "namespace": "serving", "uid": "1" },
                "spec": { "components": [{ "name": "worker", "replicas": 1 }] },
            })),
            pods: vec![typed(json!({
                "metadata": { "name": "tiny-worker-x", "namespace": "serving", "uid": "2", "labels": {
                    "nvidia.com/dynamo-component": "worker",
                } },
                "status": { "containerStatuses": [{
                    "name": "main", "restartCount": restarts, "state": state, "lastState": last,
                }] },
            }))],
            ..Observation::default()
        }
    }

    #[tokio::test]
    async fn first_exit_decides_only_if_the_next_run_must_fail_too() {
        for (log, restarts, is_permanent) in [
            (&b"vllm: error: unrecognized arguments: --max-model-lenn 8\n"[..], 0, true),
            (b"vllm: error: unrecognized arguments: --max-model-lenn 8\n", 1, true),
            (b"ModuleNotFoundError: No module named 'vllm'\n", 0, true),
            (b"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n", 0, false),
            (b"an unknown error\n", 1, false),
        ] {
            let cluster = fake_api_server::cluster(json!({}), move |request| {
                let is_previous = request.uri().query().unwrap_or_default().contains("previous=true");
                assert_eq!(is_previous, restarts > 0, "{}", request.uri());
                async move { fake_api_server::complete_body(log) }
            });
            let mut logs = FailedRunLogs::new(&cluster.await);
            let observation = observation("first", restarts);
            logs.request(&observation);
            let failure = logs.next_failure(&observation).await.expect("a log was requested");
            assert_eq!(
                matches!(failure, RunFailure::Permanent(_)),
                is_permanent,
                "{}",
                String::from_utf8_lossy(log)
            );
            // The same run is read once.
            logs.request(&observation);
            assert_eq!(logs.next_failure(&observation).await, None);
        }
    }

    #[tokio::test]
    async fn runs_that_failed_before_the_change_are_ignored() {
        let cluster = fake_api_server::cluster(json!({}), async |_| fake_api_server::complete_body(b""));
        let mut logs = FailedRunLogs::new(&cluster.await);
        let mut observation = observation("first", 1);
        observation.restart_counts_before = [("2".to_owned(), 1)].into();
        logs.request(&observation);
        assert_eq!(logs.next_failure(&observation).await, None);
    }
}
