//! What is said of the platform, from facts written down.

use serde_json::json;

use super::*;
use crate::preflight::storage::tests::plan_of;
use crate::release::DEFAULT;
use crate::resources::{GraphApi, Resource};

fn newer() -> Platform {
    Platform { serves_v1beta1: true, serves_v1beta1_graph: true, ..Platform::default() }
}

fn facts(platform: Platform) -> ClusterFacts {
    ClusterFacts { platform: Fact::Known(Some(platform)), ..ClusterFacts::default() }
}

fn code(outcome: Option<Outcome>) -> Option<&'static str> {
    outcome?.problem().map(|problem| problem.code)
}

fn graph(component: serde_json::Value) -> [Resource; 1] {
    let object = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [component] } });
    [Resource { object }]
}

#[test]
fn an_old_kubernetes_is_told_where_the_newer_platform_is() {
    let mut facts = facts(newer());
    facts.kubernetes = Fact::Known((1, 29));
    assert_eq!(code(kubernetes(&facts, &Subject::default())), Some("KD0231"));
    facts.platform = Fact::Known(Some(Platform { graph_api: GraphApi::V1Alpha1, ..Platform::default() }));
    assert!(matches!(kubernetes(&facts, &Subject::default()), Some(Outcome::Passed(_))));
}

#[test]
fn a_cluster_without_definitions_has_no_platform() {
    let none = ClusterFacts { platform: Fact::Known(None), ..ClusterFacts::default() };
    assert_eq!(code(definitions(&none, &Subject::default())), Some("KD0203"));
    assert_eq!(operator(&none, &Subject::default()), None);
    let Some(Outcome::Passed(said)) = definitions(&facts(newer()), &Subject::default()) else {
        panic!("it is there")
    };
    assert!(said.contains("stored as v1beta1"), "{said}");
}

#[test]
fn an_operator_is_ready_starting_off_or_not_there() {
    let mut facts = facts(newer());
    let operator_of = |ready, wanted| Operator {
        deployment: "dynamo-system/op".into(),
        version: Some(DEFAULT.into()),
        ready,
        wanted,
    };
    facts.operators = Fact::Known(vec![operator_of(0, 1), operator_of(1, 1)]);
    let said = format!("deployment dynamo-system/op {DEFAULT} is ready");
    assert_eq!(operator(&facts, &Subject::default()), Some(Outcome::Passed(said)));
    facts.operators = Fact::Known(vec![operator_of(0, 1)]);
    assert!(matches!(operator(&facts, &Subject::default()), Some(Outcome::Waits(_))));
    facts.operators = Fact::Known(vec![operator_of(0, 0)]);
    let Some(Outcome::Failed(problem)) = operator(&facts, &Subject::default()) else { panic!("it is off") };
    assert!(problem.hint.contains("kubectl scale deployment op -n dynamo-system"), "{}", problem.hint);

    facts.operators = Fact::Known(Vec::new());
    facts.webhooks = Fact::Known(Vec::new());
    let Some(Outcome::Failed(problem)) = operator(&facts, &Subject::default()) else {
        panic!("none is there")
    };
    assert_eq!((problem.code, problem.exit), ("KD0230", Exit::Platform));
    facts.webhooks = Fact::Known(vec![Webhook { name: "w".into(), ..Webhook::default() }]);
    assert!(matches!(operator(&facts, &Subject::default()), Some(Outcome::Passed(_))));
    facts.webhooks = Fact::Hidden("no right".into());
    assert!(matches!(operator(&facts, &Subject::default()), Some(Outcome::Skipped(_))));
}

#[test]
fn versions_are_compared_by_their_minor_number() {
    assert_eq!(minor(&format!("v{}.{}.1-rc1", 7, 5)), Some((7, 5)));
    assert_eq!(minor("7.10"), Some((7, 10)));
    assert_eq!(minor("latest"), None);
}

#[test]
fn a_runtime_newer_than_its_operator_is_told() {
    let plan = plan_of(&[]);
    let subject = Subject { plan: Some(&plan), ..Subject::default() };
    let of = |version: &str| {
        let operator = Operator { version: Some(version.into()), ..Operator::default() };
        let facts = ClusterFacts { operators: Fact::Known(vec![operator]), ..facts(newer()) };
        operator_version(&facts, &subject)
    };
    assert!(matches!(of(DEFAULT), Some(Outcome::Passed(_))));
    assert_eq!(code(of(crate::release::CATALOG[0].version)), Some("KD0232"));
    assert_eq!(of("latest"), None);
}

#[test]
fn a_webhook_that_nothing_answers_for_stops_every_write() {
    let mut facts = facts(newer());
    let webhook_of = |ready: Fact<usize>, must_answer| Webhook {
        name: "v".into(),
        service: Some("dynamo-system/webhook".into()),
        ready,
        must_answer,
    };
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Known(1), true)]);
    assert!(matches!(webhook(&facts, &Subject::default()), Some(Outcome::Passed(_))));
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Known(0), true)]);
    assert_eq!(code(webhook(&facts, &Subject::default())), Some("KD0215"));
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Known(0), false)]);
    assert!(matches!(webhook(&facts, &Subject::default()), Some(Outcome::Passed(_))));
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Hidden("no right".into()), true)]);
    assert_eq!(webhook(&facts, &Subject::default()), Some(Outcome::Skipped("no right".into())));
}

#[test]
fn a_worker_of_several_nodes_needs_somebody_to_start_it() {
    let resources = graph(json!({ "name": "worker", "multinode": { "nodeCount": 2 } }));
    let subject = Subject { resources: &resources, ..Subject::default() };
    let of = |grove, leader_worker_sets, volcano| {
        orchestrator(&facts(Platform { grove, leader_worker_sets, volcano, ..newer() }), &subject)
    };
    assert!(matches!(of(true, false, false), Some(Outcome::Passed(_))));
    assert!(matches!(of(false, true, true), Some(Outcome::Passed(_))));
    assert_eq!(code(of(false, true, false)), Some("KD0212"));
    assert_eq!(code(of(false, false, false)), Some("KD0212"));
    let single = graph(json!({ "name": "worker" }));
    let subject = Subject { resources: &single, ..Subject::default() };
    assert_eq!(orchestrator(&facts(newer()), &subject), None);
}

#[test]
fn a_queue_needs_its_scheduler() {
    let object = json!({ "kind": "DynamoGraphDeployment", "metadata": {
        "annotations": { "nvidia.com/kai-scheduler-queue": "gold" } } });
    let resources = [Resource { object }];
    let subject = Subject { resources: &resources, ..Subject::default() };
    assert_eq!(code(kai_scheduler(&facts(newer()), &subject)), Some("KD0233"));
    let with = facts(Platform { kai_scheduler: true, ..newer() });
    assert!(matches!(kai_scheduler(&with, &subject), Some(Outcome::Passed(_))));
}

#[test]
fn an_image_says_its_version_or_the_graph_does() {
    let of = |image: &str, version: Option<&str>| {
        let mut component = json!({ "name": "worker", "podTemplate": { "spec": { "containers": [
            { "name": "main", "image": image },
        ] } } });
        if let Some(version) = version {
            component["runtimeVersionOverride"] = version.into();
        }
        let resources = graph(component);
        image_tag(&facts(newer()), &Subject { resources: &resources, ..Subject::default() })
    };
    assert!(matches!(of(&format!("r:{DEFAULT}"), None), Some(Outcome::Passed(_))));
    assert!(matches!(of("r:latest", Some(DEFAULT)), Some(Outcome::Passed(_))));
    assert_eq!(code(of("r:latest", None)), Some("KD0234"));
    let older = facts(Platform { graph_api: GraphApi::V1Alpha1, ..Platform::default() });
    let resources = graph(json!({ "name": "worker" }));
    assert_eq!(image_tag(&older, &Subject { resources: &resources, ..Subject::default() }), None);
}
