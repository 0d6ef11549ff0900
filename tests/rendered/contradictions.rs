//! Invalid requests are rejected before anything runs, with a stable code and a fix. Questionable ones cause
//! a warning.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::fit::check_parallelism;
use kubectl_dynamo_core::intent::{
    DiskTier, DiskVolume, KvOffload, OutputParsers, Parallelism, Placement, PodSecurity, Router, RouterMode,
    ServingIntent, Topology, WorkerGroup, WorkerRole,
};
use kubectl_dynamo_core::plan::{FetchPlacement, ModelLocation};
use kubectl_dynamo_core::plan::{PlanError, PlanWarning, ServingPlan, plan};
use kubectl_dynamo_core::release::{CATALOG, Release};
use kubectl_dynamo_tests::intents::{default_intent, plan_for_release};
use serde_json::json;

fn to_strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn with_engine_args(args: &[&str]) -> ServingIntent {
    ServingIntent { engine_args: to_strings(args), ..default_intent() }
}

fn disaggregated(prefill: WorkerGroup, decode: WorkerGroup) -> ServingIntent {
    ServingIntent { topology: Topology::Disaggregated { prefill, decode }, ..default_intent() }
}

fn parallel_group(tensor: u32, pipeline: u32, data: u32) -> WorkerGroup {
    let parallelism = Parallelism { tensor, pipeline, data, expert: false };
    WorkerGroup { parallelism, ..WorkerGroup::default() }
}

fn with_offload(intent: ServingIntent) -> ServingIntent {
    ServingIntent { kv_offload: Some(KvOffload { cpu: "20Gi".into(), disk: None }), ..intent }
}

/// A disk tier in a folder of the node, in pods of this Pod Security Standard.
fn with_disk_on_the_node(pod_security: PodSecurity) -> ServingIntent {
    let volume = DiskVolume::HostPath { path: "/mnt/nvme".into() };
    let disk = Some(DiskTier { size: "200Gi".into(), volume });
    ServingIntent {
        kv_offload: Some(KvOffload { cpu: "20Gi".into(), disk }),
        placement: Placement { pod_security, ..Placement::default() },
        ..default_intent()
    }
}

fn with_tool_call_parser(name: &str, intent: ServingIntent) -> ServingIntent {
    ServingIntent { parsers: OutputParsers { tool_call: Some(name.into()), reasoning: None }, ..intent }
}

fn with_kv_router(intent: ServingIntent) -> ServingIntent {
    ServingIntent { router: Router::new(RouterMode::Kv), ..intent }
}

#[track_caller]
fn plan_error(intent: &ServingIntent, version: &str) -> PlanError {
    let error =
        plan_for_release(intent, Release::find(version).expect("a release")).expect_err("it is rejected");
    assert!(error.code().is_some() && error.hint().is_some(), "{error}");
    error
}

#[test]
fn pods_without_a_security_context_can_have_a_disk_tier_on_the_node() {
    let release = Release::find("1.6.1").expect("a release");
    assert!(plan_for_release(&with_disk_on_the_node(PodSecurity::Baseline), release).is_ok());
}

#[test]
fn each_contradiction_has_a_code() {
    for (intent, version, code, message) in [
        (with_engine_args(&["--max-model-length=1"]), "1.6.1", "KD0627", "flag --max-model-length"),
        (with_disk_on_the_node(PodSecurity::Restricted), "1.6.1", "KD0007", "only the standard privileged"),
        (with_engine_args(&["--connector", "kvbm"]), "1.6.1", "KD0626", "does not support --connector"),
        (with_engine_args(&["--connector", "mooncake"]), "0.9.1", "KD0626", "\"mooncake\""),
        (with_offload(with_engine_args(&["--connector", "lmcache"])), "0.9.1", "KD0601", "--kv-offload"),
        (with_offload(with_engine_args(&["--kv-transfer-config={}"])), "1.3.1", "KD0601", "--kv-offload"),
        (
            with_kv_router(with_engine_args(&["--no-enable-prefix-caching"])),
            "1.6.1",
            "KD0601",
            "--router-mode kv",
        ),
        (
            disaggregated(parallel_group(3, 1, 1), parallel_group(2, 1, 1)),
            "1.6.1",
            "KD0625",
            "prefill (3) and decode (2)",
        ),
        (
            with_offload(ServingIntent {
                topology: Topology::Aggregated { worker: parallel_group(1, 1, 2) },
                ..default_intent()
            }),
            "1.6.1",
            "KD0620",
            "data parallelism (worker has --dp 2)",
        ),
    ] {
        let error = plan_error(&intent, version);
        assert_eq!(error.code().map(MessageCode::as_str), Some(code), "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    let mut groups = [parallel_group(1, 1, 1), parallel_group(1, 1, 1)];
    groups[1].engine_args = to_strings(&["--kv-cache-dtype", "fp8"]);
    let [prefill, decode] = groups;
    assert_eq!(
        plan_error(&disaggregated(prefill, decode), "1.5.1").code().map(MessageCode::as_str),
        Some("KD0625")
    );
}

#[test]
fn unknown_parser_is_rejected_with_the_nearest_name_and_the_releases_that_have_it() {
    for (intent, version, message, hint) in [
        (
            with_tool_call_parser("hermess", default_intent()),
            "1.6.1",
            "Dynamo 1.6.1 does not have the tool-call parser \"hermess\"",
            "did you mean --tool-call-parser hermes?",
        ),
        (
            with_tool_call_parser("glm45", default_intent()),
            "1.5.1",
            "Dynamo 1.5.1 does not have the tool-call parser \"glm45\" (Dynamo 1.6.1 has it)",
            "did you mean --tool-call-parser glm47?",
        ),
        (
            with_tool_call_parser("qwen25", default_intent()),
            "0.9.1",
            "Dynamo 0.9.1 does not have the tool-call parser \"qwen25\" (Dynamo 1.2.1 to 1.6.1 have it)",
            "use --tool-call-parser with one of: none deepseek_v3",
        ),
        (
            with_engine_args(&["--dyn-reasoning-parser=qwen4"]),
            "1.6.1",
            "Dynamo 1.6.1 does not have the reasoning parser \"qwen4\"",
            "did you mean --reasoning-parser qwen3?",
        ),
        (
            with_engine_args(&["--reasoning-parser", "gpt_oss"]),
            "1.6.1",
            "Dynamo 1.6.1 does not have the reasoning parser of vLLM \"gpt_oss\"",
            "use -- --reasoning-parser with one of: cohere_command3",
        ),
    ] {
        let error = plan_error(&intent, version);
        assert_eq!(error.code().map(MessageCode::as_str), Some("KD0720"), "{error}");
        assert_eq!(error.to_string(), message);
        assert!(error.hint().is_some_and(|fix| fix.to_string().starts_with(hint)), "{:?}", error.hint());
    }
    let twice = with_tool_call_parser("hermes", with_engine_args(&["--dyn-tool-call-parser", "qwen25"]));
    assert_eq!(plan_error(&twice, "1.6.1").code().map(MessageCode::as_str), Some("KD0601"));
}

#[test]
fn unknown_parser_is_a_warning_for_custom_images() {
    let newest = &CATALOG[CATALOG.len() - 1];
    let mut intent = with_tool_call_parser("brand_new", default_intent());
    intent.placement.image = Some("registry.example/mine:7".into());
    let warnings = plan_for_release(&intent, newest).expect("a plan").warnings;
    let codes: Vec<&str> = warnings.iter().map(|warning| warning.code().as_str()).collect();
    assert_eq!(codes, ["KD0720"]);
    let with_plugin = ["--reasoning-parser", "mine", "--reasoning-parser-plugin", "/opt/mine.py"];
    assert_eq!(
        plan_for_release(&with_engine_args(&with_plugin), newest).map(|plan| plan.warnings),
        Ok(vec![])
    );
}

#[test]
fn mistyped_engine_flag_gets_a_suggestion() {
    let error = plan_error(&with_engine_args(&["--gpu-memory-utilisation=0.9"]), "1.6.1");
    assert!(
        error.hint().is_some_and(|hint| hint.to_string().contains("--gpu-memory-utilization")),
        "{error}"
    );
}

#[test]
fn unknown_flags_are_warnings_for_custom_images_and_unknown_releases() {
    let newest = &CATALOG[CATALOG.len() - 1];
    let mut custom_image = with_engine_args(&["--brand-new-flag"]);
    custom_image.placement.image = Some("registry.example/mine:7".into());
    let plan_as = |intent: &ServingIntent, version: &str| -> ServingPlan {
        plan(intent, newest, version, ModelLocation::Volume(FetchPlacement::Job)).expect("a plan")
    };
    let unknown = PlanWarning::UnknownEngineFlag { release: newest.version, flag: "--brand-new-flag".into() };
    assert_eq!(plan_as(&custom_image, newest.version).warnings, std::slice::from_ref(&unknown));
    let newer = plan_as(&with_engine_args(&["--brand-new-flag"]), "1.99.0");
    let unknown_release = PlanWarning::UnknownRelease { version: "1.99.0".into(), release: newest.version };
    assert_eq!(newer.warnings, [unknown_release, unknown]);
    assert_eq!(newer.image, "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.99.0");
}

#[test]
fn warns_about_single_worker_router_and_pipeline_kv_transfer() {
    let newest = &CATALOG[CATALOG.len() - 1];
    let warnings_of = |intent: &ServingIntent| plan_for_release(intent, newest).expect("a plan").warnings;
    assert_eq!(
        warnings_of(&with_kv_router(default_intent())),
        [PlanWarning::SingleWorkerKvRouter { component: "worker" }]
    );
    let two = Topology::Aggregated { worker: WorkerGroup { replicas: 2, ..WorkerGroup::default() } };
    assert_eq!(warnings_of(&with_kv_router(ServingIntent { topology: two, ..default_intent() })), []);
    let pair = with_kv_router(disaggregated(parallel_group(1, 1, 1), parallel_group(1, 1, 1)));
    assert_eq!(warnings_of(&pair), [PlanWarning::SingleWorkerKvRouter { component: "prefill worker" }]);
    assert_eq!(
        warnings_of(&disaggregated(parallel_group(1, 2, 1), parallel_group(1, 1, 1))),
        [PlanWarning::PipelineKvTransfer { component: "prefill" }]
    );
    assert_eq!(warnings_of(&disaggregated(parallel_group(2, 1, 1), parallel_group(4, 1, 1))), []);
}

#[test]
fn custom_kv_connector_replaces_the_default() {
    let custom_connector = r#"{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}"#;
    let intent = ServingIntent {
        engine_args: to_strings(&["--kv-transfer-config", custom_connector]),
        ..disaggregated(parallel_group(1, 1, 1), parallel_group(1, 1, 1))
    };
    let args = |version: &str| -> Vec<String> {
        let plan = plan_for_release(&intent, Release::find(version).expect("a release")).expect("a plan");
        let prefill = plan.components.into_iter().find(|one| one.role == WorkerRole::Prefill);
        prefill.expect("a prefill worker").args
    };
    let count = |args: &[String], flag: &str| args.iter().filter(|arg| *arg == flag).count();
    let newest = args("1.6.1");
    assert_eq!(
        (count(&newest, "--kv-transfer-config"), count(&newest, custom_connector)),
        (1, 1),
        "{newest:?}"
    );
    let oldest = args("0.9.1");
    let position = oldest.iter().position(|arg| arg == "--connector").expect("the default is none");
    assert_eq!((oldest[position + 1].as_str(), count(&oldest, custom_connector)), ("none", 1), "{oldest:?}");
    // The spelling of 0.9.1, only with the user's flags.
    let intent = ServingIntent { engine_args: to_strings(&["--connector", "lmcache"]), ..default_intent() };
    let plan = plan_for_release(&intent, &CATALOG[0]).expect("a plan");
    let worker = &plan.components[1].args;
    assert_eq!(count(worker, "--connector"), 1, "{worker:?}");
}

#[test]
fn rejects_parallelism_that_the_model_config_does_not_allow() {
    let config = json!({
        "architectures": ["Qwen3ForCausalLM"], "hidden_size": 2560, "intermediate_size": 9728,
        "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "head_dim": 128,
        "vocab_size": 151_936, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    });
    let with_worker =
        |worker: WorkerGroup| ServingIntent { topology: Topology::Aggregated { worker }, ..default_intent() };
    let expert = Parallelism { expert: true, ..Parallelism::default() };
    for (worker, code) in [
        (parallel_group(3, 1, 1), Some("KD0607")),
        (parallel_group(1, 64, 1), Some("KD0629")),
        (WorkerGroup { parallelism: expert, ..WorkerGroup::default() }, Some("KD0629")),
        (parallel_group(4, 1, 1), None),
    ] {
        let error = check_parallelism(&config, &with_worker(worker)).err();
        assert_eq!(error.as_ref().and_then(Explain::code).map(MessageCode::as_str), code, "{error:?}");
        assert!(error.is_none_or(|error| error.hint().is_some()));
    }
    assert_eq!(
        check_parallelism(
            &json!({ "architectures": ["NewForCausalLM"] }),
            &with_worker(parallel_group(3, 1, 1))
        ),
        Ok(())
    );
}
