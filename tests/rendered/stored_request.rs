//! A request that is stored in a graph and read back renders the same bytes, whatever its order: otherwise an
//! operator that hashes the workers would restart them. `PROPTEST_CASES` sets the number of requests.

use kubectl_dynamo_core::intent::request::{
    MergedSettings, SettingSource, SettingsLayer, find_field, live_layer,
};
use kubectl_dynamo_core::intent::{Backend, Fallback, ServingIntent, resolve};
use kubectl_dynamo_core::plan::{FetchPlacement, ModelLocation, plan};
use kubectl_dynamo_core::release::{CATALOG, Release};
use kubectl_dynamo_core::resources::{GraphApi, INTENT_ANNOTATION, RELEASE_ANNOTATION, render};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::case_count;

/// A field and its value, as one flag sets it.
type Assignment = (&'static str, Value);

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][a-z0-9]{0,3}",
        proptest::sample::select(vec!["A", "B", "Z", "a"]).prop_map(Into::into)
    ]
}

fn pair(path: &'static str) -> impl Strategy<Value = Assignment> {
    (word(), word()).prop_map(move |(key, value)| (path, serde_json::json!({ key: value })))
}

fn element(path: &'static str) -> impl Strategy<Value = Assignment> {
    word().prop_map(move |text| (path, serde_json::json!([text.to_lowercase()])))
}

/// Engine arguments; the same flag may occur several times, with other flags in between.
fn args(path: &'static str) -> impl Strategy<Value = Assignment> {
    let flags =
        ["--seed", "--max-model-len", "--enforce-eager", "--max_model_len=8", "--lora", "-1", "7", "x"];
    vec(proptest::sample::select(flags.to_vec()), 1..6).prop_map(move |args| (path, args.into()))
}

fn scalar() -> impl Strategy<Value = Assignment> {
    prop_oneof![
        (1u32..3).prop_map(|count| ("frontend.replicas", count.into())),
        (1u32..3).prop_map(|count| ("worker.replicas", count.into())),
        Just(("mode", "disagg".into())),
        Just(("router.mode", "kv".into())),
        (0u32..9).prop_map(|tenths| ("router.temperature", (f64::from(tenths) / 10.0).into())),
        Just(("router.kvEvents", false.into())),
        Just(("sharedMemory", "20Gi".into())),
        Just(("trustRemoteCode", true.into())),
        Just(("servedModelName", "name".into())),
        Just(("hfTokenSecret", "hf/token".into())),
        Just(("cache.claim", "shared".into())),
        Just(("cache.storageClass", "efs".into())),
        Just(("priorityClass", "high".into())),
        Just(("podSecurity", "restricted".into())),
        Just(("kvOffload.cpu", "20Gi".into())),
        Just(("kvOffload.disk", "200Gi".into())),
        Just(("kvOffload.diskVolume", "hostPath=/mnt".into())),
        Just(("revision", "v1".into())),
    ]
}

fn request(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Assignment>> {
    let assignment = prop_oneof![
        4 => pair("env"),
        1 => pair("labels"),
        1 => pair("annotations"),
        1 => pair("nodeSelector"),
        1 => element("tolerations"),
        1 => element("imagePullSecrets"),
        2 => scalar(),
    ];
    let all_args = (
        option::of(args("engineArgs")),
        option::weighted(0.2, args("prefill.args")),
        option::weighted(0.2, args("decode.args")),
    );
    (vec(assignment, count), all_args).prop_map(|(mut assignments, (all, prefill, decode))| {
        assignments.extend([all, prefill, decode].into_iter().flatten());
        assignments
    })
}

fn layer(source: SettingSource, assignments: &[Assignment]) -> SettingsLayer {
    let mut layer = SettingsLayer::new(source);
    for (path, value) in assignments {
        layer.set_json(find_field(path).expect("a field"), value).expect("a valid value");
    }
    layer
}

/// Resolves and renders the layers; `None` if the request is rejected.
fn rendered(layers: Vec<SettingsLayer>, release: &'static Release, api: GraphApi) -> Option<Vec<Value>> {
    let mut model = SettingsLayer::new(SettingSource::Default);
    model.set_json(find_field("model").expect("a field"), &"Qwen/Qwen3-0.6B".into()).expect("a model");
    let settings = MergedSettings::from_layers(layers.into_iter().chain([model]));
    let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length: 40 };
    let intent = resolve(&settings, &fallback).ok()?;
    let plan = plan(&intent, release, release.version, ModelLocation::Volume(FetchPlacement::Job)).ok()?;
    Some(render(&plan, "serving", api).into_iter().map(|resource| resource.object).collect())
}

/// The layer that the next `up` reads from the graph.
fn stored(objects: &[Value]) -> SettingsLayer {
    let annotations = &objects.last().expect("a graph")["metadata"]["annotations"];
    let text = annotations[INTENT_ANNOTATION].as_str().expect("the annotation");
    let intent: ServingIntent = serde_json::from_str(text).expect("a stored intent");
    live_layer(&intent, annotations[RELEASE_ANNOTATION].as_str())
}

/// Names of the environment variables of a request's own, as the graph stores them.
fn variables(objects: &[Value]) -> Vec<String> {
    let names = stored(objects).settings.into_iter().filter(|setting| setting.field.path == "env");
    names.filter_map(|setting| setting.key).collect()
}

#[test]
fn stored_request_renders_the_same_bytes() {
    let release = (0..CATALOG.len()).prop_map(|row| &CATALOG[row]);
    let api = prop_oneof![Just(GraphApi::V1Alpha1), Just(GraphApi::V1Beta1)];
    let requests = (request(0..12), request(0..3), request(0..6));
    let cases = case_count(1_000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let compared = std::cell::Cell::new(0u32);
    let result =
        TestRunner::new(config).run(&(requests, release, api), |((flags, config, change), release, api)| {
            let flag = |assignments: &[Assignment]| layer(SettingSource::Flag, assignments);
            let weaker = || layer(SettingSource::UserConfig("c".into()), &config);
            let Some(first) = rendered(vec![flag(&flags), weaker()], release, api) else { return Ok(()) };
            compared.set(compared.get() + 1);
            let again = |layers| rendered(layers, release, api);
            prop_assert_eq!(again(vec![stored(&first), weaker()]), Some(first.clone()));
            prop_assert_eq!(again(vec![stored(&first)]), Some(first.clone()));
            prop_assert_eq!(again(vec![flag(&flags), stored(&first), weaker()]), Some(first.clone()));
            let Some(second) = again(vec![flag(&change), stored(&first), weaker()]) else { return Ok(()) };
            prop_assert_eq!(again(vec![stored(&second), weaker()]), Some(second.clone()));
            prop_assert_eq!(again(vec![flag(&change), stored(&second)]), Some(second.clone()));
            let (old, new) = (variables(&first), variables(&second));
            prop_assert!(new.starts_with(&old) && new[old.len()..].is_sorted(), "{old:?} became {new:?}");
            prop_assert!(old.is_sorted(), "{old:?} is not sorted");
            Ok(())
        });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    assert!(compared.get() > cases / 10, "only {} requests were rendered", compared.get());
}
