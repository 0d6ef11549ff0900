//! Tests of the platform checks with literal facts.

use serde_json::json;

use super::*;
use crate::code::MessageCode;
use crate::error::Exit;
use crate::preflight::storage::tests::plan_from_fields;
use crate::release::DEFAULT_RELEASE;
use crate::resources::{GraphApi, Resource};

fn v1beta1_platform() -> Platform {
    Platform { serves_v1beta1: true, serves_v1beta1_graph: true, ..Platform::default() }
}

fn facts(platform: Platform) -> ClusterFacts {
    ClusterFacts { platform: Fact::Known(Some(platform)), ..ClusterFacts::default() }
}

fn code(result: Option<CheckResult>) -> Option<MessageCode> {
    result?.problem().map(|problem| problem.code)
}

fn graph(component: serde_json::Value) -> [Resource; 1] {
    let object = json!({ "kind": "DynamoGraphDeployment", "spec": { "components": [component] } });
    [Resource { object }]
}

#[test]
fn old_kubernetes_warns_for_v1beta1_platform() {
    let mut facts = facts(v1beta1_platform());
    facts.kubernetes = Fact::Known((1, 29));
    assert_eq!(code(kubernetes(&facts, &PreflightInput::default())), Some(MessageCode::KubernetesTooOld));
    facts.platform = Fact::Known(Some(Platform { graph_api: GraphApi::V1Alpha1, ..Platform::default() }));
    assert!(matches!(kubernetes(&facts, &PreflightInput::default()), Some(CheckResult::Passed(_))));
}

#[test]
fn missing_crd_fails() {
    let without_platform = ClusterFacts { platform: Fact::Known(None), ..ClusterFacts::default() };
    assert_eq!(
        code(custom_resource_definitions(&without_platform, &PreflightInput::default())),
        Some(MessageCode::PlatformNotInstalled)
    );
    assert_eq!(operator(&without_platform, &PreflightInput::default()), None);
    let Some(CheckResult::Passed(text)) =
        custom_resource_definitions(&facts(v1beta1_platform()), &PreflightInput::default())
    else {
        panic!("the platform is installed")
    };
    assert!(text.contains("stored as v1beta1"), "{text}");
}

#[test]
fn distinguishes_operator_states() {
    let mut facts = facts(v1beta1_platform());
    let operator_of = |ready, desired| OperatorFacts {
        deployment: "dynamo-system/op".into(),
        version: Some(DEFAULT_RELEASE.into()),
        ready,
        desired,
    };
    facts.operators = Fact::Known(vec![operator_of(0, 1), operator_of(1, 1)]);
    let expected = format!("deployment \"dynamo-system/op\" {DEFAULT_RELEASE} is ready");
    assert_eq!(operator(&facts, &PreflightInput::default()), Some(CheckResult::Passed(expected)));
    facts.operators = Fact::Known(vec![operator_of(0, 1)]);
    assert!(matches!(operator(&facts, &PreflightInput::default()), Some(CheckResult::Pending(_))));
    facts.operators = Fact::Known(vec![operator_of(0, 0)]);
    let Some(CheckResult::Failed(problem)) = operator(&facts, &PreflightInput::default()) else {
        panic!("the operator is scaled to zero")
    };
    assert!(
        problem.hint.to_string().contains("kubectl scale deployment op -n dynamo-system"),
        "{}",
        problem.hint
    );

    facts.operators = Fact::Known(Vec::new());
    facts.webhooks = Fact::Known(Vec::new());
    let Some(CheckResult::Failed(problem)) = operator(&facts, &PreflightInput::default()) else {
        panic!("the operator is not installed")
    };
    assert_eq!((problem.code, problem.exit), (MessageCode::OperatorNotReady, Exit::Platform));
    facts.webhooks = Fact::Known(vec![Webhook { name: "w".into(), ..Webhook::default() }]);
    assert!(matches!(operator(&facts, &PreflightInput::default()), Some(CheckResult::Passed(_))));
    facts.webhooks = Fact::Unavailable("missing permission".into());
    assert!(matches!(operator(&facts, &PreflightInput::default()), Some(CheckResult::Skipped(_))));
}

#[test]
fn parses_major_minor() {
    assert_eq!(major_minor(&format!("v{}.{}.1-rc1", 7, 5)), Some((7, 5)));
    assert_eq!(major_minor("7.10"), Some((7, 10)));
    assert_eq!(major_minor("latest"), None);
}

#[test]
fn warns_if_runtime_is_newer_than_operator() {
    let plan = plan_from_fields(&[]);
    let input = PreflightInput { plan: Some(&plan), ..PreflightInput::default() };
    let check = |version: &str| {
        let operator = OperatorFacts { version: Some(version.into()), ..OperatorFacts::default() };
        let facts = ClusterFacts { operators: Fact::Known(vec![operator]), ..facts(v1beta1_platform()) };
        operator_version(&facts, &input)
    };
    assert!(matches!(check(DEFAULT_RELEASE), Some(CheckResult::Passed(_))));
    assert_eq!(code(check(crate::release::CATALOG[0].version)), Some(MessageCode::RuntimeNewerThanOperator));
    let hint = |version: &str, input: &PreflightInput<'_>| {
        let operator = OperatorFacts { version: Some(version.into()), ..OperatorFacts::default() };
        let facts = ClusterFacts { operators: Fact::Known(vec![operator]), ..facts(v1beta1_platform()) };
        operator_version(&facts, input)?.problem().map(|problem| problem.hint.to_string())
    };
    let second_newest = &crate::release::CATALOG[crate::release::CATALOG.len() - 2];
    let flag = format!("--release {}", second_newest.version);
    assert!(hint(second_newest.version, &input).is_some_and(|hint| hint.contains(&flag)));
    let existing = PreflightInput { starting_pods: Some(&[]), ..input };
    assert!(hint(second_newest.version, &existing).is_some_and(|hint| !hint.contains("--release")));
    assert_eq!(check("latest"), None);
}

#[test]
fn unreachable_required_webhook_fails() {
    let mut facts = facts(v1beta1_platform());
    let webhook_of = |ready: Fact<usize>, is_required| Webhook {
        name: "v".into(),
        service: Some("dynamo-system/webhook".into()),
        ready,
        is_required,
    };
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Known(1), true)]);
    assert!(matches!(webhook(&facts, &PreflightInput::default()), Some(CheckResult::Passed(_))));
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Known(0), true)]);
    assert_eq!(
        code(webhook(&facts, &PreflightInput::default())),
        Some(MessageCode::OperatorWebhookUnavailable)
    );
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Known(0), false)]);
    assert!(matches!(webhook(&facts, &PreflightInput::default()), Some(CheckResult::Passed(_))));
    facts.webhooks = Fact::Known(vec![webhook_of(Fact::Unavailable("missing permission".into()), true)]);
    assert_eq!(
        webhook(&facts, &PreflightInput::default()),
        Some(CheckResult::Skipped("missing permission".into()))
    );
}

#[test]
fn multinode_worker_requires_orchestrator() {
    let resources = graph(json!({ "name": "worker", "multinode": { "nodeCount": 2 } }));
    let input = PreflightInput { resources: &resources, ..PreflightInput::default() };
    let check = |grove, leader_worker_sets, volcano| {
        orchestrator(&facts(Platform { grove, leader_worker_sets, volcano, ..v1beta1_platform() }), &input)
    };
    assert!(matches!(check(true, false, false), Some(CheckResult::Passed(_))));
    assert!(matches!(check(false, true, true), Some(CheckResult::Passed(_))));
    assert_eq!(code(check(false, true, false)), Some(MessageCode::MultinodeOrchestratorMissing));
    assert_eq!(code(check(false, false, false)), Some(MessageCode::MultinodeOrchestratorMissing));
    let single = graph(json!({ "name": "worker" }));
    let input = PreflightInput { resources: &single, ..PreflightInput::default() };
    assert_eq!(orchestrator(&facts(v1beta1_platform()), &input), None);
}

#[test]
fn queue_requires_kai_scheduler() {
    let object = json!({ "kind": "DynamoGraphDeployment", "metadata": {
        "annotations": { "nvidia.com/kai-scheduler-queue": "gold" } } });
    let resources = [Resource { object }];
    let input = PreflightInput { resources: &resources, ..PreflightInput::default() };
    assert_eq!(
        code(kai_scheduler(&facts(v1beta1_platform()), &input)),
        Some(MessageCode::KaiSchedulerNotInstalled)
    );
    let facts_with_kai = facts(Platform { kai_scheduler: true, ..v1beta1_platform() });
    assert!(matches!(kai_scheduler(&facts_with_kai, &input), Some(CheckResult::Passed(_))));
}

#[test]
fn image_tag_or_graph_must_set_version() {
    let check = |image: &str, version: Option<&str>| {
        let mut component = json!({ "name": "worker", "podTemplate": { "spec": { "containers": [
            { "name": "main", "image": image },
        ] } } });
        if let Some(version) = version {
            component["runtimeVersionOverride"] = version.into();
        }
        let resources = graph(component);
        image_tag(
            &facts(v1beta1_platform()),
            &PreflightInput { resources: &resources, ..PreflightInput::default() },
        )
    };
    assert!(matches!(check(&format!("r:{DEFAULT_RELEASE}"), None), Some(CheckResult::Passed(_))));
    assert!(matches!(check("r:latest", Some(DEFAULT_RELEASE)), Some(CheckResult::Passed(_))));
    assert_eq!(code(check("r:latest", None)), Some(MessageCode::RuntimeVersionUnknown));
    let v1alpha1_facts = facts(Platform { graph_api: GraphApi::V1Alpha1, ..Platform::default() });
    let resources = graph(json!({ "name": "worker" }));
    assert_eq!(
        image_tag(&v1alpha1_facts, &PreflightInput { resources: &resources, ..PreflightInput::default() }),
        None
    );
}
