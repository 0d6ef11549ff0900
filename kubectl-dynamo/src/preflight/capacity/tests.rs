//! What is said of GPUs, from facts written down.

use serde_json::{Value, json};

use super::*;
use crate::preflight::{Platform, Taint};
use crate::resources::Resource;

fn node(name: &str, gpus: u64) -> Node {
    Node { name: name.into(), gpus, ready: true, ..Node::default() }
}

/// A cluster without an autoscaler, in which everything may be seen.
fn facts(nodes: Vec<Node>) -> ClusterFacts {
    ClusterFacts {
        nodes: Fact::Known(nodes),
        pods: Fact::Known(Vec::new()),
        autoscaler: Fact::Known(false),
        platform: Fact::Known(Some(Platform::default())),
        ..ClusterFacts::default()
    }
}

/// One component of so many pods with so many GPUs each.
fn graph(pods: u64, gpus: u64) -> Vec<Resource> {
    graph_of(json!({ "name": "worker", "replicas": pods, "podTemplate": { "spec": { "containers": [
        { "name": "main", "resources": { "limits": { "nvidia.com/gpu": gpus.to_string() } } },
    ] } } }))
}

fn graph_of(component: Value) -> Vec<Resource> {
    let object = json!({
        "kind": "DynamoGraphDeployment", "metadata": { "name": "g" }, "spec": { "components": [component] },
    });
    vec![Resource { object }]
}

fn placed(facts: &ClusterFacts, resources: &[Resource]) -> Outcome {
    gpu_placement(facts, &Subject { resources, ..Subject::default() }).expect("there are GPUs to place")
}

fn failed(outcome: Outcome) -> Problem {
    match outcome {
        Outcome::Failed(problem) => problem,
        other => panic!("it did not fail: {other:?}"),
    }
}

#[test]
fn what_is_free_suffices() {
    let mut facts = facts(vec![node("gpu-01", 8), node("gpu-02", 8), node("gpu-03", 8), node("cpu", 0)]);
    facts.pods = Fact::Known(vec![PodUse { node: "gpu-01".into(), gpus: 5, ..PodUse::default() }]);
    let said = "8 GPUs needed, 19 free on gpu-01..03";
    assert_eq!(placed(&facts, &graph(4, 2)), Outcome::Passed(said.into()));
    let subject = Subject::default();
    assert_eq!(gpus(&facts, &subject), Some(Outcome::Passed("19 of 24 GPUs free on gpu-01..03".into())));
}

#[test]
fn what_others_hold_is_waited_for() {
    let mut facts = facts(vec![node("a", 8)]);
    facts.pods = Fact::Known(vec![PodUse { node: "a".into(), gpus: 6, ..PodUse::default() }]);
    let Outcome::Waits(problem) = placed(&facts, &graph(2, 2)) else { panic!("it does not wait") };
    assert_eq!(problem.text, "4 GPUs are needed and 2 free on a: 1 pod waits for some");
    assert_eq!(problem.code, "KD0303");
}

#[test]
fn a_worker_larger_than_every_node_is_refused_unless_nodes_may_come() {
    let mut facts = facts(vec![node("a", 8), node("b", 4)]);
    let problem = failed(placed(&facts, &graph(1, 16)));
    assert_eq!((problem.code, problem.exit), ("KD0307", Exit::DoesNotFit));
    assert!(problem.text.contains("asks for 16 GPUs") && problem.text.contains("more than 8"), "{problem}");
    assert!(problem.hint.contains("--nodes 2") && problem.hint.contains("--tp 8"), "{}", problem.hint);
    for autoscaler in [Fact::Known(true), Fact::Hidden("no right".into())] {
        facts.autoscaler = autoscaler;
        assert!(matches!(placed(&facts, &graph(1, 16)), Outcome::Waits(_)));
    }
    facts.autoscaler = Fact::Known(false);
    facts.platform = Fact::Known(Some(Platform { karpenter: true, ..Platform::default() }));
    assert!(matches!(placed(&facts, &graph(1, 16)), Outcome::Waits(_)));
}

#[test]
fn more_than_the_whole_cluster_is_refused() {
    let problem = failed(placed(&facts(vec![node("a", 8)]), &graph(3, 4)));
    assert_eq!(problem.code, "KD0303");
    assert!(
        problem.text.contains("12 GPUs are needed and the nodes that fit have 8: 1 pod waits"),
        "{problem}"
    );
}

#[test]
fn a_graph_of_the_same_name_elsewhere_is_somebody_elses() {
    let mut facts = facts(vec![node("a", 8)]);
    let other = PodUse {
        namespace: "other".into(),
        node: "a".into(),
        gpus: 8,
        graph: Some("g".into()),
        ..PodUse::default()
    };
    facts.pods = Fact::Known(vec![other]);
    // Theirs may end, and then there is room.
    assert!(matches!(placed(&facts, &graph(1, 8)), Outcome::Waits(_)));
}

#[test]
fn the_pod_on_top_of_a_rolling_update_needs_gpus_too() {
    let mut facts = facts(vec![node("a", 8)]);
    let own = PodUse { node: "a".into(), gpus: 8, graph: Some("g".into()), ..PodUse::default() };
    facts.pods = Fact::Known(vec![own]);
    let (resources, starts) = (graph(1, 8), [("worker".to_owned(), 1)]);
    let subject = Subject { resources: &resources, starts: Some(&starts), ..Subject::default() };
    let problem = failed(gpu_placement(&facts, &subject).expect("a pod starts"));
    assert!(problem.text.contains("on top of the 8 it holds"), "{problem}");
    let nothing = Subject { resources: &resources, starts: Some(&[]), ..Subject::default() };
    assert_eq!(gpu_placement(&facts, &nothing), None);
}

#[test]
fn taints_and_labels_that_shut_every_node_are_named() {
    let mut tainted = node("a", 8);
    tainted.taints = vec![Taint { key: "team".into(), value: "x".into(), effect: "NoSchedule".into() }];
    let problem = failed(placed(&facts(vec![tainted]), &graph(1, 1)));
    assert_eq!(problem.code, "KD0305");
    assert!(problem.hint.contains("--toleration team"), "{}", problem.hint);
    let component = json!({ "name": "worker", "podTemplate": { "spec": {
        "nodeSelector": { "pool": "gold" },
        "containers": [{ "name": "main", "resources": { "limits": { "nvidia.com/gpu": "1" } } }],
    } } });
    let problem = failed(placed(&facts(vec![node("a", 8)]), &graph_of(component)));
    assert_eq!(problem.code, "KD0306");
    assert!(problem.text.contains("pool=gold"), "{problem}");
}

#[test]
fn a_cluster_without_gpus_is_refused_and_by_itself_a_warning() {
    let facts = facts(vec![node("a", 0)]);
    assert_eq!(failed(placed(&facts, &graph(1, 1))).code, "KD0308");
    assert!(matches!(gpus(&facts, &Subject::default()), Some(Outcome::Warning(_))));
}

#[test]
fn a_node_that_is_down_comes_back() {
    let down = Node { ready: false, ..node("a", 8) };
    assert!(matches!(placed(&facts(vec![down]), &graph(1, 8)), Outcome::Waits(_)));
}

#[test]
fn who_may_not_look_is_told_so() {
    let mut facts = facts(vec![node("a", 8)]);
    facts.pods = Fact::Hidden("no right to list pods in all namespaces".into());
    assert!(matches!(placed(&facts, &graph(1, 8)), Outcome::Skipped(_)));
    // What can never be is known without the pods.
    assert_eq!(failed(placed(&facts, &graph(1, 9))).code, "KD0307");
    facts.nodes = Fact::Hidden("no right to list nodes".into());
    assert_eq!(placed(&facts, &graph(1, 8)), Outcome::Skipped("no right to list nodes".into()));
}

#[test]
fn the_plans_line_names_nodes_that_are_left_out() {
    let mut out = node("gpu-04", 8);
    out.taints = vec![Taint { key: "maintenance".into(), effect: "NoSchedule".into(), ..Taint::default() }];
    let facts = facts(vec![node("gpu-01", 8), node("gpu-02", 2), node("gpu-03", 1), out]);
    let resources = graph(4, 2);
    let line = gpu_line(&facts, &Subject { resources: &resources, ..Subject::default() });
    let said = "8 needed, 11 free on gpu-01..03 · gpu-04 left out: taint maintenance";
    assert_eq!(line.as_deref(), Some(said));
}

#[test]
fn names_are_short() {
    let nodes: Vec<Node> = ["a", "b7", "c", "d", "e"].into_iter().map(|name| node(name, 1)).collect();
    assert_eq!(names(&nodes.iter().collect::<Vec<_>>()), "a, b7, c and 2 more");
    let gap: Vec<Node> = ["n1", "n2", "n4"].into_iter().map(|name| node(name, 1)).collect();
    assert_eq!(names(&gap.iter().collect::<Vec<_>>()), "n1, n2, n4");
}
