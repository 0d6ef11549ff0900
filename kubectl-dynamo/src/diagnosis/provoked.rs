//! Every cause of the tables as the verdict of a whole diagnosis: its message stands where Kubernetes, the operator or
//! an engine puts it, and the diagnosis ends in its code. And the general code of each place for what nobody knows.

use serde_json::{Value, json};

use super::known::met::MET;
use super::*;

/// A graph with one worker that is not ready, and `message` at its place.
fn evidence(place: Place, message: &str) -> Evidence {
    let mut graph = json!({
        "metadata": { "name": "tiny", "namespace": "serving", "uid": "1", "generation": 1 },
        "spec": { "components": [{ "name": "worker", "replicas": 1 }] },
        "status": { "state": "pending", "conditions": [{ "type": "Ready", "status": "False" }] },
    });
    let mut evidence = Evidence::default();
    match place {
        Place::Scheduling => evidence.seen.pods.push(pod(json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        }] }))),
        Place::Image => evidence.seen.pods.push(waiting("ImagePullBackOff", message)),
        Place::Container => evidence.seen.pods.push(waiting("CreateContainerConfigError", message)),
        Place::Exit => {
            let (reason, rest) = message.split_once(" exit ").unwrap_or(("Error", message));
            let (code, last) =
                rest.split_once(' ').filter(|(code, _)| code.parse::<u64>().is_ok()).unwrap_or(("1", rest));
            let ended =
                json!({ "reason": reason, "exitCode": code.parse::<u64>().unwrap_or(1), "message": last });
            evidence.seen.pods.push(crashing(&ended));
        }
        Place::Replicas => evidence.seen.workloads.push(json!({
            "metadata": { "name": "tiny-worker", "namespace": "serving" },
            "status": { "conditions": [{ "type": "ReplicaFailure", "status": "True", "message": message }] },
        })),
        Place::Mount => {
            let (reason, text) = message.split_once(": ").unwrap_or((message, ""));
            evidence.seen.pods.push(waiting("ContainerCreating", ""));
            evidence.events.push(json!({
                "type": "Warning", "reason": reason, "message": text,
                "involvedObject": { "kind": "Pod", "name": "tiny-worker-x" },
            }));
        }
        Place::Operator => {
            graph["status"]["state"] = "failed".into();
            graph["status"]["conditions"][0]["message"] = message.into();
        }
        Place::Log => {
            evidence.seen.pods.push(crashing(&json!({ "reason": "Error", "exitCode": 1 })));
            evidence.logs.push(ContainerLog {
                pod: "tiny-worker-x".into(),
                container: "main".into(),
                lines: vec!["a line before".into(), message.into()],
            });
        }
    }
    evidence.seen.graph = Some(graph);
    evidence
}

fn pod(status: Value) -> Value {
    json!({
        "metadata": { "name": "tiny-worker-x", "namespace": "serving", "labels": {
            readiness::COMPONENT_LABEL: "worker", readiness::COMPONENT_TYPE_LABEL: "worker",
        } },
        "status": status,
    })
}

fn waiting(reason: &str, message: &str) -> Value {
    pod(json!({ "containerStatuses": [{
        "name": "main", "image": "r/x:1", "state": { "waiting": { "reason": reason, "message": message } },
    }] }))
}

fn crashing(ended: &Value) -> Value {
    pod(json!({ "containerStatuses": [{
        "name": "main", "restartCount": 3, "lastState": { "terminated": ended },
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
    }] }))
}

fn cause(place: Place, message: &str) -> Cause {
    let verdict = diagnose(&evidence(place, message)).verdict;
    verdict.cause().cloned().unwrap_or_else(|| panic!("{place:?} `{message}` is no cause: {verdict:?}"))
}

#[test]
fn every_known_message_is_the_verdict_of_a_diagnosis() {
    for (code, place, message, says) in MET {
        let cause = cause(*place, message);
        assert_eq!(cause.code, *code, "{message}");
        assert!(cause.text.contains(says), "{code}: {}", cause.text);
    }
}

#[test]
fn a_run_between_two_crashes_mends_nothing() {
    let (_, place, message, _) =
        MET.iter().find(|(code, ..)| *code == "KD0618").expect("a line of the table");
    let verdict = |restarts: u64| {
        let mut evidence = evidence(*place, message);
        let status = &mut evidence.seen.pods[0]["status"];
        status["phase"] = "Running".into();
        status["containerStatuses"][0]["state"] = json!({ "running": {} });
        status["containerStatuses"][0]["restartCount"] = restarts.into();
        diagnose(&evidence).verdict
    };
    assert!(matches!(verdict(3), Verdict::Broken { cause } if cause.code == "KD0618"));
    assert!(matches!(verdict(0), Verdict::Held { .. }));
}

#[test]
fn what_nobody_knows_keeps_its_own_words_and_the_code_of_its_place() {
    for (place, code) in [
        (Place::Scheduling, "KD0302"),
        (Place::Image, "KD0501"),
        (Place::Container, "KD0502"),
        (Place::Exit, "KD0602"),
        (Place::Log, "KD0602"),
        (Place::Replicas, "KD0309"),
        (Place::Operator, "KD0206"),
    ] {
        let cause = cause(place, "something new");
        assert_eq!(cause.code, code, "{place:?}");
        let told = cause.text.contains("something new") || place == Place::Log;
        assert!(told, "{}", cause.text);
        assert!(cause.fix.contains("kubectl ") || code == "KD0501", "{code}: {}", cause.fix);
    }
}

/// The tables of failing graphs that were seen on the real operators 1.5 and 0.9.1, row by row.
#[test]
fn every_failure_seen_on_the_real_operators_has_its_code() {
    let too_long = r#"Service "x-p" is invalid: metadata.name: Invalid value: "x-p": must be no more than 63 characters"#;
    for (row, place, message, code) in [
        (
            "GPU on a node with none",
            Place::Scheduling,
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            "KD0303",
        ),
        ("wrong image", Place::Image, "failed to resolve reference \"r/x:9\": r/x:9: not found", "KD0503"),
        ("worker exits 1", Place::Exit, "Error exit 1 ", "KD0602"),
        ("claim missing", Place::Scheduling, r#"persistentvolumeclaim "no-such-pvc" not found"#, "KD0430"),
        (
            "name too long, newer",
            Place::Operator,
            r#"Deployment.apps "c-worker-1" is invalid: [spec.selector: Invalid value: "c": must be no more than 63 characters]"#,
            "KD0213",
        ),
        (
            "name begins with a digit",
            Place::Operator,
            r#"Service "1a-frontend" is invalid: metadata.name: Invalid value: "1a-frontend": a DNS-1035 label must consist of"#,
            "KD0214",
        ),
        ("several nodes, no orchestrator", Place::Operator, "no multinode orchestrator available", "KD0212"),
        (
            "claim of the older shape missing, newer",
            Place::Operator,
            r#"failed to reconcile top-level PVCs: legacy top-level PVC "missing-one" does not exist and create is not enabled: PersistentVolumeClaim "missing-one" not found"#,
            "KD0432",
        ),
        (
            "claim of the older shape missing, older",
            Place::Operator,
            r#"failed to reconcile top-level PVCs: PersistentVolumeClaim "no-such-pvc" not found"#,
            "KD0432",
        ),
        ("secret missing", Place::Container, r#"secret "no-such-secret" not found"#, "KD0507"),
        (
            "number of GPUs is `abc`",
            Place::Operator,
            "parse limits gpu quantity: quantities must match the regular expression",
            "KD0219",
        ),
        (
            "name over 41, older",
            Place::Operator,
            r#"failed to reconcile K8s discovery resources: ServiceAccount "n" is invalid: metadata.labels: Invalid value: "n": must be no more than 63 characters"#,
            "KD0213",
        ),
        ("name 41 and component 20, older", Place::Operator, too_long, "KD0213"),
        (
            "service key with `_`",
            Place::Operator,
            r#"DynamoComponentDeployment "mark-my_worker" is invalid: metadata.name: a lowercase RFC 1123 subdomain"#,
            "KD0214",
        ),
        (
            "the same volume twice",
            Place::Operator,
            r#"Deployment.apps "a" is invalid: spec.template.spec.volumes[1].name: Duplicate value: "model-cache""#,
            "KD0435",
        ),
        (
            "webhooks off",
            Place::Operator,
            "Validation failed: spec.services must have at least one service",
            "KD0217",
        ),
    ] {
        assert_eq!(cause(place, message).code, code, "{row}");
    }
}

/// A component deployment's own refusal counts as the graph's.
#[test]
fn a_components_refusal_is_told_though_the_graph_only_waits() {
    let mut evidence = evidence(Place::Log, "");
    evidence.seen.pods.clear();
    evidence.seen.components.push(json!({
        "metadata": { "name": "tiny-worker", "namespace": "serving", "ownerReferences": [{ "uid": "1" }] },
        "status": { "conditions": [{
            "type": "Available", "status": "False", "reason": "Reconciling",
            "message": "Failed to reconcile DynamoComponentDeployment: something new",
        }] },
    }));
    let Verdict::Broken { cause } = diagnose(&evidence).verdict else { panic!("not broken") };
    assert_eq!((cause.code, cause.fix.contains("kubectl describe")), ("KD0216", true));
}

#[test]
fn at_least_twenty_five_codes_are_told_and_each_fix_can_be_pasted() {
    let codes = known_codes();
    assert!(codes.len() >= 25, "{}", codes.len());
    for (code, place, message, _) in MET {
        let fix = cause(*place, message).fix;
        assert!(fix.contains("kubectl ") || *code == "KD0506", "{code} has no command: {fix}");
    }
}
