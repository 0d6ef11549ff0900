//! Random intents: each one renders graphs that Dynamo's CRDs accept, with the same bytes each time, or is
//! rejected with a code and a fix. `PROPTEST_CASES` sets the number of intents (default: ten thousand).

use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::intent::{
    AccessMode, Backend, CaBundle, Cache, DiskTier, DiskVolume, KvOffload, ModelRef, OutputParsers,
    Parallelism, Placement, PodSecurity, Router, RouterMode, ServingIntent, TokenSecret, Toleration,
    TolerationEffect, Topology, WorkerGroup,
};
use kubectl_dynamo_core::plan::{FetchPlacement, Logging, ModelLocation, RenderEnvironment, plan};
use kubectl_dynamo_core::release::{CATALOG, Release};
use kubectl_dynamo_core::resources::{GraphApi, render};
use kubectl_dynamo_tests::kubernetes::definitions::StoredVersion;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::case_count;
use crate::schema::GraphSchema;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z][a-z0-9-]{0,12}[a-z0-9]",
        1 => "[ -~]{0,12}",
        1 => Just(String::new()),
        1 => "\\PC{0,6}",
    ]
}

fn size() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (1u32..2000, prop_oneof![Just("Gi"), Just("G"), Just("Ti"), Just("Mi"), Just("M"), Just("")])
            .prop_map(|(number, suffix)| format!("{number}{suffix}")),
        1 => "[0-9]{1,3}\\.[0-9]{1,3}Gi",
        1 => Just("0".to_owned()),
        1 => text(),
    ]
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    vec((prop_oneof![text(), Just("DYN_ROUTER_MODE".to_owned()), Just("HF_TOKEN".to_owned())], text()), 0..4)
}

/// Engine flags that a plan moves, replaces, or rejects.
const FLAGS: &[&str] =
    &["--migration-limit", "--migration_limit=3", "--connector", "--kv-transfer-config={}", "--no-such"];

fn group() -> impl Strategy<Value = WorkerGroup> {
    let number = || prop_oneof![5 => 1u32..9, 1 => Just(0), 1 => Just(16), 1 => Just(u32::MAX)];
    let flags = proptest::sample::select(FLAGS).prop_map(ToOwned::to_owned);
    let args = vec(prop_oneof![9 => text(), 2 => flags], 0..4);
    (0u32..4, number(), 1u32..4, 1u32..4, any::<bool>(), prop_oneof![4 => Just(1u32), 1 => 0u32..5], args)
        .prop_map(|(replicas, tensor, pipeline, data, expert, nodes, engine_args)| WorkerGroup {
            replicas,
            parallelism: Parallelism { tensor, pipeline, data, expert },
            nodes,
            engine_args,
        })
}

fn topology() -> impl Strategy<Value = Topology> {
    prop_oneof![
        group().prop_map(|worker| Topology::Aggregated { worker }),
        (group(), group()).prop_map(|(prefill, decode)| Topology::Disaggregated { prefill, decode }),
    ]
}

fn router() -> impl Strategy<Value = Router> {
    let mode = prop_oneof![Just(RouterMode::Kv), Just(RouterMode::RoundRobin), Just(RouterMode::Random)];
    let number = || {
        option::of(prop_oneof![Just(0.0), Just(0.5), any::<f64>().prop_filter("finite", |n| n.is_finite())])
    };
    (mode, number(), number(), any::<bool>()).prop_map(|(mode, temperature, overlap_weight, kv_events)| {
        Router { mode, temperature, overlap_weight, kv_events }
    })
}

fn offload() -> impl Strategy<Value = Option<KvOffload>> {
    let volume = prop_oneof![
        option::of(text()).prop_map(|storage_class| DiskVolume::Ephemeral { storage_class }),
        text().prop_map(|path| DiskVolume::HostPath { path }),
        text().prop_map(|name| DiskVolume::Pvc { name }),
    ];
    let disk = option::of((size(), volume).prop_map(|(size, volume)| DiskTier { size, volume }));
    option::of((size(), disk).prop_map(|(cpu, disk)| KvOffload { cpu, disk }))
}

fn placement() -> impl Strategy<Value = Placement> {
    let effect = prop_oneof![Just(TolerationEffect::NoSchedule), Just(TolerationEffect::NoExecute)];
    let toleration = (text(), option::of(text()), option::of(effect))
        .prop_map(|(key, value, effect)| Toleration { key, value, effect });
    let names = (option::of(text()), option::of(text()), option::of(text()), option::of(text()));
    let ca_bundle = option::of((text(), text()).prop_map(|(config_map, key)| CaBundle { config_map, key }));
    let pod_security = prop_oneof![Just(PodSecurity::Baseline), Just(PodSecurity::Restricted)];
    let image = option::of(prop_oneof![text(), Just("registry.test/vllm@sha256:00".to_owned())]);
    (
        names,
        vec(text(), 0..2),
        vec(toleration, 0..3),
        (pairs(), pairs(), pairs(), pairs(), pairs()),
        option::of(size()),
        image,
        (ca_bundle, pod_security),
    )
        .prop_map(|(names, image_pull_secrets, tolerations, pairs, shared_memory, image, further)| {
            Placement {
                image,
                fetcher_image: names.0,
                image_pull_secrets,
                node_selector: pairs.0,
                tolerations,
                priority_class: names.1,
                service_account: names.2,
                pod_security: further.1,
                labels: pairs.1,
                annotations: pairs.2,
                env: pairs.3,
                fetcher_env: pairs.4,
                ca_bundle: further.0,
                shared_memory,
            }
        })
}

fn cache() -> impl Strategy<Value = Cache> {
    prop_oneof![
        text().prop_map(|pvc| Cache::Existing { pvc }),
        (text(), size(), option::of(text())).prop_map(|(pvc, size, storage_class)| Cache::Managed {
            pvc,
            size,
            storage_class,
            access_mode: AccessMode::ReadWriteMany,
        }),
    ]
}

/// A parser that every release has, one that a few releases have, one that none has, or no parser.
fn parser() -> impl Strategy<Value = Option<String>> {
    option::of(prop_oneof![Just("none".to_owned()), Just("mistral".into()), Just("glm45".into()), text()])
}

fn intent() -> impl Strategy<Value = ServingIntent> {
    let repository =
        prop_oneof![Just("Qwen/Qwen3-0.6B".to_owned()), "[a-zA-Z0-9]{1,20}/[a-zA-Z0-9._-]{1,40}"];
    let model = (repository, option::of("[a-z0-9./-]{1,12}"))
        .prop_map(|(repository, revision)| ModelRef::Hub { repository, revision });
    let served = option::of(text());
    let backend = prop_oneof![Just(Backend::Vllm), Just(Backend::Mocker)];
    let secret = option::of(Just(TokenSecret::default()));
    let parsers =
        (parser(), parser()).prop_map(|(tool_call, reasoning)| OutputParsers { tool_call, reasoning });
    let first = (text(), model, served, backend, secret, any::<bool>(), parsers);
    (first, topology(), router(), offload(), vec(text(), 0..3), cache(), placement(), 0u32..3).prop_map(
        |(
            (name, model, served, backend, token_secret, trust_remote_code, parsers),
            topology,
            router,
            kv_offload,
            engine_args,
            cache,
            placement,
            frontend_replicas,
        )| {
            ServingIntent {
                name,
                served_model_name: served.unwrap_or_else(|| model.default_served_name()),
                model,
                trust_remote_code,
                backend,
                topology,
                router,
                parsers,
                frontend_replicas,
                kv_offload,
                engine_args,
                cache,
                token_secret,
                placement,
            }
        },
    )
}

fn release() -> impl Strategy<Value = &'static Release> {
    (0..CATALOG.len()).prop_map(|row| &CATALOG[row])
}

#[test]
fn random_intents_render_valid_graphs_or_fail_with_a_code() {
    // Without optimization, the strategies for intents need more than a test's stack.
    let thread =
        std::thread::Builder::new().stack_size(64 << 20).spawn(try_random_intents).expect("a thread");
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn try_random_intents() {
    let schemas = [
        (GraphApi::V1Alpha1, GraphSchema::from_definition("0.9.1", StoredVersion::V1Alpha1, "v1alpha1")),
        (
            GraphApi::V1Beta1,
            GraphSchema::from_definition("1.5.0-main-20260821", StoredVersion::V1Beta1, "v1beta1"),
        ),
    ];
    let newer = GraphSchema::from_definition("1.4.0-main-20260730", StoredVersion::V1Alpha1, "v1alpha1");
    let logging = prop_oneof![Just(Logging::Plain), Just(Logging::Json)];
    let cases = case_count(10_000);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let rendered = std::cell::Cell::new(0u32);
    let result =
        TestRunner::new(config).run(&(intent(), release(), logging), |(intent, release, logging)| {
            let environment =
                RenderEnvironment { model: ModelLocation::Volume(FetchPlacement::Job), logging };
            let plan = match plan(&intent, release, release.version, environment) {
                Ok(plan) => plan,
                Err(error) => {
                    prop_assert!(error.code().is_some() && error.hint().is_some(), "{error}");
                    return Ok(());
                }
            };
            rendered.set(rendered.get() + 1);
            for (api, schema) in &schemas {
                let objects = render(&plan, "serving", *api);
                prop_assert_eq!(&objects, &render(&plan, "serving", *api));
                let graph = &objects.last().expect("a graph is rendered last").object;
                // The field for images without a version was added to v1alpha1 after that CRD.
                let overridden =
                    graph["spec"]["services"]["frontend"].get("runtimeVersionOverride").is_some();
                let schema = if overridden { &newer } else { schema };
                prop_assert_eq!(schema.first_violation(graph), None);
            }
            Ok(())
        });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    assert!(rendered.get() > cases / 4, "only {} intents were rendered", rendered.get());
}
