//! The v1alpha1 and v1beta1 graphs of a plan are equivalent: they are equal after the operator's conversion.

use kubectl_dynamo_core::intent::{
    DiskTier, DiskVolume, KvOffload, Placement, PodSecurity, ServingIntent, Toleration,
};
use kubectl_dynamo_core::plan::ServingPlan;
use kubectl_dynamo_core::release::CATALOG;
use kubectl_dynamo_core::resources::{GraphApi, render};
use kubectl_dynamo_tests::conversion::{sort_lists, to_v1beta1};
use kubectl_dynamo_tests::intents::{Cell, default_intent, plan_for_release};
use serde_json::Value;

fn graph(plan: &ServingPlan, api: GraphApi) -> Value {
    render(plan, "serving", api).pop().expect("a graph is rendered last").object
}

fn assert_api_versions_match(plan: &ServingPlan, description: &str) {
    let converted = format!("{:#}", sort_lists(to_v1beta1(&graph(plan, GraphApi::V1Alpha1))));
    let rendered = format!("{:#}", sort_lists(graph(plan, GraphApi::V1Beta1)));
    let differing = converted.lines().zip(rendered.lines()).find(|(one, other)| one != other);
    assert_eq!(differing, None, "{description}");
    assert_eq!(converted.len(), rendered.len(), "{description}");
}

#[test]
fn every_cell_converts_to_the_same_graph() {
    let mut compared = 0;
    for cell in Cell::all() {
        if let Some(plan) = cell.plan().expect("as listed") {
            assert_api_versions_match(&plan, &cell.to_string());
            compared += 1;
        }
    }
    assert!(compared > 200, "only {compared} cells were compared");
}

#[test]
fn every_placement_setting_converts_to_the_same_graph() {
    let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    let placement = Placement {
        image_pull_secrets: vec!["registry".into()],
        node_selector: pair("node.kubernetes.io/instance-type", "p5.48xlarge"),
        tolerations: ["eks-auto-mode:NoSchedule", "team=a", "spot"]
            .map(|taint| taint.parse::<Toleration>().expect("a taint"))
            .to_vec(),
        priority_class: Some("high".into()),
        service_account: Some("models".into()),
        labels: pair("team", "search"),
        annotations: pair("example.com/owner", "search team"),
        env: vec![("DYN_LOG".into(), "debug".into()), ("EMPTY".into(), String::new())],
        ca_bundle: Some("corporate-ca".parse().expect("a ConfigMap")),
        shared_memory: Some("16Gi".into()),
        ..Placement::default()
    };
    let volumes = [
        DiskVolume::Ephemeral { storage_class: Some("fast".into()) },
        DiskVolume::HostPath { path: "/mnt/nvme/kv".into() },
        DiskVolume::Pvc { name: "kv-disk".into() },
    ];
    for volume in volumes {
        let disk = Some(DiskTier { size: "1Ti".into(), volume });
        let offload = KvOffload { cpu: "100Gi".into(), disk };
        let intent =
            ServingIntent { kv_offload: Some(offload), placement: placement.clone(), ..default_intent() };
        for release in CATALOG.iter().filter(|release| release.version != "1.4.2") {
            assert_api_versions_match(&plan_for_release(&intent, release).expect("a plan"), release.version);
        }
    }
    let restricted = Placement { pod_security: PodSecurity::Restricted, ..placement.clone() };
    for release in CATALOG {
        let intent = ServingIntent { placement: restricted.clone(), ..default_intent() };
        assert_api_versions_match(&plan_for_release(&intent, release).expect("a plan"), release.version);
    }
    let none = Placement { shared_memory: Some("0".into()), ..placement };
    assert_api_versions_match(
        &plan_for_release(&ServingIntent { placement: none, ..default_intent() }, &CATALOG[0])
            .expect("a plan"),
        "no /dev/shm",
    );
}
