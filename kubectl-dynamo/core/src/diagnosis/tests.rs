//! Tests of complete diagnoses: each sample message is put where Kubernetes, the operator, or an engine
//! reports it, and the diagnosis must have the expected code. Unknown messages must get the general code of
//! their source.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::rules::fixtures::samples;
use super::*;
use crate::object::typed;

/// A graph with one worker that is not ready, and `message` at the given source.
fn snapshot(source: MessageSource, message: &str) -> Snapshot {
    let mut graph = json!({
        "metadata": { "name": "tiny", "namespace": "serving", "uid": "1", "generation": 1 },
        "spec": { "components": [{ "name": "worker", "replicas": 1 }] },
        "status": { "state": "pending", "conditions": [{ "type": "Ready", "status": "False" }] },
    });
    let mut snapshot = Snapshot::default();
    match source {
        MessageSource::Scheduling => snapshot.observation.pods.push(pod(json!({ "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        }] }))),
        MessageSource::Image => {
            snapshot.observation.pods.push(waiting_pod_object("ImagePullBackOff", message))
        }
        MessageSource::Container => {
            snapshot.observation.pods.push(waiting_pod_object("CreateContainerConfigError", message))
        }
        MessageSource::Exit => {
            let (reason, rest) = message.split_once(" exit ").unwrap_or(("Error", message));
            let (code, last) =
                rest.split_once(' ').filter(|(code, _)| code.parse::<u64>().is_ok()).unwrap_or(("1", rest));
            let terminated =
                json!({ "reason": reason, "exitCode": code.parse::<u64>().unwrap_or(1), "message": last });
            snapshot.observation.pods.push(crashing_pod_object(&terminated));
        }
        MessageSource::Replicas => snapshot.observation.workloads.push(
            typed::<Deployment>(json!({
                "metadata": { "name": "tiny-worker", "namespace": "serving" },
                "status": { "conditions": [{ "type": "ReplicaFailure", "status": "True", "message": message }] },
            }))
            .into(),
        ),
        MessageSource::Mount => {
            let (reason, text) = message.split_once(": ").unwrap_or((message, ""));
            snapshot.observation.pods.push(waiting_pod_object("ContainerCreating", ""));
            snapshot.events.push(typed(json!({
                "type": "Warning", "reason": reason, "message": text,
                "involvedObject": { "kind": "Pod", "name": "tiny-worker-x" },
            })));
        }
        MessageSource::Operator => {
            graph["status"]["state"] = "failed".into();
            graph["status"]["conditions"][0]["message"] = message.into();
        }
        MessageSource::Log => {
            snapshot.observation.pods.push(crashing_pod_object(&json!({ "reason": "Error", "exitCode": 1 })));
            snapshot.logs.push(ContainerLog {
                pod: "tiny-worker-x".into(),
                container: "main".into(),
                lines: vec!["an earlier line".into(), message.into()],
            });
        }
    }
    snapshot.observation.graph = Some(graph);
    snapshot
}

fn pod(status: Value) -> ObservedObject<Pod> {
    typed(json!({
        "metadata": { "name": "tiny-worker-x", "namespace": "serving", "labels": {
            readiness::COMPONENT_LABEL: "worker", readiness::COMPONENT_TYPE_LABEL: "worker",
        } },
        "status": status,
    }))
}

fn waiting_pod_object(reason: &str, message: &str) -> ObservedObject<Pod> {
    pod(json!({ "containerStatuses": [{
        "name": "main", "image": "r/x:1", "state": { "waiting": { "reason": reason, "message": message } },
    }] }))
}

fn crashing_pod_object(terminated: &Value) -> ObservedObject<Pod> {
    pod(json!({ "containerStatuses": [{
        "name": "main", "restartCount": 3, "lastState": { "terminated": terminated },
        "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
    }] }))
}

fn cause(source: MessageSource, message: &str) -> RootCause {
    let result = diagnose(&snapshot(source, message)).result;
    result.cause().cloned().unwrap_or_else(|| panic!("no cause for {source:?} `{message}`: {result:?}"))
}

#[test]
fn every_sample_determines_the_diagnosis() {
    for (code, source, message, expected) in samples() {
        let cause = cause(*source, message);
        assert_eq!(cause.code, *code, "{message}");
        assert!(cause.text.contains(expected), "{code}: {}", cause.text);
    }
}

/// A worker that runs again after `restarts` crashes with the sample of this code.
fn running_after_crashes(code: MessageCode, restarts: u64) -> DiagnosisResult {
    let (_, source, message, _) =
        samples().find(|(sample, ..)| *sample == code).expect("a sample of this code");
    let mut snapshot = snapshot(*source, message);
    let mut status = snapshot.observation.pods[0].document()["status"].clone();
    status["phase"] = "Running".into();
    status["containerStatuses"][0]["state"] = json!({ "running": {} });
    status["containerStatuses"][0]["restartCount"] = restarts.into();
    snapshot.observation.pods = vec![pod(status)];
    diagnose(&snapshot).result
}

#[test]
fn running_between_crashes_is_still_failed() {
    let code = MessageCode::GpuOutOfMemory;
    assert!(
        matches!(running_after_crashes(code, 3), DiagnosisResult::Failed { cause } if cause.code == code)
    );
    assert!(matches!(running_after_crashes(code, 0), DiagnosisResult::Blocked { .. }));
}

#[test]
fn first_crash_is_final_if_every_run_must_fail() {
    for code in [
        MessageCode::EngineArgumentRejected,
        MessageCode::PythonModuleNotInImage,
        MessageCode::AttentionHeadsNotDivisible,
        MessageCode::ContextTooLong,
    ] {
        let result = running_after_crashes(code, 1);
        assert!(matches!(&result, DiagnosisResult::Failed { cause } if cause.code == code), "{result:?}");
    }
}

/// An operator that reports a failure of the spec does not recover, but its other failures may.
#[test]
fn operator_failure_of_the_spec_is_final() {
    let result = |message: &str| diagnose(&snapshot(MessageSource::Operator, message)).result;
    for (message, code) in [
        ("no multinode orchestrator available", MessageCode::MultinodeOrchestratorMissing),
        (
            "Validation failed: spec.services must have at least one service",
            MessageCode::SpecRejectedByOperator,
        ),
    ] {
        let result = result(message);
        assert!(matches!(&result, DiagnosisResult::Failed { cause } if cause.code == code), "{result:?}");
    }
    let flash = result(r#"dynamocomponentdeployments.nvidia.com "tiny-frontend" not found"#);
    assert!(matches!(flash, DiagnosisResult::Blocked { .. }), "{flash:?}");
}

/// 0.9.1 pods exit if etcd cannot be reached, also with discovery by Kubernetes.
#[test]
fn worker_without_etcd_reports_the_discovery_service() {
    let line =
        "Exception: Unable to create lease. Check etcd server status at http://etcd.dynamo-system:2379";
    let cause = cause(MessageSource::Log, line);
    assert_eq!(cause.code, MessageCode::DiscoveryUnavailable);
    assert!(cause.text.ends_with("http://etcd.dynamo-system:2379"), "{}", cause.text);
}

#[test]
fn unknown_message_gets_generic_code_for_its_source() {
    for (source, code) in [
        (MessageSource::Scheduling, MessageCode::PodUnschedulable),
        (MessageSource::Image, MessageCode::ImagePullFailed),
        (MessageSource::Container, MessageCode::ContainerNotCreated),
        (MessageSource::Exit, MessageCode::ContainerCrashLoop),
        (MessageSource::Log, MessageCode::ContainerCrashLoop),
        (MessageSource::Replicas, MessageCode::PodsNotCreated),
        (MessageSource::Operator, MessageCode::OperatorFailure),
    ] {
        let cause = cause(source, "something new");
        assert_eq!(cause.code, code, "{source:?}");
        let is_reported = cause.text.contains("something new") || source == MessageSource::Log;
        assert!(is_reported, "{}", cause.text);
        assert!(cause.fix.commands().next().is_some(), "{code}: {}", cause.fix);
    }
}

/// The failures of graphs observed on the real operators 1.5 and 0.9.1.
#[test]
fn recorded_operator_failures_get_their_codes() {
    let too_long = r#"Service "x-p" is invalid: metadata.name: Invalid value: "x-p": must be no more than 63 characters"#;
    for (row, source, message, code) in [
        (
            "GPU request without GPU nodes",
            MessageSource::Scheduling,
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
            MessageCode::NotEnoughGpus,
        ),
        (
            "wrong image",
            MessageSource::Image,
            "failed to resolve reference \"r/x:9\": r/x:9: not found",
            MessageCode::ImageNotFound,
        ),
        ("worker exits 1", MessageSource::Exit, "Error exit 1 ", MessageCode::ContainerCrashLoop),
        (
            "PVC missing",
            MessageSource::Scheduling,
            r#"persistentvolumeclaim "no-such-pvc" not found"#,
            MessageCode::PodPvcNotFound,
        ),
        (
            "name too long, 1.5",
            MessageSource::Operator,
            r#"Deployment.apps "c-worker-1" is invalid: [spec.selector: Invalid value: "c": must be no more than 63 characters]"#,
            MessageCode::ChildObjectNameTooLong,
        ),
        (
            "name starts with a digit",
            MessageSource::Operator,
            r#"Service "1a-frontend" is invalid: metadata.name: Invalid value: "1a-frontend": a DNS-1035 label must consist of"#,
            MessageCode::InvalidServiceName,
        ),
        (
            "several nodes, no orchestrator",
            MessageSource::Operator,
            "no multinode orchestrator available",
            MessageCode::MultinodeOrchestratorMissing,
        ),
        (
            "v1alpha1 PVC missing, 1.5",
            MessageSource::Operator,
            r#"failed to reconcile top-level PVCs: legacy top-level PVC "missing-one" does not exist and create is not enabled: PersistentVolumeClaim "missing-one" not found"#,
            MessageCode::DeploymentPvcNotFound,
        ),
        (
            "v1alpha1 PVC missing, 0.9.1",
            MessageSource::Operator,
            r#"failed to reconcile top-level PVCs: PersistentVolumeClaim "no-such-pvc" not found"#,
            MessageCode::DeploymentPvcNotFound,
        ),
        (
            "secret missing",
            MessageSource::Container,
            r#"secret "no-such-secret" not found"#,
            MessageCode::PodSecretNotFound,
        ),
        (
            "GPU quantity is `abc`",
            MessageSource::Operator,
            "parse limits gpu quantity: quantities must match the regular expression",
            MessageCode::InvalidGpuQuantity,
        ),
        (
            "name over 41, 0.9.1",
            MessageSource::Operator,
            r#"failed to reconcile K8s discovery resources: ServiceAccount "n" is invalid: metadata.labels: Invalid value: "n": must be no more than 63 characters"#,
            MessageCode::ChildObjectNameTooLong,
        ),
        (
            "name 41 and component 20, 0.9.1",
            MessageSource::Operator,
            too_long,
            MessageCode::ChildObjectNameTooLong,
        ),
        (
            "service key with `_`",
            MessageSource::Operator,
            r#"DynamoComponentDeployment "mark-my_worker" is invalid: metadata.name: a lowercase RFC 1123 subdomain"#,
            MessageCode::InvalidServiceName,
        ),
        (
            "duplicate volume",
            MessageSource::Operator,
            r#"Deployment.apps "a" is invalid: spec.template.spec.volumes[1].name: Duplicate value: "model-cache""#,
            MessageCode::DuplicateVolume,
        ),
        (
            "webhooks disabled",
            MessageSource::Operator,
            "Validation failed: spec.services must have at least one service",
            MessageCode::SpecRejectedByOperator,
        ),
    ] {
        assert_eq!(cause(source, message).code, code, "{row}");
    }
}

/// A failure of a component deployment is reported as a failure of the graph.
#[test]
fn component_failure_is_reported_while_graph_is_pending() {
    let mut snapshot = snapshot(MessageSource::Log, "");
    snapshot.observation.pods.clear();
    snapshot.observation.components.push(json!({
        "metadata": { "name": "tiny-worker", "namespace": "serving", "ownerReferences": [{ "uid": "1" }] },
        "status": { "conditions": [{
            "type": "Available", "status": "False", "reason": "Reconciling",
            "message": "Failed to reconcile DynamoComponentDeployment: something new",
        }] },
    }));
    let DiagnosisResult::Failed { cause } = diagnose(&snapshot).result else { panic!("expected a failure") };
    assert_eq!(
        (cause.code, cause.fix.to_string().contains("kubectl describe")),
        (MessageCode::ComponentNotCreated, true)
    );
}

#[test]
fn every_fix_contains_a_runnable_command() {
    let codes = known_codes();
    assert!(codes.len() >= 25, "{}", codes.len());
    for (code, source, message, _) in samples() {
        let fix = cause(*source, message).fix;
        assert!(fix.commands().next().is_some(), "{code} does not have a command: {fix}");
        if *code == MessageCode::InvalidImageReference {
            assert!(
                fix.to_string().ends_with("kubectl dynamo up tiny -n serving --image REGISTRY/NAME:TAG"),
                "{fix}"
            );
        }
    }
}
