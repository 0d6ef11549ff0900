//! Tests of the GPU capacity checks with literal facts.

use serde_json::{Value, json};

use super::*;
use crate::code::MessageCode;
use crate::error::Exit;
use crate::preflight::{Platform, Taint};
use crate::resources::Resource;

fn node(name: &str, gpus: u64) -> Node {
    Node { name: name.into(), gpus, ready: true, ..Node::default() }
}

/// A cluster without an autoscaler and with all facts available.
fn facts(nodes: Vec<Node>) -> ClusterFacts {
    ClusterFacts {
        nodes: Fact::Known(nodes),
        pods: Fact::Known(Vec::new()),
        autoscaler: Fact::Known(false),
        platform: Fact::Known(Some(Platform::default())),
        ..ClusterFacts::default()
    }
}

/// A graph with one component of `pods` pods with `gpus` GPUs each.
fn graph(pods: u64, gpus: u64) -> Vec<Resource> {
    graph_with(json!({ "name": "worker", "replicas": pods, "podTemplate": { "spec": { "containers": [
        { "name": "main", "resources": { "limits": { "nvidia.com/gpu": gpus.to_string() } } },
    ] } } }))
}

fn graph_with(component: Value) -> Vec<Resource> {
    let object = json!({
        "kind": "DynamoGraphDeployment", "metadata": { "name": "g" }, "spec": { "components": [component] },
    });
    vec![Resource { object }]
}

fn check_placement(facts: &ClusterFacts, resources: &[Resource]) -> CheckResult {
    gpu_placement(facts, &PreflightInput { resources, ..PreflightInput::default() })
        .expect("the graph requests GPUs")
}

fn expect_failed(result: CheckResult) -> CheckProblem {
    match result {
        CheckResult::Failed(problem) => problem,
        other => panic!("expected a failure: {other:?}"),
    }
}

#[test]
fn passes_if_enough_gpus_are_free() {
    let mut facts = facts(vec![node("gpu-01", 8), node("gpu-02", 8), node("gpu-03", 8), node("cpu", 0)]);
    facts.pods = Fact::Known(vec![PodUsage { node: "gpu-01".into(), gpus: 5, ..PodUsage::default() }]);
    let expected = "8 GPUs needed, 19 free on gpu-01..03";
    assert_eq!(check_placement(&facts, &graph(4, 2)), CheckResult::Passed(expected.into()));
    let input = PreflightInput::default();
    assert_eq!(gpus(&facts, &input), Some(CheckResult::Passed("19 of 24 GPUs free on gpu-01..03".into())));
}

#[test]
fn waits_for_gpus_used_by_other_pods() {
    let mut facts = facts(vec![node("a", 8)]);
    facts.pods = Fact::Known(vec![PodUsage { node: "a".into(), gpus: 6, ..PodUsage::default() }]);
    let CheckResult::Pending(problem) = check_placement(&facts, &graph(2, 2)) else {
        panic!("expected a pending result")
    };
    assert_eq!(problem.text, "4 GPUs needed, 2 free on a: 1 pod waits for free GPUs");
    assert_eq!(problem.code, MessageCode::NotEnoughGpus);
}

#[test]
fn oversized_worker_fails_unless_autoscaler_may_add_nodes() {
    let mut facts = facts(vec![node("a", 8), node("b", 4)]);
    let problem = expect_failed(check_placement(&facts, &graph(1, 16)));
    assert_eq!((problem.code, problem.exit), (MessageCode::TooManyGpusPerPod, Exit::DoesNotFit));
    assert!(problem.text.contains("requests 16 GPUs") && problem.text.contains("more than 8"), "{problem}");
    // Without an orchestrator, --nodes would be refused.
    assert!(
        !problem.hint.to_string().contains("--nodes") && problem.hint.to_string().contains("--tp 8"),
        "{}",
        problem.hint
    );
    facts.platform = Fact::Known(Some(Platform { grove: true, ..Platform::default() }));
    let problem = expect_failed(check_placement(&facts, &graph(1, 16)));
    assert!(
        problem.hint.to_string().contains("--nodes 2") && problem.hint.to_string().contains("--tp 8"),
        "{}",
        problem.hint
    );
    for autoscaler in [Fact::Known(true), Fact::Unavailable("missing permission".into())] {
        facts.autoscaler = autoscaler;
        assert!(matches!(check_placement(&facts, &graph(1, 16)), CheckResult::Pending(_)));
    }
    facts.autoscaler = Fact::Known(false);
    facts.platform = Fact::Known(Some(Platform { karpenter: true, ..Platform::default() }));
    assert!(matches!(check_placement(&facts, &graph(1, 16)), CheckResult::Pending(_)));
}

#[test]
fn fails_if_request_exceeds_cluster_capacity() {
    let problem = expect_failed(check_placement(&facts(vec![node("a", 8)]), &graph(3, 4)));
    assert_eq!(problem.code, MessageCode::NotEnoughGpus);
    assert!(
        problem.text.contains("12 GPUs needed, but the matching nodes have 8: 1 pod waits indefinitely"),
        "{problem}"
    );
}

#[test]
fn graph_of_same_name_in_other_namespace_is_not_own() {
    let mut facts = facts(vec![node("a", 8)]);
    let other = PodUsage {
        namespace: "other".into(),
        node: "a".into(),
        gpus: 8,
        graph: Some("g".into()),
        ..PodUsage::default()
    };
    facts.pods = Fact::Known(vec![other]);
    // The other graph may be deleted, which frees its GPUs.
    assert!(matches!(check_placement(&facts, &graph(1, 8)), CheckResult::Pending(_)));
}

#[test]
fn surge_pod_of_rolling_update_needs_gpus() {
    let mut facts = facts(vec![node("a", 8)]);
    let own_pod = PodUsage { node: "a".into(), gpus: 8, graph: Some("g".into()), ..PodUsage::default() };
    facts.pods = Fact::Known(vec![own_pod]);
    let (resources, starting_pods) = (graph(1, 8), [("worker".to_owned(), 1)]);
    let input = PreflightInput {
        resources: &resources,
        starting_pods: Some(&starting_pods),
        ..PreflightInput::default()
    };
    let problem = expect_failed(gpu_placement(&facts, &input).expect("a pod starts"));
    assert!(problem.text.contains("in addition to the 8 in use"), "{problem}");
    let no_starting_pods =
        PreflightInput { resources: &resources, starting_pods: Some(&[]), ..PreflightInput::default() };
    assert_eq!(gpu_placement(&facts, &no_starting_pods), None);
}

#[test]
fn reports_taints_and_labels_that_exclude_all_nodes() {
    let mut tainted = node("a", 8);
    tainted.taints = vec![Taint { key: "team".into(), value: "x".into(), effect: "NoSchedule".into() }];
    let problem = expect_failed(check_placement(&facts(vec![tainted]), &graph(1, 1)));
    assert_eq!(problem.code, MessageCode::UntoleratedTaint);
    assert!(problem.hint.to_string().contains("--toleration team"), "{}", problem.hint);
    let component = json!({ "name": "worker", "podTemplate": { "spec": {
        "nodeSelector": { "pool": "gold" },
        "containers": [{ "name": "main", "resources": { "limits": { "nvidia.com/gpu": "1" } } }],
    } } });
    let problem = expect_failed(check_placement(&facts(vec![node("a", 8)]), &graph_with(component)));
    assert_eq!(problem.code, MessageCode::NoMatchingNode);
    assert!(problem.text.contains("pool=gold"), "{problem}");
}

#[test]
fn missing_gpus_fail_placement_and_warn_without_a_plan() {
    let facts = facts(vec![node("a", 0)]);
    assert_eq!(expect_failed(check_placement(&facts, &graph(1, 1))).code, MessageCode::NoGpuNode);
    assert!(matches!(gpus(&facts, &PreflightInput::default()), Some(CheckResult::Warning(_))));
}

#[test]
fn waits_for_unready_node() {
    let down = Node { ready: false, ..node("a", 8) };
    assert!(matches!(check_placement(&facts(vec![down]), &graph(1, 8)), CheckResult::Pending(_)));
}

#[test]
fn missing_list_permission_is_reported() {
    let mut facts = facts(vec![node("a", 8)]);
    facts.pods = Fact::Unavailable("missing permission to list pods".into());
    assert!(matches!(check_placement(&facts, &graph(1, 8)), CheckResult::Skipped(_)));
    // An impossible placement is detected without the pods.
    assert_eq!(expect_failed(check_placement(&facts, &graph(1, 9))).code, MessageCode::TooManyGpusPerPod);
    facts.nodes = Fact::Unavailable("missing permission to list nodes".into());
    assert_eq!(
        check_placement(&facts, &graph(1, 8)),
        CheckResult::Skipped("missing permission to list nodes".into())
    );
}

#[test]
fn gpu_line_names_excluded_nodes() {
    let mut excluded = node("gpu-04", 8);
    excluded.taints =
        vec![Taint { key: "maintenance".into(), effect: "NoSchedule".into(), ..Taint::default() }];
    let facts = facts(vec![node("gpu-01", 8), node("gpu-02", 2), node("gpu-03", 1), excluded]);
    let resources = graph(4, 2);
    let line = gpu_line(&facts, &PreflightInput { resources: &resources, ..PreflightInput::default() });
    let expected = "8 needed, 11 free on gpu-01..03 · gpu-04 excluded: taint maintenance";
    assert_eq!(line.as_deref(), Some(expected));
}

#[test]
fn long_node_list_is_abbreviated() {
    let nodes: Vec<Node> = ["a", "b7", "c", "d", "e"].into_iter().map(|name| node(name, 1)).collect();
    assert_eq!(node_names(&nodes.iter().collect::<Vec<_>>()), "a, b7, c and 2 more");
    let nodes_with_gap: Vec<Node> = ["n1", "n2", "n4"].into_iter().map(|name| node(name, 1)).collect();
    assert_eq!(node_names(&nodes_with_gap.iter().collect::<Vec<_>>()), "n1, n2, n4");
}
