//! Quotas and LimitRanges with the requests of a worker.

use super::*;
use crate::error::Exit;
use crate::resources::Resource;
use serde_json::json;

fn worker() -> Vec<Resource> {
    let component = json!({ "name": "worker", "replicas": 2, "podTemplate": { "spec": { "containers": [
        { "name": "main", "resources": {
            "requests": { "cpu": "1", "memory": "8Gi" }, "limits": { "nvidia.com/gpu": "2" } } },
    ] } } });
    let graph = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [component] } });
    let pvc = json!({ "kind": "PersistentVolumeClaim", "spec": {
        "resources": { "requests": { "storage": "100Gi" } } } });
    vec![Resource { object: pvc }, Resource { object: graph }]
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn check_quota(hard: &[(&str, &str)], used: &[(&str, &str)], ranges: Vec<LimitRange>) -> CheckResult {
    quota_of(&worker(), hard, used, ranges)
}

fn quota_of(
    resources: &[Resource],
    hard: &[(&str, &str)],
    used: &[(&str, &str)],
    ranges: Vec<LimitRange>,
) -> CheckResult {
    let facts = ClusterFacts {
        namespace: "n".into(),
        quotas: Fact::Known(vec![Quota {
            name: "q".into(),
            hard: map(hard),
            used: map(used),
            scoped: false,
        }]),
        limit_ranges: Fact::Known(ranges),
        ..ClusterFacts::default()
    };
    quota(&facts, &PreflightInput { resources, ..PreflightInput::default() }).expect("the check applies")
}

#[test]
fn quota_compares_used_plus_requested_with_hard_limit() {
    for (hard, used, expected) in [
        (
            ("requests.nvidia.com/gpu", "8"),
            ("requests.nvidia.com/gpu", "5"),
            Some("5 of 8 used, 4 more needed"),
        ),
        (("requests.nvidia.com/gpu", "8"), ("requests.nvidia.com/gpu", "4"), None),
        (("requests.memory", "20Gi"), ("requests.memory", "5Gi"), Some("5Gi of 20Gi used, 16Gi more needed")),
        (("pods", "1"), ("pods", "0"), Some("pods: 0 of 1 used, 2 more needed")),
        (("persistentvolumeclaims", "1"), ("persistentvolumeclaims", "1"), Some("1 more needed")),
        (("requests.storage", "100Gi"), ("requests.storage", "1Gi"), Some("100Gi more needed")),
        (
            ("requests.cpu", "1500m"),
            ("requests.cpu", "0"),
            Some("requests.cpu: 0 of 1500m used, 2 more needed"),
        ),
        (("count/secrets", "1"), ("count/secrets", "1"), None),
    ] {
        match (check_quota(&[hard], &[used], Vec::new()), expected) {
            (CheckResult::Passed(_), None) => {}
            (CheckResult::Failed(problem), Some(expected)) => {
                assert!(problem.text.contains(expected), "{problem}");
                assert_eq!((problem.code, problem.exit), (MessageCode::QuotaTooSmall, Exit::DoesNotFit));
            }
            (result, _) => panic!("{hard:?}: {result:?}"),
        }
    }
}

#[test]
fn quota_counts_fractions_of_a_core() {
    let graph = |resources: serde_json::Value| {
        let main = json!({ "name": "main", "resources": resources });
        let component =
            json!({ "name": "worker", "replicas": 4, "podTemplate": { "spec": { "containers": [main] } } });
        let object = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [component] } });
        [Resource { object }]
    };
    let of = |resources, resource, hard| {
        quota_of(&graph(resources), &[(resource, hard)], &[(resource, "0.5")], Vec::new())
    };
    let half = || json!({ "requests": { "cpu": "0.5" } });
    assert!(matches!(of(half(), "requests.cpu", "2.5"), CheckResult::Passed(_)), "2.5 of 2.5 cores");
    assert!(matches!(of(half(), "requests.cpu", "2.4"), CheckResult::Failed(_)));
    // A limit alone is the request of every resource.
    let limit = || json!({ "limits": { "cpu": "0.5" } });
    for resource in ["cpu", "requests.cpu", "limits.cpu"] {
        assert!(matches!(of(limit(), resource, "2.5"), CheckResult::Passed(_)), "{resource}");
        assert!(matches!(of(limit(), resource, "2.4"), CheckResult::Failed(_)), "{resource}");
    }
}

#[test]
fn quota_on_limits_requires_pod_limits() {
    let CheckResult::Failed(problem) = check_quota(&[("limits.memory", "1Ti")], &[], Vec::new()) else {
        panic!("the pods would be rejected")
    };
    assert_eq!(problem.code, MessageCode::QuotaRequiresLimit);
    let default = LimitRange { default_limit: map(&[("memory", "64Gi")]), ..LimitRange::default() };
    assert!(matches!(check_quota(&[("limits.memory", "1Ti")], &[], vec![default]), CheckResult::Passed(_)));
}

#[test]
fn rejects_containers_outside_limit_range() {
    let check = |range: LimitRange| {
        let facts = ClusterFacts { limit_ranges: Fact::Known(vec![range]), ..ClusterFacts::default() };
        let resources = worker();
        let result =
            limit_range(&facts, &PreflightInput { resources: &resources, ..PreflightInput::default() });
        result.expect("the check applies").problem().map(|problem| (problem.code, problem.text.clone()))
    };
    let range = LimitRange::default;
    assert_eq!(check(range()), None);
    for (range, code, expected) in [
        (
            LimitRange { max: map(&[("memory", "4Gi")]), ..range() },
            MessageCode::LimitRangeViolation,
            "allows 4Gi of memory per container, but \"worker\" requests 8Gi",
        ),
        (
            LimitRange { max: map(&[("nvidia.com/gpu", "1")]), ..range() },
            MessageCode::LimitRangeViolation,
            "requests 2",
        ),
        (
            LimitRange { min: map(&[("cpu", "2")]), ..range() },
            MessageCode::LimitRangeViolation,
            "at least 2 of cpu",
        ),
        (
            LimitRange { default_limit: map(&[("memory", "1Gi")]), ..range() },
            MessageCode::LimitRangeViolation,
            "default limit",
        ),
        (
            LimitRange { default_limit: map(&[("memory", "16Gi")]), ..range() },
            MessageCode::DefaultMemoryLimit,
            "to 16Gi of",
        ),
    ] {
        let (found, text) = check(range).expect(expected);
        assert_eq!(found, code);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn reports_missing_and_terminating_namespace() {
    let check = |phase: Option<&str>| {
        let facts = ClusterFacts {
            namespace: "n".into(),
            namespace_phase: Fact::Known(phase.map(Into::into)),
            ..ClusterFacts::default()
        };
        namespace(&facts, &PreflightInput::default())
            .expect("the check applies")
            .problem()
            .map(|problem| problem.text.clone())
    };
    assert_eq!(check(Some("Active")), None);
    assert_eq!(check(Some("Terminating")).as_deref(), Some("namespace \"n\" is being deleted"));
    assert_eq!(check(None).as_deref(), Some("namespace \"n\" not found"));
}
