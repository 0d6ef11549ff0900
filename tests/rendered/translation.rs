//! One wish in the words of every release: what the tables of `dynamo-api` say, and what the wheels say.

use kubectl_dynamo::error::Explain;
use kubectl_dynamo::intent::{
    Backend, DiskTier, DiskVolume, KvOffload, Parallelism, Router, RouterMode, ServingIntent, Topology,
    WorkerGroup, WorkerRole,
};
use kubectl_dynamo::plan::{
    Component, EnvironmentValue, Logging, ModelPlace, PlanWarning, ServingPlan, Surroundings, plan,
};
use kubectl_dynamo::release::{CATALOG, Release};
use kubectl_dynamo_tests::cells::{planned, wish};

fn of(intent: &ServingIntent, version: &str) -> ServingPlan {
    planned(intent, Release::find(version).expect("a release")).expect("a plan")
}

fn component(plan: &ServingPlan, role: WorkerRole) -> &Component {
    plan.components.iter().find(|component| component.role == role).expect("a component of that role")
}

fn variable<'a>(component: &'a Component, name: &str) -> Option<&'a str> {
    let found: Vec<_> = component.environment.iter().filter(|variable| variable.name == name).collect();
    assert!(found.len() < 2, "{name} is set twice");
    match found.first().map(|variable| &variable.value) {
        Some(EnvironmentValue::Literal(value)) => Some(value),
        _ => None,
    }
}

fn after<'a>(component: &'a Component, flag: &str) -> Option<&'a str> {
    let at = component.args.iter().position(|arg| arg == flag)?;
    component.args.get(at + 1).map(String::as_str)
}

fn router(settings: Router) -> ServingIntent {
    ServingIntent { router: settings, ..wish() }
}

fn offloading() -> ServingIntent {
    let volume = DiskVolume::Ephemeral { storage_class: None };
    let disk = Some(DiskTier { size: "200Gi".into(), volume });
    ServingIntent { kv_offload: Some(KvOffload { cpu: "20Gi".into(), disk }), ..wish() }
}

fn disaggregated(intent: ServingIntent) -> ServingIntent {
    let group = WorkerGroup::default;
    ServingIntent { topology: Topology::Disaggregated { prefill: group(), decode: group() }, ..intent }
}

#[test]
fn the_overlap_weight_has_the_name_of_the_release() {
    let intent = router(Router { overlap_weight: Some(1.5), ..Router::of(RouterMode::Kv) });
    for (version, name) in [
        ("0.9.1", "DYN_KV_OVERLAP_SCORE_WEIGHT"),
        ("1.0.2", "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT"),
        ("1.1.1", "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT"),
        ("1.2.1", "DYN_ROUTER_PREFILL_LOAD_SCALE"),
        ("1.6.1", "DYN_ROUTER_PREFILL_LOAD_SCALE"),
    ] {
        let plan = of(&intent, version);
        assert_eq!(variable(component(&plan, WorkerRole::Frontend), name), Some("1.5"), "{version}");
    }
}

#[test]
fn what_is_left_open_is_left_to_dynamo() {
    for release in CATALOG {
        let plan = of(&router(Router::of(RouterMode::Kv)), release.version);
        let names: Vec<&str> = component(&plan, WorkerRole::Frontend)
            .environment
            .iter()
            .map(|variable| variable.name.as_str())
            .collect();
        assert_eq!(names, ["DYN_ROUTER_MODE"], "{}", release.version);
    }
}

#[test]
fn without_events_neither_side_speaks_of_them() {
    let intent = router(Router { kv_events: false, ..Router::of(RouterMode::Kv) });
    for (version, name) in [("0.9.1", "DYN_KV_EVENTS"), ("1.6.1", "DYN_ROUTER_USE_KV_EVENTS")] {
        let plan = of(&intent, version);
        assert_eq!(variable(component(&plan, WorkerRole::Frontend), name), Some("false"), "{version}");
        assert_eq!(after(component(&plan, WorkerRole::Combined), "--kv-events-config"), None, "{version}");
    }
}

#[test]
fn a_migration_limit_goes_where_the_release_reads_it() {
    for args in [vec!["--migration-limit", "3"], vec!["--migration_limit=3"]] {
        let intent = ServingIntent {
            engine_args: args.into_iter().chain(["--max-model-len", "8192"]).map(ToOwned::to_owned).collect(),
            ..wish()
        };
        for release in CATALOG {
            let plan = of(&intent, release.version);
            let on_worker = component(&plan, WorkerRole::Combined)
                .args
                .iter()
                .any(|arg| arg.replace('_', "-").starts_with("--migration-limit"));
            let on_frontend = variable(component(&plan, WorkerRole::Frontend), "DYN_MIGRATION_LIMIT");
            let expected = if release.version == "0.9.1" { (true, None) } else { (false, Some("3")) };
            assert_eq!((on_worker, on_frontend), expected, "{}", release.version);
            assert_eq!(after(component(&plan, WorkerRole::Combined), "--max-model-len"), Some("8192"));
        }
    }
}

#[test]
fn prefill_offloads_and_hands_over_and_decode_only_takes() {
    let intent = disaggregated(offloading());
    for release in CATALOG {
        let plan = of(&intent, release.version);
        let (prefill, decode) = (component(&plan, WorkerRole::Prefill), component(&plan, WorkerRole::Decode));
        assert_eq!(variable(prefill, "DYN_KVBM_CPU_CACHE_GB"), Some("21"), "{}", release.version);
        assert_eq!(variable(prefill, "DYN_KVBM_DISK_CACHE_GB"), Some("214"));
        assert_eq!(variable(prefill, "DYN_KVBM_DISK_CACHE_DIR"), Some("/kv-offload"));
        assert!(prefill.offload_disk.is_some() && decode.offload_disk.is_none());
        assert_eq!(variable(decode, "DYN_KVBM_CPU_CACHE_GB"), None);
        assert_eq!(
            variable(prefill, "DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER"),
            None,
            "the filter spares the disk"
        );
        if release.version == "0.9.1" {
            let at = prefill.args.iter().position(|arg| arg == "--connector").expect("a connector");
            assert_eq!(prefill.args[at + 1..at + 3], ["kvbm", "nixl"]);
            assert_eq!(after(decode, "--connector"), Some("nixl"));
        } else {
            let json: serde_json::Value =
                serde_json::from_str(after(prefill, "--kv-transfer-config").expect("JSON")).expect("JSON");
            let inner = &json["kv_connector_extra_config"]["connectors"];
            assert_eq!(json["kv_connector"], "PdConnector");
            assert_eq!(inner[0]["kv_connector"], "DynamoConnector");
            assert_eq!(inner[1]["kv_connector"], "NixlConnector");
            assert!(after(decode, "--kv-transfer-config").expect("JSON").contains("NixlConnector"));
        }
    }
}

#[test]
fn memory_counts_the_tier_and_dev_shm_and_room_to_work() {
    let mut intent = offloading();
    let memory = |intent: &ServingIntent| {
        let plan = of(intent, "1.6.1");
        let needs = component(&plan, WorkerRole::Combined).needs;
        (needs.memory.to_string(), needs.memory_limit.map(|limit| limit.to_string()))
    };
    // 20 of the tier, 8 of the operator's own /dev/shm, 16 and 32 to work in.
    assert_eq!(memory(&intent), ("44Gi".into(), Some("60Gi".into())));
    intent.placement.shared_memory = Some("20Gi".into());
    assert_eq!(memory(&intent), ("56Gi".into(), Some("72Gi".into())));
    intent.kv_offload = None;
    assert_eq!(memory(&intent), ("8Gi".into(), None));
}

#[test]
fn kvbm_is_told_to_be_what_it_is_in_each_release() {
    for release in CATALOG {
        let plan = of(&disaggregated(offloading()), release.version);
        let prefill = component(&plan, WorkerRole::Prefill);
        let has = |flag: &str| prefill.args.iter().any(|arg| arg == flag);
        let (eager, without_hybrid) = (has("--enforce-eager"), has("--disable-hybrid-kv-cache-manager"));
        let (expected, warning) = match release.version {
            "0.9.1" => ((true, false), Some(PlanWarning::Eager { release: "0.9.1" })),
            "1.0.2" | "1.1.1" | "1.2.1" => ((false, false), None),
            "1.3.1" | "1.4.2" => ((false, true), None),
            version => ((false, true), Some(PlanWarning::OffloadDeprecated { release: version })),
        };
        assert_eq!((eager, without_hybrid), expected, "{}", release.version);
        assert_eq!(plan.warnings, warning.into_iter().collect::<Vec<_>>(), "{}", release.version);
    }
}

#[test]
fn sizes_and_shapes_that_cannot_be_are_refused_with_a_code() {
    let cpu =
        |size: &str| ServingIntent { kv_offload: Some(KvOffload { cpu: size.into(), disk: None }), ..wish() };
    let nodes = |tensor, nodes| {
        let parallelism = Parallelism { tensor, ..Parallelism::default() };
        let worker = WorkerGroup { parallelism, nodes, ..WorkerGroup::default() };
        ServingIntent { topology: Topology::Aggregated { worker }, ..wish() }
    };
    let quoted = ServingIntent { engine_args: vec!["--hf-overrides={\"a\":1}".into()], ..nodes(16, 2) };
    for (intent, version, code) in [
        (cpu("lots"), "1.6.1", "KD0402"),
        (cpu("100Mi"), "1.6.1", "KD0620"),
        (nodes(8, 3), "1.6.1", "KD0621"),
        (ServingIntent { backend: Backend::Mocker, ..nodes(16, 2) }, "1.6.1", "KD0621"),
        (quoted.clone(), "0.9.1", "KD0622"),
    ] {
        let refused = planned(&intent, Release::find(version).expect("a release")).expect_err("refused");
        assert_eq!(refused.code(), Some(code), "{refused}");
        assert!(refused.hint().is_some(), "{refused}");
    }
    assert!(planned(&quoted, Release::find("1.6.1").expect("a release")).is_ok(), "no shell there");
}

#[test]
fn logs_are_json_where_something_collects_them_and_the_person_has_the_last_word() {
    let surroundings = |logging| Surroundings {
        model: ModelPlace::Volume(kubectl_dynamo::plan::FetchPlacement::Job),
        logging,
    };
    let release = &CATALOG[0];
    let mut intent = wish();
    for (logging, env, expected) in [
        (Logging::Plain, None, None),
        (Logging::Json, None, Some("true")),
        (Logging::Json, Some("false"), Some("false")),
    ] {
        intent.placement.env =
            env.map(|value: &str| ("DYN_LOGGING_JSONL".into(), value.into())).into_iter().collect();
        let plan = plan(&intent, release, release.version, surroundings(logging)).expect("a plan");
        for component in &plan.components {
            assert_eq!(variable(component, "DYN_LOGGING_JSONL"), expected);
        }
    }
}

#[test]
fn a_live_graph_says_how_it_logs() {
    use kubectl_dynamo::resources::{GraphApi, logging, render};
    let release = &CATALOG[CATALOG.len() - 1];
    for api in [GraphApi::V1Alpha1, GraphApi::V1Beta1] {
        for wanted in [Logging::Plain, Logging::Json] {
            let model = ModelPlace::Volume(kubectl_dynamo::plan::FetchPlacement::Job);
            let plan = plan(&wish(), release, release.version, Surroundings { model, logging: wanted })
                .expect("a plan");
            let graph = render(&plan, "serving", api).pop().expect("a graph");
            assert_eq!(logging(&graph.object), wanted);
        }
    }
}

#[test]
fn a_variable_is_written_once_and_the_persons_own_wins() {
    let mut intent = router(Router::of(RouterMode::Kv));
    intent.placement.env = vec![("DYN_ROUTER_MODE".into(), "random".into()), ("A".into(), "1".into())];
    for release in CATALOG {
        let plan = of(&intent, release.version);
        assert_eq!(variable(component(&plan, WorkerRole::Frontend), "DYN_ROUTER_MODE"), Some("random"));
    }
}
