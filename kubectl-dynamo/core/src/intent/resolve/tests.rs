//! Tests of resolving settings layers to an intent: precedence, contradictions, and sources.
//! They do not use a cluster, a release, or files.

use super::*;
use crate::intent::Topology;
use crate::intent::request::{SettingsLayer, flatten, to_document};

fn layer(source: SettingSource, assignments: &[&str]) -> SettingsLayer {
    let mut layer = SettingsLayer::new(source);
    for assignment in assignments {
        layer.set(assignment).expect("a valid assignment");
    }
    layer
}

fn fallback() -> Fallback {
    Fallback { model: None, backend: Backend::Vllm, max_name_length: 45 }
}

fn resolve_layers(layers: impl IntoIterator<Item = SettingsLayer>) -> Result<ServingIntent, IntentError> {
    resolve(&MergedSettings::from_layers(layers), &fallback())
}

fn resolve_flags(assignments: &[&str]) -> Result<ServingIntent, IntentError> {
    resolve_layers([layer(SettingSource::Set, &["model=a/b"]), layer(SettingSource::Set, assignments)].map(
        |mut layer| {
            layer.source = SettingSource::Flag;
            layer
        },
    ))
}

fn live_layer(intent: &ServingIntent) -> SettingsLayer {
    SettingsLayer { source: SettingSource::Live(intent.name.clone()), settings: intent_settings(intent) }
}

const RICH_REQUEST: &[&str] = &[
    "mode=disagg",
    "prefill.tensorParallelSize=2",
    "decode.replicas=3",
    "worker.nodes=2",
    "worker.enableExpertParallel=true",
    "router.mode=kv",
    "router.temperature=0.5",
    "router.kvEvents=false",
    "kvOffload.cpu=20Gi",
    "kvOffload.disk=200Gi",
    "kvOffload.diskVolume=hostPath=/mnt/nvme",
    "cache.size=1Ti",
    "tolerations=team=search:NoSchedule",
    "labels.team=search",
    "hfTokenSecret=hf/token",
    "engineArgs=--max-model-len 8192",
    "decode.args=--seed=1",
    "revision=main",
];

#[test]
fn intent_round_trips_through_settings() {
    for assignments in [
        &[][..],
        RICH_REQUEST,
        &["cache.claim=models", "image=registry.example/x:1"],
        &["podSecurity=restricted"],
    ] {
        let intent = resolve_flags(assignments).expect("a valid request");
        assert_eq!(resolve_layers([live_layer(&intent)]).expect("a valid request"), intent);
        let file = to_document(&intent_settings(&intent));
        let reread = flatten(&file, SettingSource::File("request.yaml".into()), &[]).expect("a request");
        assert_eq!(resolve_layers([reread]).expect("a valid request"), intent);
    }
}

#[test]
fn flag_on_a_live_deployment_changes_only_its_setting() {
    let before = resolve_flags(RICH_REQUEST).expect("a valid request");
    let after = resolve_layers([live_layer(&before), layer(SettingSource::Flag, &["decode.replicas=5"])])
        .expect("a valid request");
    let Topology::Disaggregated { decode, .. } = &before.topology else { panic!("disaggregated") };
    let mut expected = before.clone();
    expected.topology = match before.topology.clone() {
        Topology::Disaggregated { prefill, .. } => Topology::Disaggregated {
            prefill,
            decode: crate::intent::WorkerGroup { replicas: 5, ..decode.clone() },
        },
        other => other,
    };
    assert_eq!(after, expected);
}

#[test]
fn worker_flag_overrides_lower_precedence_role_settings() {
    let before = resolve_flags(RICH_REQUEST).expect("a valid request");
    let after =
        resolve_layers([live_layer(&before), layer(SettingSource::Flag, &["worker.tensorParallelSize=8"])])
            .expect("a valid request");
    assert!(after.topology.groups().iter().all(|(_, group)| group.parallelism.tensor == 8));
}

#[test]
fn changing_mode_drops_settings_of_the_previous_mode() {
    let disaggregated = resolve_flags(RICH_REQUEST).expect("a valid request");
    let aggregated = resolve_layers([live_layer(&disaggregated), layer(SettingSource::Flag, &["mode=agg"])])
        .expect("a valid request");
    assert_eq!(aggregated.topology.mode(), "agg");
    let result = resolve_layers([
        live_layer(&disaggregated),
        layer(SettingSource::Flag, &["mode=agg", "decode.replicas=2"]),
    ]);
    assert_eq!(result, Err(IntentError::WrongMode { flag: "--decode-replicas".into(), mode: "disagg" }));
}

#[test]
fn revision_flag_replaces_revision_of_live_model() {
    let before = resolve_flags(&["revision=v1"]).expect("a valid request");
    let after = resolve_layers([live_layer(&before), layer(SettingSource::Flag, &["revision=v2"])])
        .expect("a valid request");
    assert_eq!(after.model.to_string(), "a/b@v2");
    let other = resolve_layers([live_layer(&before), layer(SettingSource::Flag, &["model=c/d"])])
        .expect("a valid request");
    assert_eq!(other.model.to_string(), "c/d");
}

#[test]
fn contradictions_name_the_source_of_each_setting() {
    let file = |assignments| layer(SettingSource::File("request.yaml".into()), assignments);
    let error_message =
        |layers: Vec<SettingsLayer>| resolve_layers(layers).expect_err("a contradiction").to_string();
    for (assignments, message) in [
        (
            &["model=a/b", "router.temperature=1"][..],
            "router.temperature in request.yaml requires --router-mode kv",
        ),
        (
            &["model=a/b", "kvOffload.disk=1Gi"],
            "kvOffload.disk in request.yaml requires --kv-offload cpu=20Gi",
        ),
        (
            &["model=a/b", "kvOffload.cpu=1Gi", "kvOffload.diskVolume=ephemeral"],
            "kvOffload.diskVolume in request.yaml requires --kv-offload cpu=20Gi,disk=200Gi",
        ),
        (
            &["model=a/b", "mode=disagg", "worker.replicas=2"],
            "worker.replicas in request.yaml can only be used with --mode agg",
        ),
        (&["model=a/b", "frontend.replicas=0"], "frontend.replicas in request.yaml must be at least 1"),
        (
            &["model=a/b", "kvOffload.cpu=1Gi", "kvOffload.disk=1Gi", "kvOffload.diskVolume=nvme"],
            "invalid value for kvOffload.diskVolume in request.yaml: \"nvme\" is not one of ephemeral, ephemeral=CLASS, hostPath=PATH, or pvc=NAME",
        ),
        (
            &["model=a/b", "priorityClass=High Class"],
            "invalid name \"High Class\" for priorityClass in request.yaml",
        ),
    ] {
        assert_eq!(error_message(vec![file(assignments)]), message);
    }
    let both =
        vec![file(&["model=a/b", "cache.claim=models"]), layer(SettingSource::Flag, &["cache.size=1Gi"])];
    assert_eq!(
        error_message(both),
        "--cache-size and cache.claim in request.yaml cannot be used together: an existing PVC keeps its size, storage class, and access mode"
    );
}

#[test]
fn token_in_env_is_rejected_from_every_source_and_not_printed() {
    for source in [
        SettingSource::Flag,
        SettingSource::Set,
        SettingSource::File("f".into()),
        SettingSource::UserConfig("c".into()),
    ] {
        let error =
            resolve_layers([layer(source, &["model=a/b", "env.HF_TOKEN=hf_secret"])]).expect_err("a token");
        assert!(matches!(error, IntentError::TokenInEnvironment { .. }));
        let text = error.to_string();
        assert!(text.contains("HF_TOKEN") && !text.contains("hf_secret"), "{text}");
    }
}

#[test]
fn kv_offload_none_disables_all_tiers() {
    let before = resolve_flags(RICH_REQUEST).expect("a valid request");
    let after = resolve_layers([live_layer(&before), layer(SettingSource::Flag, &["kvOffload.cpu=none"])])
        .expect("a valid request");
    assert_eq!(after.kv_offload, None);
}

#[test]
fn sources_reports_the_source_of_every_value() {
    let before = resolve_flags(RICH_REQUEST).expect("a valid request");
    let flags = layer(
        SettingSource::Flag,
        &["decode.replicas=5", "worker.tensorParallelSize=8", "decode.args=--top=1"],
    );
    let merged = MergedSettings::from_layers([live_layer(&before), flags]);
    let intent = resolve(&merged, &fallback()).expect("a valid request");
    let shown = sources(&merged, &intent);
    for (path, source) in [
        ("decode.replicas", "flag"),
        ("prefill.tensorParallelSize", "flag"),
        ("prefill.replicas", "live object"),
        ("decode.args[--seed]", "live object"),
        ("decode.args[--top]", "flag"),
        ("labels.team", "live object"),
    ] {
        let found = shown.iter().find(|(known, ..)| known == path).map(|(.., source)| source.to_string());
        assert_eq!(found.as_deref(), Some(source), "{path}");
    }
    let intent_with_defaults = resolve_flags(&[]).expect("a valid request");
    let shown = sources(
        &MergedSettings::from_layers([layer(SettingSource::Flag, &["model=a/b"])]),
        &intent_with_defaults,
    );
    let default = shown.iter().find(|(path, ..)| path == "router.mode");
    assert_eq!(default.map(|(.., source)| source), Some(&SettingSource::Default));
}
