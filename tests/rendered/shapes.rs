//! Both shapes of a graph come from one plan and mean the same: converted by the operator's own mapping they are equal.

use kubectl_dynamo::intent::{DiskTier, DiskVolume, KvOffload, Placement, ServingIntent, Toleration};
use kubectl_dynamo::plan::ServingPlan;
use kubectl_dynamo::release::CATALOG;
use kubectl_dynamo::resources::{GraphApi, render};
use kubectl_dynamo_tests::cells::{Cell, planned, wish};
use kubectl_dynamo_tests::conversion::{sorted, to_v1beta1};
use serde_json::Value;

fn graph(plan: &ServingPlan, api: GraphApi) -> Value {
    render(plan, "serving", api).pop().expect("a graph is rendered last").object
}

fn assert_same_meaning(plan: &ServingPlan, what: &str) {
    let converted = format!("{:#}", sorted(to_v1beta1(&graph(plan, GraphApi::V1Alpha1))));
    let rendered = format!("{:#}", sorted(graph(plan, GraphApi::V1Beta1)));
    let differing = converted.lines().zip(rendered.lines()).find(|(one, other)| one != other);
    assert_eq!(differing, None, "{what}");
    assert_eq!(converted.len(), rendered.len(), "{what}");
}

#[test]
fn every_cell_of_the_matrix_means_the_same_in_both() {
    let mut compared = 0;
    for cell in Cell::all() {
        if let Some(plan) = cell.plan().expect("as listed") {
            assert_same_meaning(&plan, &cell.to_string());
            compared += 1;
        }
    }
    assert!(compared > 200, "only {compared} cells were compared");
}

#[test]
fn every_setting_of_placement_means_the_same_in_both() {
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
        shared_memory: Some("16Gi".into()),
        ..Placement::default()
    };
    let volumes = [
        DiskVolume::Ephemeral { storage_class: Some("fast".into()) },
        DiskVolume::HostPath { path: "/mnt/nvme/kv".into() },
        DiskVolume::Claim { claim: "kv-disk".into() },
    ];
    for volume in volumes {
        let disk = Some(DiskTier { size: "1Ti".into(), volume });
        let offload = KvOffload { cpu: "100Gi".into(), disk };
        let intent = ServingIntent { kv_offload: Some(offload), placement: placement.clone(), ..wish() };
        for release in CATALOG.iter().filter(|release| release.version != "1.4.2") {
            assert_same_meaning(&planned(&intent, release).expect("a plan"), release.version);
        }
    }
    let none = Placement { shared_memory: Some("0".into()), ..placement };
    assert_same_meaning(
        &planned(&ServingIntent { placement: none, ..wish() }, &CATALOG[0]).expect("a plan"),
        "no /dev/shm",
    );
}
