//! What the recordings prove: failures end in their code, what comes up is never given up, `Ready` is doubted.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubectl_dynamo::diagnosis::{ContainerLog, Diagnosis, Verdict, diagnose};
use kubectl_dynamo::readiness::{condition, is_owned};
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;
use crate::recording::{Moment, RECORDINGS, moments};

/// The failing recordings, the code that each showed longest, and a word of its text.
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

/// The recordings in which nothing is wrong that lasts, from start to end.
const HEALTHY: [&str; 5] = [
    "operator-0.9.1/delete-then-apply-false-ready",
    "operator-0.9.1/disaggregated-with-updates",
    "operator-1.5/disaggregated",
    "operator-1.5/init-container-and-volume",
    "operator-1.5/scaling-adapter",
];

/// How long `up` gives a trouble that may pass.
const GRACE_SECONDS: f64 = 20.0;

pub(crate) async fn each_failure_ends_in_its_code(_: Arc<Shared>) -> Outcome {
    for (name, code, words) in FAILURES {
        let moments = moments(name)?;
        let mut lasted: BTreeMap<&str, f64> = BTreeMap::new();
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for (moment, next) in moments.iter().zip(moments.iter().skip(1)) {
            if let Some(cause) = diagnose(&moment.evidence).verdict.cause() {
                *lasted.entry(cause.code).or_default() += next.seconds - moment.seconds;
                texts.insert(cause.code, format!("{cause} | {}", cause.fix));
            }
        }
        let longest = lasted.iter().max_by(|one, other| one.1.total_cmp(other.1));
        ensure!(longest.is_some_and(|(longest, _)| *longest == code), "{name}: {lasted:?}");
        ensure!(texts[code].contains(words), "{name}: {}", texts[code]);
    }
    Ok(())
}

pub(crate) async fn nothing_that_comes_up_is_given_up(_: Arc<Shared>) -> Outcome {
    for name in HEALTHY {
        let mut since: Option<f64> = None;
        for moment in moments(name)? {
            let verdict = diagnose(&moment.evidence).verdict;
            let Verdict::Broken { cause } = &verdict else {
                since = None;
                continue;
            };
            let began = *since.get_or_insert(moment.seconds);
            ensure!(moment.seconds - began < GRACE_SECONDS, "{name} at {} s: {cause:?}", moment.seconds);
        }
    }
    Ok(())
}

pub(crate) async fn ready_is_only_said_of_this_very_spec(_: Arc<Shared>) -> Outcome {
    for name in RECORDINGS {
        for moment in moments(name)?.iter().filter(|moment| is_reported(moment)) {
            let graph = moment.evidence.seen.graph.as_ref().ok_or("reported without a graph")?;
            let generation = &graph["metadata"]["generation"];
            let observed = &graph["status"]["observedGeneration"];
            ensure!(observed.is_null() || observed == generation, "{name} at {} s", moment.seconds);
            let own = moment.evidence.seen.components.iter().filter(|one| is_owned(one, graph));
            for component in own {
                let available = &condition(component, "Available")["status"];
                ensure!(
                    available == "True",
                    "{name} at {} s: {}",
                    moment.seconds,
                    component["metadata"]["name"]
                );
            }
        }
    }
    Ok(())
}

/// `delete` and `apply` at once: the new object is `Ready` by its predecessor's children for half a second.
pub(crate) async fn a_ready_that_old_children_lend_is_not_believed(_: Arc<Shared>) -> Outcome {
    let moments = moments("operator-0.9.1/delete-then-apply-false-ready")?;
    let lent = moments.iter().filter(|moment| {
        let seen = &moment.evidence.seen;
        seen.graph.as_ref().is_some_and(|graph| {
            let old = |one: &serde_json::Value| !is_owned(one, graph);
            condition(graph, "Ready")["status"] == "True" && seen.components.iter().any(old)
        })
    });
    let lent: Vec<&Moment> = lent.collect();
    ensure!(!lent.is_empty(), "the recording has no such moment");
    let believed: Vec<f64> =
        lent.iter().filter(|moment| is_reported(moment)).map(|moment| moment.seconds).collect();
    ensure!(believed.is_empty(), "believed at {believed:?}");
    ensure!(moments.iter().any(is_reported), "it was never ready at all");
    Ok(())
}

pub(crate) async fn a_chain_leads_from_the_graph_to_the_container(_: Arc<Shared>) -> Outcome {
    let Diagnosis { chain, .. } = diagnose(&crashing()?.evidence);
    let kinds: Vec<&str> = chain.iter().map(|link| link.kind.as_str()).collect();
    let expected = ["DynamoGraphDeployment", "DynamoComponentDeployment", "Deployment", "Pod", "container"];
    ensure!(kinds == expected, "{chain:#?}");
    ensure!(chain[3].says.contains("CrashLoopBackOff"), "{chain:#?}");
    ensure!(chain[4].says.contains("last exit 1"), "{chain:#?}");
    Ok(())
}

pub(crate) async fn a_log_line_turns_a_crash_into_its_cause(_: Arc<Shared>) -> Outcome {
    let mut evidence = crashing()?.evidence;
    let pods = &evidence.seen.pods;
    let crashed = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str());
    let pod = crashed.into_iter().find(|name| name.contains("-worker-")).ok_or("no worker")?.to_owned();
    let line = "ModuleNotFoundError: No module named 'vllm'";
    let lines = vec!["Traceback (most recent call last):".to_owned(), line.to_owned()];
    evidence.logs = vec![ContainerLog { pod: pod.clone(), container: "main".into(), lines }];
    let Diagnosis { chain, verdict } = diagnose(&evidence);
    let cause = verdict.cause().ok_or("no cause")?;
    ensure!(cause.code == "KD0618" && cause.text.contains("vllm"), "{cause:?}");
    ensure!(cause.place == format!("pod {pod}"), "{cause:?}");
    ensure!(chain.last().is_some_and(|link| link.kind == "log" && link.says == line), "{chain:#?}");
    Ok(())
}

/// The last moment at which the worker of `worker-crashes` is known not to heal.
fn crashing() -> Outcome<Moment> {
    let moments = moments("operator-1.5/worker-crashes")?;
    let broken = |moment: &Moment| matches!(diagnose(&moment.evidence).verdict, Verdict::Broken { .. });
    moments.into_iter().rfind(broken).ok_or_else(|| "it never breaks".into())
}

fn is_reported(moment: &Moment) -> bool {
    diagnose(&moment.evidence).verdict == Verdict::Reported
}
