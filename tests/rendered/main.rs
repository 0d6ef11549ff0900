//! Rendered objects of an intent for each release, as golden files. Review a changed file as you review code.

mod api_versions;
mod compatibility_page;
mod contradictions;
mod corporate_network;
mod odd_documents;
mod parser_names;
mod random;
mod refusals;
mod releases_page;
mod schema;
mod stored_request;
mod translation;

use kubectl_dynamo_core::intent::{
    DiskTier, DiskVolume, KvOffload, Parallelism, Placement, PodSecurity, Router, RouterMode, ServingIntent,
    TokenSecret, Topology, WorkerGroup,
};
use kubectl_dynamo_core::plan::{FetchPlacement, ModelLocation, plan};
use kubectl_dynamo_core::release::{CATALOG, Release};
use kubectl_dynamo_core::resources::{GraphApi, render, to_yaml};
use kubectl_dynamo_tests::intents::{default_intent as aggregated, plan_for_release};

fn disaggregated() -> ServingIntent {
    ServingIntent {
        topology: Topology::Disaggregated { prefill: worker_group(2, 2), decode: worker_group(1, 4) },
        router: Router::new(RouterMode::Kv),
        token_secret: Some(TokenSecret { name: "hf-token-secret".into(), key: "HF_TOKEN".into() }),
        engine_args: vec!["--max-model-len".into(), "8192".into()],
        ..aggregated()
    }
}

/// Returns an intent with all router and KV offload settings.
fn disaggregated_with_offload() -> ServingIntent {
    let disk = DiskTier {
        size: "200Gi".into(),
        volume: DiskVolume::Ephemeral { storage_class: Some("nvme".into()) },
    };
    ServingIntent {
        router: Router { temperature: Some(0.5), overlap_weight: Some(1.5), ..Router::new(RouterMode::Kv) },
        kv_offload: Some(KvOffload { cpu: "20Gi".into(), disk: Some(disk) }),
        ..disaggregated()
    }
}

fn two_node_worker() -> ServingIntent {
    let parallelism = Parallelism { tensor: 8, pipeline: 2, ..Parallelism::default() };
    let worker = WorkerGroup { parallelism, nodes: 2, ..WorkerGroup::default() };
    ServingIntent { topology: Topology::Aggregated { worker }, ..aggregated() }
}

fn worker_group(replicas: u32, tensor: u32) -> WorkerGroup {
    let parallelism = Parallelism { tensor, ..Parallelism::default() };
    WorkerGroup { replicas, parallelism, ..WorkerGroup::default() }
}

/// Returns the graph API version that a release's operator stores.
fn stored_api(release: &Release) -> GraphApi {
    if ["1.5.1", "1.6.1"].contains(&release.version) { GraphApi::V1Beta1 } else { GraphApi::V1Alpha1 }
}

fn render_yaml(intent: &ServingIntent, release: &'static Release, api: GraphApi) -> String {
    let plan = plan_for_release(intent, release).expect("a plan");
    to_yaml(&render(&plan, "serving", api)).expect("YAML")
}

#[test]
fn renders_aggregated_for_oldest_and_newest_release() {
    for release in [&CATALOG[0], &CATALOG[CATALOG.len() - 1]] {
        insta::assert_snapshot!(
            format!("aggregated-{}", release.version),
            render_yaml(&aggregated(), release, stored_api(release))
        );
    }
}

#[test]
fn renders_disaggregated_with_kv_router_for_every_release() {
    for release in CATALOG {
        insta::assert_snapshot!(
            format!("disaggregated-{}", release.version),
            last_document(&render_yaml(&disaggregated(), release, stored_api(release)))
        );
    }
}

#[test]
fn renders_kv_offload_for_every_release_syntax() {
    for version in ["0.9.1", "1.2.1", "1.3.1", "1.6.1"] {
        let release = Release::find(version).expect("a release");
        insta::assert_snapshot!(
            format!("offload-{version}"),
            last_document(&render_yaml(&disaggregated_with_offload(), release, stored_api(release)))
        );
    }
}

#[test]
fn renders_two_node_worker_in_both_api_versions() {
    for release in [&CATALOG[0], &CATALOG[CATALOG.len() - 1]] {
        insta::assert_snapshot!(
            format!("two-nodes-{}", release.version),
            last_document(&render_yaml(&two_node_worker(), release, stored_api(release)))
        );
    }
}

#[test]
fn renders_restricted_pods_in_both_api_versions() {
    let placement = Placement { pod_security: PodSecurity::Restricted, ..aggregated().placement };
    let intent = ServingIntent { placement, ..aggregated() };
    for release in [&CATALOG[0], &CATALOG[CATALOG.len() - 1]] {
        insta::assert_snapshot!(
            format!("restricted-{}", release.version),
            last_document(&render_yaml(&intent, release, stored_api(release)))
        );
    }
}

#[test]
fn late_binding_pvc_gets_no_fetch_job() {
    let release = &CATALOG[CATALOG.len() - 1];
    let model_placement = ModelLocation::Volume(FetchPlacement::InitContainersOnly);
    let plan = plan(&aggregated(), release, release.version, model_placement).expect("a plan");
    let kinds: Vec<String> =
        render(&plan, "serving", GraphApi::V1Beta1).iter().map(|one| one.kind().to_owned()).collect();
    assert_eq!(kinds, ["PersistentVolumeClaim", "DynamoGraphDeployment"]);
}

#[test]
fn rendering_is_deterministic() {
    for release in CATALOG {
        let once = render_yaml(&disaggregated(), release, stored_api(release));
        assert_eq!(once, render_yaml(&disaggregated(), release, stored_api(release)));
    }
}

#[test]
fn every_pod_with_the_cache_runs_the_fetcher_first() {
    for release in CATALOG {
        for intent in [aggregated(), disaggregated()] {
            let yaml = last_document(&render_yaml(&intent, release, stored_api(release)));
            let mounting = yaml.matches("name: model-fetch").count();
            let frontend_reads = usize::from(release.frontend_needs_model());
            assert_eq!(mounting, intent.topology.groups().len() + frontend_reads, "{}", release.version);
        }
    }
}

#[test]
fn intent_round_trips_through_the_annotation() {
    for intent in [aggregated(), disaggregated(), disaggregated_with_offload(), two_node_worker()] {
        let text = serde_json::to_string(&intent).expect("JSON");
        assert_eq!(serde_json::from_str::<ServingIntent>(&text).expect("an intent"), intent);
    }
}

/// Returns the number of generated cases: `PROPTEST_CASES`, else the default of the test.
fn case_count(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(default)
}

/// Returns the last document of the stream.
fn last_document(yaml: &str) -> String {
    yaml.rsplit("---\n").next().unwrap_or_default().to_owned()
}
