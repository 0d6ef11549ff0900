//! What is rendered for a wish, release by release, as files a person can review: read a changed one as you
//! read code.

mod contradictions;
mod page;
mod random;
mod refusals;
mod schema;
mod shapes;
mod translation;

use kubectl_dynamo::intent::{
    DiskTier, DiskVolume, KvOffload, Parallelism, Router, RouterMode, ServingIntent, TokenSecret, Topology,
    WorkerGroup,
};
use kubectl_dynamo::plan::{FetchPlacement, ModelPlace, plan};
use kubectl_dynamo::release::{CATALOG, Release};
use kubectl_dynamo::resources::{GraphApi, render, to_yaml};
use kubectl_dynamo_tests::cells::{planned, wish as aggregated};

fn disaggregated() -> ServingIntent {
    ServingIntent {
        topology: Topology::Disaggregated { prefill: group(2, 2), decode: group(1, 4) },
        router: Router::of(RouterMode::Kv),
        token_secret: Some(TokenSecret { name: "hf-token-secret".into(), key: "HF_TOKEN".into() }),
        engine_args: vec!["--max-model-len".into(), "8192".into()],
        ..aggregated()
    }
}

/// Everything the router and KV offload have to say, on one node and on two.
fn offloading() -> ServingIntent {
    let disk = DiskTier {
        size: "200Gi".into(),
        volume: DiskVolume::Ephemeral { storage_class: Some("nvme".into()) },
    };
    ServingIntent {
        router: Router { temperature: Some(0.5), overlap_weight: Some(1.5), ..Router::of(RouterMode::Kv) },
        kv_offload: Some(KvOffload { cpu: "20Gi".into(), disk: Some(disk) }),
        ..disaggregated()
    }
}

fn on_two_nodes() -> ServingIntent {
    let parallelism = Parallelism { tensor: 8, pipeline: 2, ..Parallelism::default() };
    let worker = WorkerGroup { parallelism, nodes: 2, ..WorkerGroup::default() };
    ServingIntent { topology: Topology::Aggregated { worker }, ..aggregated() }
}

fn group(replicas: u32, tensor: u32) -> WorkerGroup {
    let parallelism = Parallelism { tensor, ..Parallelism::default() };
    WorkerGroup { replicas, parallelism, ..WorkerGroup::default() }
}

/// The shape that a release's own operator stores.
fn stored_by(release: &Release) -> GraphApi {
    if ["1.5.1", "1.6.1"].contains(&release.version) { GraphApi::V1Beta1 } else { GraphApi::V1Alpha1 }
}

fn rendered(intent: &ServingIntent, release: &'static Release, api: GraphApi) -> String {
    let plan = planned(intent, release).expect("a plan");
    to_yaml(&render(&plan, "serving", api)).expect("YAML")
}

#[test]
fn aggregated_for_the_oldest_and_the_newest_release() {
    for release in [&CATALOG[0], &CATALOG[CATALOG.len() - 1]] {
        insta::assert_snapshot!(
            format!("aggregated-{}", release.version),
            rendered(&aggregated(), release, stored_by(release))
        );
    }
}

#[test]
fn disaggregated_with_kv_routing_for_every_release() {
    for release in CATALOG {
        insta::assert_snapshot!(
            format!("disaggregated-{}", release.version),
            graph_only(&rendered(&disaggregated(), release, stored_by(release)))
        );
    }
}

#[test]
fn kv_offload_for_every_way_of_spelling_it() {
    for version in ["0.9.1", "1.2.1", "1.3.1", "1.6.1"] {
        let release = Release::find(version).expect("a release");
        insta::assert_snapshot!(
            format!("offload-{version}"),
            graph_only(&rendered(&offloading(), release, stored_by(release)))
        );
    }
}

#[test]
fn a_worker_on_two_nodes_in_both_shapes() {
    for release in [&CATALOG[0], &CATALOG[CATALOG.len() - 1]] {
        insta::assert_snapshot!(
            format!("two-nodes-{}", release.version),
            graph_only(&rendered(&on_two_nodes(), release, stored_by(release)))
        );
    }
}

#[test]
fn a_claim_that_binds_late_has_no_job() {
    let release = &CATALOG[CATALOG.len() - 1];
    let place = ModelPlace::Volume(FetchPlacement::InitContainersOnly);
    let plan = plan(&aggregated(), release, release.version, place).expect("a plan");
    let kinds: Vec<String> =
        render(&plan, "serving", GraphApi::V1Beta1).iter().map(|one| one.kind().to_owned()).collect();
    assert_eq!(kinds, ["PersistentVolumeClaim", "DynamoGraphDeployment"]);
}

#[test]
fn the_same_wish_renders_the_same_bytes() {
    for release in CATALOG {
        let once = rendered(&disaggregated(), release, stored_by(release));
        assert_eq!(once, rendered(&disaggregated(), release, stored_by(release)));
    }
}

#[test]
fn every_pod_that_mounts_the_cache_has_the_fetcher_first() {
    for release in CATALOG {
        for intent in [aggregated(), disaggregated()] {
            let yaml = graph_only(&rendered(&intent, release, stored_by(release)));
            let mounting = yaml.matches("name: model-fetch").count();
            let frontend_reads = usize::from(release.frontend_needs_model());
            assert_eq!(mounting, intent.topology.groups().len() + frontend_reads, "{}", release.version);
        }
    }
}

#[test]
fn a_wish_survives_the_annotation() {
    for intent in [aggregated(), disaggregated(), offloading(), on_two_nodes()] {
        let text = serde_json::to_string(&intent).expect("JSON");
        assert_eq!(serde_json::from_str::<ServingIntent>(&text).expect("a wish"), intent);
    }
}

/// The last document of the stream.
fn graph_only(yaml: &str) -> String {
    yaml.rsplit("---\n").next().unwrap_or_default().to_owned()
}
