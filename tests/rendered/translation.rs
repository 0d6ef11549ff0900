//! Renders one intent for every release, and compares with the tables of `dynamo-api` and the wheels.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::intent::{
    Backend, DiskTier, DiskVolume, KvOffload, Parallelism, Router, RouterMode, ServingIntent, Topology,
    WorkerGroup, WorkerRole,
};
use kubectl_dynamo_core::plan::{
    EnvironmentValue, Logging, ModelLocation, PlanComponent, PlanWarning, RenderEnvironment, ServingPlan,
    plan,
};
use kubectl_dynamo_core::release::{CATALOG, Release};
use kubectl_dynamo_tests::intents::{default_intent, plan_for_release};

fn plan_for_version(intent: &ServingIntent, version: &str) -> ServingPlan {
    plan_for_release(intent, Release::find(version).expect("a release")).expect("a plan")
}

fn component(plan: &ServingPlan, role: WorkerRole) -> &PlanComponent {
    plan.components.iter().find(|component| component.role == role).expect("a component of that role")
}

fn environment_value<'a>(component: &'a PlanComponent, name: &str) -> Option<&'a str> {
    let found: Vec<_> = component.environment.iter().filter(|variable| variable.name == name).collect();
    assert!(found.len() < 2, "{name} is set twice");
    match found.first().map(|variable| &variable.value) {
        Some(EnvironmentValue::Literal(value)) => Some(value),
        _ => None,
    }
}

fn flag_value<'a>(component: &'a PlanComponent, flag: &str) -> Option<&'a str> {
    let at = component.args.iter().position(|arg| arg == flag)?;
    component.args.get(at + 1).map(String::as_str)
}

fn with_router(settings: Router) -> ServingIntent {
    ServingIntent { router: settings, ..default_intent() }
}

fn with_offload() -> ServingIntent {
    let volume = DiskVolume::Ephemeral { storage_class: None };
    let disk = Some(DiskTier { size: "200Gi".into(), volume });
    ServingIntent { kv_offload: Some(KvOffload { cpu: "20Gi".into(), disk }), ..default_intent() }
}

fn disaggregated(intent: ServingIntent) -> ServingIntent {
    let group = WorkerGroup::default;
    ServingIntent { topology: Topology::Disaggregated { prefill: group(), decode: group() }, ..intent }
}

#[test]
fn overlap_weight_variable_depends_on_release() {
    let intent = with_router(Router { overlap_weight: Some(1.5), ..Router::new(RouterMode::Kv) });
    for (version, name) in [
        ("0.9.1", "DYN_KV_OVERLAP_SCORE_WEIGHT"),
        ("1.0.2", "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT"),
        ("1.1.1", "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT"),
        ("1.2.1", "DYN_ROUTER_PREFILL_LOAD_SCALE"),
        ("1.6.1", "DYN_ROUTER_PREFILL_LOAD_SCALE"),
    ] {
        let plan = plan_for_version(&intent, version);
        assert_eq!(environment_value(component(&plan, WorkerRole::Frontend), name), Some("1.5"), "{version}");
    }
}

#[test]
fn unset_router_settings_are_not_rendered() {
    for release in CATALOG {
        let plan = plan_for_version(&with_router(Router::new(RouterMode::Kv)), release.version);
        let names: Vec<&str> = component(&plan, WorkerRole::Frontend)
            .environment
            .iter()
            .map(|variable| variable.name.as_str())
            .collect();
        assert_eq!(names, ["DYN_ROUTER_MODE"], "{}", release.version);
    }
}

#[test]
fn disabled_kv_events_are_off_in_router_and_workers() {
    let intent = with_router(Router { kv_events: false, ..Router::new(RouterMode::Kv) });
    for (version, name) in [("0.9.1", "DYN_KV_EVENTS"), ("1.6.1", "DYN_ROUTER_USE_KV_EVENTS")] {
        let plan = plan_for_version(&intent, version);
        assert_eq!(
            environment_value(component(&plan, WorkerRole::Frontend), name),
            Some("false"),
            "{version}"
        );
        assert_eq!(
            flag_value(component(&plan, WorkerRole::Aggregated), "--kv-events-config"),
            None,
            "{version}"
        );
    }
}

#[test]
fn migration_limit_is_set_where_the_release_reads_it() {
    let repeated = vec!["--migration-limit=1", "--migration-limit", "2", "--migration-limit", "3"];
    for args in [vec!["--migration-limit", "3"], vec!["--migration_limit=3"], repeated] {
        let intent = ServingIntent {
            engine_args: args.into_iter().chain(["--max-model-len", "8192"]).map(ToOwned::to_owned).collect(),
            ..default_intent()
        };
        for release in CATALOG {
            let plan = plan_for_version(&intent, release.version);
            let on_worker = component(&plan, WorkerRole::Aggregated)
                .args
                .iter()
                .any(|arg| arg.replace('_', "-").starts_with("--migration-limit"));
            let on_frontend =
                environment_value(component(&plan, WorkerRole::Frontend), "DYN_MIGRATION_LIMIT");
            let expected = if release.version == "0.9.1" { (true, None) } else { (false, Some("3")) };
            assert_eq!((on_worker, on_frontend), expected, "{}", release.version);
            assert_eq!(flag_value(component(&plan, WorkerRole::Aggregated), "--max-model-len"), Some("8192"));
        }
    }
}

#[test]
fn fetch_step_selects_the_weights_that_the_engine_loads() {
    for (args, expected) in [
        (&["--load-format", "mistral"][..], Some("mistral")),
        (&["--load_format=npcache"], Some("npcache")),
        (&["--config-format", "mistral", "--load-format", "auto"], Some("mistral")),
        (&["--load-format", "runai_streamer"], None),
        (&[], None),
    ] {
        let engine_args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let worker = WorkerGroup { engine_args: engine_args.clone(), ..WorkerGroup::default() };
        let of_role = ServingIntent { topology: Topology::Aggregated { worker }, ..default_intent() };
        for intent in [ServingIntent { engine_args, ..default_intent() }, of_role] {
            let plan = plan_for_version(&intent, CATALOG[0].version);
            let fetch = &plan.cache.expect("a cache").fetch;
            let mut variables = fetch.environment.iter();
            let found = variables.find(|variable| variable.name == "MODEL_FETCHER_LOAD_FORMAT");
            let value = found.map(|variable| match &variable.value {
                EnvironmentValue::Literal(value) => value.as_str(),
                other => panic!("{other:?}"),
            });
            assert_eq!(value, expected, "{args:?}");
        }
    }
}

#[test]
fn only_prefill_offloads_and_decode_receives() {
    let intent = disaggregated(with_offload());
    for release in CATALOG {
        let plan = plan_for_version(&intent, release.version);
        let (prefill, decode) = (component(&plan, WorkerRole::Prefill), component(&plan, WorkerRole::Decode));
        assert_eq!(environment_value(prefill, "DYN_KVBM_CPU_CACHE_GB"), Some("21"), "{}", release.version);
        assert_eq!(environment_value(prefill, "DYN_KVBM_DISK_CACHE_GB"), Some("214"));
        assert_eq!(environment_value(prefill, "DYN_KVBM_DISK_CACHE_DIR"), Some("/kv-offload"));
        assert!(prefill.offload_disk.is_some() && decode.offload_disk.is_none());
        assert_eq!(environment_value(decode, "DYN_KVBM_CPU_CACHE_GB"), None);
        assert_eq!(
            environment_value(prefill, "DYN_KVBM_DISABLE_DISK_OFFLOAD_FILTER"),
            None,
            "the filter protects the disk"
        );
        if release.version == "0.9.1" {
            let at = prefill.args.iter().position(|arg| arg == "--connector").expect("a connector");
            assert_eq!(prefill.args[at + 1..at + 3], ["kvbm", "nixl"]);
            assert_eq!(flag_value(decode, "--connector"), Some("nixl"));
        } else {
            let json: serde_json::Value =
                serde_json::from_str(flag_value(prefill, "--kv-transfer-config").expect("JSON"))
                    .expect("JSON");
            let inner = &json["kv_connector_extra_config"]["connectors"];
            assert_eq!(json["kv_connector"], "PdConnector");
            assert_eq!(inner[0]["kv_connector"], "DynamoConnector");
            assert_eq!(inner[1]["kv_connector"], "NixlConnector");
            assert!(flag_value(decode, "--kv-transfer-config").expect("JSON").contains("NixlConnector"));
        }
    }
}

#[test]
fn memory_request_includes_tier_shm_and_overhead() {
    let mut intent = with_offload();
    let memory = |intent: &ServingIntent| {
        let plan = plan_for_version(intent, "1.6.1");
        let needs = component(&plan, WorkerRole::Aggregated).requests;
        (needs.memory.to_string(), needs.memory_limit.map(|limit| limit.to_string()))
    };
    // 20 for the tier, 8 for the operator's own /dev/shm, 16 and 32 as working memory.
    assert_eq!(memory(&intent), ("44Gi".into(), Some("60Gi".into())));
    intent.placement.shared_memory = Some("20Gi".into());
    assert_eq!(memory(&intent), ("56Gi".into(), Some("72Gi".into())));
    intent.kv_offload = None;
    assert_eq!(memory(&intent), ("8Gi".into(), None));
}

#[test]
fn kvbm_flags_and_warnings_depend_on_release() {
    for release in CATALOG {
        let plan = plan_for_version(&disaggregated(with_offload()), release.version);
        let prefill = component(&plan, WorkerRole::Prefill);
        let has = |flag: &str| prefill.args.iter().any(|arg| arg == flag);
        let (eager, without_hybrid) = (has("--enforce-eager"), has("--disable-hybrid-kv-cache-manager"));
        let (expected, warning) = match release.version {
            "0.9.1" => ((true, false), Some(PlanWarning::CudaGraphsDisabled { release: "0.9.1" })),
            "1.0.2" | "1.1.1" | "1.2.1" => ((false, false), None),
            "1.3.1" | "1.4.2" => ((false, true), None),
            version => ((false, true), Some(PlanWarning::OffloadDeprecated { release: version })),
        };
        assert_eq!((eager, without_hybrid), expected, "{}", release.version);
        assert_eq!(plan.warnings, warning.into_iter().collect::<Vec<_>>(), "{}", release.version);
    }
}

#[test]
fn rejects_invalid_sizes_and_parallelism_with_a_code() {
    let cpu = |size: &str| ServingIntent {
        kv_offload: Some(KvOffload { cpu: size.into(), disk: None }),
        ..default_intent()
    };
    let nodes = |tensor, nodes| {
        let parallelism = Parallelism { tensor, ..Parallelism::default() };
        let worker = WorkerGroup { parallelism, nodes, ..WorkerGroup::default() };
        ServingIntent { topology: Topology::Aggregated { worker }, ..default_intent() }
    };
    let quoted = ServingIntent { engine_args: vec!["--hf-overrides={\"a\":1}".into()], ..nodes(16, 2) };
    for (intent, version, code) in [
        (cpu("lots"), "1.6.1", "KD0402"),
        (cpu("100Mi"), "1.6.1", "KD0620"),
        (nodes(8, 3), "1.6.1", "KD0621"),
        (ServingIntent { backend: Backend::Mocker, ..nodes(16, 2) }, "1.6.1", "KD0621"),
        (quoted.clone(), "0.9.1", "KD0622"),
    ] {
        let error =
            plan_for_release(&intent, Release::find(version).expect("a release")).expect_err("refused");
        assert_eq!(error.code().map(MessageCode::as_str), Some(code), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
    assert!(plan_for_release(&quoted, Release::find("1.6.1").expect("a release")).is_ok(), "no shell there");
}

#[test]
fn json_logging_follows_the_cluster_unless_set_by_the_user() {
    let environment = |logging| RenderEnvironment {
        model: ModelLocation::Volume(kubectl_dynamo_core::plan::FetchPlacement::Job),
        logging,
    };
    let release = &CATALOG[0];
    let mut intent = default_intent();
    for (logging, env, expected) in [
        (Logging::Plain, None, None),
        (Logging::Json, None, Some("true")),
        (Logging::Json, Some("false"), Some("false")),
    ] {
        intent.placement.env =
            env.map(|value: &str| ("DYN_LOGGING_JSONL".into(), value.into())).into_iter().collect();
        let plan = plan(&intent, release, release.version, environment(logging)).expect("a plan");
        for component in &plan.components {
            assert_eq!(environment_value(component, "DYN_LOGGING_JSONL"), expected);
        }
    }
}

#[test]
fn logging_mode_is_read_from_a_live_graph() {
    use kubectl_dynamo_core::resources::{GraphApi, detect_logging, render};
    let release = &CATALOG[CATALOG.len() - 1];
    for api in [GraphApi::V1Alpha1, GraphApi::V1Beta1] {
        for expected in [Logging::Plain, Logging::Json] {
            let model = ModelLocation::Volume(kubectl_dynamo_core::plan::FetchPlacement::Job);
            let plan = plan(
                &default_intent(),
                release,
                release.version,
                RenderEnvironment { model, logging: expected },
            )
            .expect("a plan");
            let graph = render(&plan, "serving", api).pop().expect("a graph");
            assert_eq!(detect_logging(&graph.object), expected);
        }
    }
}

#[test]
fn user_variable_replaces_the_default() {
    let mut intent = with_router(Router::new(RouterMode::Kv));
    intent.placement.env = vec![("DYN_ROUTER_MODE".into(), "random".into()), ("A".into(), "1".into())];
    for release in CATALOG {
        let plan = plan_for_version(&intent, release.version);
        assert_eq!(
            environment_value(component(&plan, WorkerRole::Frontend), "DYN_ROUTER_MODE"),
            Some("random")
        );
    }
}
