//! What the recordings prove: failures get their code, starting deployments are never reported as failed, and
//! a stale `Ready` is detected.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubectl_dynamo_core::diagnosis::{ContainerLog, Diagnosis, DiagnosisResult, diagnose};
use kubectl_dynamo_core::object::{ObjectFields, ObjectView};
use kubectl_dynamo_core::readiness::is_owned;
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::recording::{Moment, RECORDINGS, moments};

/// The failing recordings, the code that each reports longest, and a part of its text.
const FAILURES: [(&str, &str, &str); 12] = [
    ("operator-0.9.1/image-cannot-be-pulled", "KD0505", "registry"),
    ("operator-0.9.1/multinode-without-orchestrator", "KD0212", "several nodes"),
    ("operator-0.9.1/no-gpu", "KD0303", "1 of 1 nodes"),
    ("operator-0.9.1/secret-missing", "KD0507", "no-such-secret"),
    ("operator-0.9.1/volume-claim-missing-then-made", "KD0432", "no-such-pvc"),
    ("operator-0.9.1/worker-crashes", "KD0602", "exit code 2"),
    ("operator-1.5/image-cannot-be-pulled", "KD0505", "registry"),
    ("operator-1.5/multinode-without-orchestrator", "KD0212", "several nodes"),
    ("operator-1.5/name-too-long", "KD0213", "63 characters"),
    ("operator-1.5/no-gpu-then-eight", "KD0303", "1 of 1 nodes"),
    ("operator-1.5/volume-claim-missing", "KD0430", "no-such-pvc"),
    ("operator-1.5/worker-crashes", "KD0602", "exit code 1"),
];

/// The recordings without a lasting problem.
const HEALTHY: [&str; 5] = [
    "operator-0.9.1/delete-then-apply-false-ready",
    "operator-0.9.1/disaggregated-with-updates",
    "operator-1.5/disaggregated",
    "operator-1.5/init-container-and-volume",
    "operator-1.5/scaling-adapter",
];

/// Grace period of `up` for problems that may resolve themselves.
const GRACE_SECONDS: f64 = 20.0;

pub(crate) async fn each_failure_gets_its_code(_: Arc<Shared>) -> Outcome {
    for (name, code, expected) in FAILURES {
        let moments = moments(name)?;
        let mut durations: BTreeMap<&str, f64> = BTreeMap::new();
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for (moment, next) in moments.iter().zip(moments.iter().skip(1)) {
            if let Some(cause) = diagnose(&moment.evidence).result.cause() {
                *durations.entry(cause.code.as_str()).or_default() += next.seconds - moment.seconds;
                texts.insert(cause.code.as_str(), format!("{cause} | {}", cause.fix));
            }
        }
        let longest = durations.iter().max_by(|one, other| one.1.total_cmp(other.1));
        ensure!(longest.is_some_and(|(longest, _)| *longest == code), "{name}: {durations:?}");
        ensure!(texts[code].contains(expected), "{name}: {}", texts[code]);
    }
    Ok(())
}

pub(crate) async fn progressing_deployments_are_never_failed(_: Arc<Shared>) -> Outcome {
    for name in HEALTHY {
        let mut since: Option<f64> = None;
        for moment in moments(name)? {
            let verdict = diagnose(&moment.evidence).result;
            let DiagnosisResult::Failed { cause } = &verdict else {
                since = None;
                continue;
            };
            let failing_since = *since.get_or_insert(moment.seconds);
            ensure!(
                moment.seconds - failing_since < GRACE_SECONDS,
                "{name} at {} s: {cause:?}",
                moment.seconds
            );
        }
    }
    Ok(())
}

pub(crate) async fn ready_is_reported_only_for_the_current_spec(_: Arc<Shared>) -> Outcome {
    for name in RECORDINGS {
        for moment in moments(name)?.iter().filter(|moment| is_reported_ready(moment)) {
            let graph =
                moment.evidence.observation.graph.as_ref().ok_or("reported as ready without a graph")?;
            let generation = &graph["metadata"]["generation"];
            let observed = &graph["status"]["observedGeneration"];
            ensure!(observed.is_null() || observed == generation, "{name} at {} s", moment.seconds);
            let components = moment.evidence.observation.components.iter().filter(|one| is_owned(one, graph));
            for component in components {
                let component = ObjectView::new(component);
                let is_available = component.condition_is_true("Available");
                ensure!(is_available, "{name} at {} s: {}", moment.seconds, component.name());
            }
        }
    }
    Ok(())
}

/// `delete` and `apply` in quick succession: for half a second, the children of the old object make the new
/// one `Ready`.
pub(crate) async fn ready_of_replaced_children_is_ignored(_: Arc<Shared>) -> Outcome {
    let moments = moments("operator-0.9.1/delete-then-apply-false-ready")?;
    let false_ready = moments.iter().filter(|moment| {
        let objects = &moment.evidence.observation;
        objects.graph.as_ref().is_some_and(|graph| {
            let old = |one: &serde_json::Value| !is_owned(one, graph);
            ObjectView::new(graph).condition_is_true("Ready") && objects.components.iter().any(old)
        })
    });
    let false_ready: Vec<&Moment> = false_ready.collect();
    ensure!(!false_ready.is_empty(), "the recording does not contain such a state");
    let reported_at: Vec<f64> =
        false_ready.iter().filter(|moment| is_reported_ready(moment)).map(|moment| moment.seconds).collect();
    ensure!(reported_at.is_empty(), "reported as ready at {reported_at:?}");
    ensure!(moments.iter().any(is_reported_ready), "it was never ready");
    Ok(())
}

pub(crate) async fn causal_chain_leads_from_graph_to_container(_: Arc<Shared>) -> Outcome {
    let Diagnosis { chain, .. } = diagnose(&crashing_moment()?.evidence);
    let kinds: Vec<&str> = chain.iter().map(|link| link.kind.as_str()).collect();
    let expected = ["DynamoGraphDeployment", "DynamoComponentDeployment", "Deployment", "Pod", "container"];
    ensure!(kinds == expected, "{chain:#?}");
    ensure!(chain[3].detail.contains("CrashLoopBackOff"), "{chain:#?}");
    ensure!(chain[4].detail.contains("exit code 1"), "{chain:#?}");
    Ok(())
}

pub(crate) async fn log_line_identifies_the_crash_cause(_: Arc<Shared>) -> Outcome {
    let mut evidence = crashing_moment()?.evidence;
    let pods = &evidence.observation.pods;
    let crashed = pods.iter().map(|pod| pod.name());
    let pod = crashed.into_iter().find(|name| name.contains("-worker-")).ok_or("no worker")?.to_owned();
    let line = "ModuleNotFoundError: No module named 'vllm'";
    let lines = vec!["Traceback (most recent call last):".to_owned(), line.to_owned()];
    evidence.logs = vec![ContainerLog { pod: pod.clone(), container: "main".into(), lines }];
    let Diagnosis { chain, result: verdict } = diagnose(&evidence);
    let cause = verdict.cause().ok_or("the verdict does not have a cause")?;
    ensure!(cause.code.as_str() == "KD0618" && cause.text.contains("vllm"), "{cause:?}");
    ensure!(cause.location.is_pod(&pod), "{cause:?}");
    ensure!(chain.last().is_some_and(|link| link.kind == "log" && link.detail == line), "{chain:#?}");
    Ok(())
}

/// Returns the last state in which the worker of `worker-crashes` is reported as broken.
fn crashing_moment() -> Outcome<Moment> {
    let moments = moments("operator-1.5/worker-crashes")?;
    let has_failed =
        |moment: &Moment| matches!(diagnose(&moment.evidence).result, DiagnosisResult::Failed { .. });
    moments.into_iter().rfind(has_failed).ok_or_else(|| "the worker is never reported as broken".into())
}

fn is_reported_ready(moment: &Moment) -> bool {
    diagnose(&moment.evidence).result == DiagnosisResult::Ready
}
