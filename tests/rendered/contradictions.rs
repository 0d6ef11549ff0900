//! What cannot be is refused before anything runs, with a permanent code and a way out; and what can be and had better not
//! is told.

use kubectl_dynamo::error::Explain;
use kubectl_dynamo::fit::check_shape;
use kubectl_dynamo::intent::{
    KvOffload, Parallelism, Router, RouterMode, ServingIntent, Topology, WorkerGroup, WorkerRole,
};
use kubectl_dynamo::plan::{FetchPlacement, ModelPlace};
use kubectl_dynamo::plan::{PlanError, PlanWarning, ServingPlan, plan};
use kubectl_dynamo::release::{CATALOG, Release};
use kubectl_dynamo_tests::cells::{planned, wish};
use serde_json::json;

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn with_args(args: &[&str]) -> ServingIntent {
    ServingIntent { engine_args: words(args), ..wish() }
}

fn apart(prefill: WorkerGroup, decode: WorkerGroup) -> ServingIntent {
    ServingIntent { topology: Topology::Disaggregated { prefill, decode }, ..wish() }
}

fn spread(tensor: u32, pipeline: u32, data: u32) -> WorkerGroup {
    let parallelism = Parallelism { tensor, pipeline, data, expert: false };
    WorkerGroup { parallelism, ..WorkerGroup::default() }
}

fn offloading(intent: ServingIntent) -> ServingIntent {
    ServingIntent { kv_offload: Some(KvOffload { cpu: "20Gi".into(), disk: None }), ..intent }
}

fn routed(intent: ServingIntent) -> ServingIntent {
    ServingIntent { router: Router::of(RouterMode::Kv), ..intent }
}

#[track_caller]
fn refused(intent: &ServingIntent, version: &str) -> PlanError {
    let refused = planned(intent, Release::find(version).expect("a release")).expect_err("it is refused");
    assert!(refused.code().is_some() && refused.hint().is_some(), "{refused}");
    refused
}

#[test]
fn each_has_a_code() {
    for (intent, version, code, said) in [
        (with_args(&["--max-model-length=1"]), "1.6.1", "KD0627", "`--max-model-length`"),
        (with_args(&["--connector", "kvbm"]), "1.6.1", "KD0626", "has no `--connector`"),
        (with_args(&["--connector", "mooncake"]), "0.9.1", "KD0626", "`mooncake`"),
        (offloading(with_args(&["--connector", "lmcache"])), "0.9.1", "KD0601", "--kv-offload"),
        (offloading(with_args(&["--kv-transfer-config={}"])), "1.3.1", "KD0601", "--kv-offload"),
        (routed(with_args(&["--no-enable-prefix-caching"])), "1.6.1", "KD0601", "--router-mode kv"),
        (apart(spread(3, 1, 1), spread(2, 1, 1)), "1.6.1", "KD0625", "3 and 2"),
        (
            offloading(ServingIntent {
                topology: Topology::Aggregated { worker: spread(1, 1, 2) },
                ..wish()
            }),
            "1.6.1",
            "KD0620",
            "copies",
        ),
    ] {
        let refused = refused(&intent, version);
        assert_eq!(refused.code(), Some(code), "{refused}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    let mut halves = [spread(1, 1, 1), spread(1, 1, 1)];
    halves[1].engine_args = words(&["--kv-cache-dtype", "fp8"]);
    let [prefill, decode] = halves;
    assert_eq!(refused(&apart(prefill, decode), "1.5.1").code(), Some("KD0625"));
}

#[test]
fn a_mistyped_flag_has_the_one_that_was_meant() {
    let refused = refused(&with_args(&["--gpu-memory-utilisation=0.9"]), "1.6.1");
    assert!(refused.hint().is_some_and(|hint| hint.contains("--gpu-memory-utilization")), "{refused}");
}

#[test]
fn an_image_of_ones_own_is_believed_and_so_is_a_release_that_is_only_stood_in_for() {
    let newest = &CATALOG[CATALOG.len() - 1];
    let mut own = with_args(&["--brand-new-flag"]);
    own.placement.image = Some("registry.example/mine:7".into());
    let told = |intent: &ServingIntent, version: &str| -> ServingPlan {
        plan(intent, newest, version, ModelPlace::Volume(FetchPlacement::Job)).expect("a plan")
    };
    let unknown = PlanWarning::UnknownEngineFlag { release: newest.version, flag: "--brand-new-flag".into() };
    assert_eq!(told(&own, newest.version).warnings, std::slice::from_ref(&unknown));
    let newer = told(&with_args(&["--brand-new-flag"]), "1.99.0");
    let stands_in = PlanWarning::StandIn { version: "1.99.0".into(), release: newest.version };
    assert_eq!(newer.warnings, [stands_in, unknown]);
    assert_eq!(newer.image, "nvcr.io/nvidia/ai-dynamo/vllm-runtime:1.99.0");
}

#[test]
fn a_router_with_one_worker_and_stages_that_hand_over_are_told() {
    let newest = &CATALOG[CATALOG.len() - 1];
    let told = |intent: &ServingIntent| planned(intent, newest).expect("a plan").warnings;
    assert_eq!(told(&routed(wish())), [PlanWarning::OneWorker { component: "worker" }]);
    let two = Topology::Aggregated { worker: WorkerGroup { replicas: 2, ..WorkerGroup::default() } };
    assert_eq!(told(&routed(ServingIntent { topology: two, ..wish() })), []);
    let pair = routed(apart(spread(1, 1, 1), spread(1, 1, 1)));
    assert_eq!(told(&pair), [PlanWarning::OneWorker { component: "prefill worker" }]);
    assert_eq!(
        told(&apart(spread(1, 2, 1), spread(1, 1, 1))),
        [PlanWarning::StagesHandOver { component: "prefill" }]
    );
    assert_eq!(told(&apart(spread(2, 1, 1), spread(4, 1, 1))), []);
}

#[test]
fn a_connector_of_ones_own_takes_the_place_of_ours() {
    let own = r#"{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"}"#;
    let intent = ServingIntent {
        engine_args: words(&["--kv-transfer-config", own]),
        ..apart(spread(1, 1, 1), spread(1, 1, 1))
    };
    let args = |version: &str| -> Vec<String> {
        let plan = planned(&intent, Release::find(version).expect("a release")).expect("a plan");
        let prefill = plan.components.into_iter().find(|one| one.role == WorkerRole::Prefill);
        prefill.expect("a prefill worker").args
    };
    let times = |args: &[String], flag: &str| args.iter().filter(|arg| *arg == flag).count();
    let newest = args("1.6.1");
    assert_eq!((times(&newest, "--kv-transfer-config"), times(&newest, own)), (1, 1), "{newest:?}");
    let oldest = args("0.9.1");
    let place = oldest.iter().position(|arg| arg == "--connector").expect("ours says none");
    assert_eq!((oldest[place + 1].as_str(), times(&oldest, own)), ("none", 1), "{oldest:?}");
    // 0.9.1's own spelling, in the person's words alone.
    let intent = ServingIntent { engine_args: words(&["--connector", "lmcache"]), ..wish() };
    let plan = planned(&intent, &CATALOG[0]).expect("a plan");
    let worker = &plan.components[1].args;
    assert_eq!(times(worker, "--connector"), 1, "{worker:?}");
}

#[test]
fn what_the_models_own_configuration_forbids_is_refused() {
    let config = json!({
        "architectures": ["Qwen3ForCausalLM"], "hidden_size": 2560, "intermediate_size": 9728,
        "num_attention_heads": 32, "num_hidden_layers": 36, "num_key_value_heads": 8, "head_dim": 128,
        "vocab_size": 151_936, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
    });
    let of = |worker: WorkerGroup| ServingIntent { topology: Topology::Aggregated { worker }, ..wish() };
    let expert = Parallelism { expert: true, ..Parallelism::default() };
    for (worker, code) in [
        (spread(3, 1, 1), Some("KD0607")),
        (spread(1, 64, 1), Some("KD0629")),
        (WorkerGroup { parallelism: expert, ..WorkerGroup::default() }, Some("KD0629")),
        (spread(4, 1, 1), None),
    ] {
        let refused = check_shape(&config, &of(worker)).err();
        assert_eq!(refused.as_ref().and_then(Explain::code), code, "{refused:?}");
        assert!(refused.is_none_or(|refused| refused.hint().is_some()));
    }
    assert_eq!(check_shape(&json!({ "architectures": ["NewForCausalLM"] }), &of(spread(3, 1, 1))), Ok(()));
}
