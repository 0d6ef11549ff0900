//! What is said in layers, and the wish it becomes.

use super::*;
use crate::intent::Topology;
use crate::intent::request::{Layer, document, flatten};

fn layer(source: Source, said: &[&str]) -> Layer {
    let mut layer = Layer::of(source);
    for assignment in said {
        layer.set(assignment).expect("a field and a value");
    }
    layer
}

fn fallback() -> Fallback {
    Fallback { model: None, backend: Backend::Vllm, name_length: 45 }
}

fn wish(layers: impl IntoIterator<Item = Layer>) -> Result<ServingIntent, IntentError> {
    resolve(&Merged::of(layers), &fallback())
}

fn said(words: &[&str]) -> Result<ServingIntent, IntentError> {
    wish([layer(Source::Set, &["model=a/b"]), layer(Source::Set, words)].map(|mut layer| {
        layer.source = Source::Flag;
        layer
    }))
}

fn live(intent: &ServingIntent) -> Layer {
    Layer { source: Source::Live(intent.name.clone()), leaves: intent_leaves(intent) }
}

const RICH: &[&str] = &[
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
fn a_wish_said_back_is_the_same_wish() {
    for words in [&[][..], RICH, &["cache.claim=models", "image=registry.example/x:1"]] {
        let once = said(words).expect("a wish");
        assert_eq!(wish([live(&once)]).expect("a wish"), once);
        let file = document(&intent_leaves(&once));
        let again = flatten(&file, Source::File("wish.yaml".into()), &[]).expect("a request");
        assert_eq!(wish([again]).expect("a wish"), once);
    }
}

#[test]
fn one_flag_on_a_live_deployment_keeps_every_other_choice() {
    let before = said(RICH).expect("a wish");
    let after = wish([live(&before), layer(Source::Flag, &["decode.replicas=5"])]).expect("a wish");
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
fn what_is_said_of_all_workers_outweighs_what_was_weaker_of_one() {
    let before = said(RICH).expect("a wish");
    let after = wish([live(&before), layer(Source::Flag, &["worker.tensorParallelSize=8"])]).expect("a wish");
    assert!(after.topology.groups().iter().all(|(_, group)| group.parallelism.tensor == 8));
}

#[test]
fn a_changed_mode_leaves_the_other_modes_choices_behind() {
    let apart = said(RICH).expect("a wish");
    let together = wish([live(&apart), layer(Source::Flag, &["mode=agg"])]).expect("a wish");
    assert_eq!(together.topology.mode(), "agg");
    let refused = wish([live(&apart), layer(Source::Flag, &["mode=agg", "decode.replicas=2"])]);
    assert_eq!(refused, Err(IntentError::OtherMode { flag: "--decode-replicas".into(), mode: "disagg" }));
}

#[test]
fn a_stronger_revision_replaces_the_one_named_with_the_model() {
    let before = said(&["revision=v1"]).expect("a wish");
    let after = wish([live(&before), layer(Source::Flag, &["revision=v2"])]).expect("a wish");
    assert_eq!(after.model.to_string(), "a/b@v2");
    let other = wish([live(&before), layer(Source::Flag, &["model=c/d"])]).expect("a wish");
    assert_eq!(other.model.to_string(), "c/d");
}

#[test]
fn contradictions_are_named_as_they_were_said() {
    let file = |words| layer(Source::File("wish.yaml".into()), words);
    let refused = |layers: Vec<Layer>| wish(layers).expect_err("a contradiction").to_string();
    for (words, message) in [
        (
            &["model=a/b", "router.temperature=1"][..],
            "`router.temperature in wish.yaml` needs --router-mode kv",
        ),
        (&["model=a/b", "kvOffload.disk=1Gi"], "`kvOffload.disk in wish.yaml` needs --kv-offload cpu=20Gi"),
        (
            &["model=a/b", "kvOffload.cpu=1Gi", "kvOffload.diskVolume=ephemeral"],
            "`kvOffload.diskVolume in wish.yaml` needs --kv-offload cpu=20Gi,disk=200Gi",
        ),
        (
            &["model=a/b", "mode=disagg", "worker.replicas=2"],
            "`worker.replicas in wish.yaml` belongs to --mode agg",
        ),
        (&["model=a/b", "frontend.replicas=0"], "`frontend.replicas in wish.yaml` must be at least 1"),
        (
            &["model=a/b", "kvOffload.cpu=1Gi", "kvOffload.disk=1Gi", "kvOffload.diskVolume=nvme"],
            "`kvOffload.diskVolume in wish.yaml`: `nvme` is none of ephemeral, ephemeral=CLASS, hostPath=PATH and pvc=NAME",
        ),
        (
            &["model=a/b", "priorityClass=High Class"],
            "`High Class` cannot be a name for `priorityClass in wish.yaml`",
        ),
    ] {
        assert_eq!(refused(vec![file(words)]), message);
    }
    let both = vec![file(&["model=a/b", "cache.claim=models"]), layer(Source::Flag, &["cache.size=1Gi"])];
    assert_eq!(
        refused(both),
        "`--cache-size` and `cache.claim in wish.yaml` contradict each other: an existing claim keeps its size, class and access mode"
    );
}

#[test]
fn a_token_is_refused_wherever_it_was_said_and_never_repeated() {
    for source in [Source::Flag, Source::Set, Source::File("f".into()), Source::UserConfig("c".into())] {
        let refused = wish([layer(source, &["model=a/b", "env.HF_TOKEN=hf_secret"])]).expect_err("a token");
        assert!(matches!(refused, IntentError::TokenInEnvironment { .. }));
        let text = refused.to_string();
        assert!(text.contains("HF_TOKEN") && !text.contains("hf_secret"), "{text}");
    }
}

#[test]
fn offload_is_switched_off_with_all_its_tiers() {
    let before = said(RICH).expect("a wish");
    let after = wish([live(&before), layer(Source::Flag, &["kvOffload.cpu=none"])]).expect("a wish");
    assert_eq!(after.kv_offload, None);
}

#[test]
fn every_value_has_its_source() {
    let before = said(RICH).expect("a wish");
    let flags =
        layer(Source::Flag, &["decode.replicas=5", "worker.tensorParallelSize=8", "decode.args=--top=1"]);
    let merged = Merged::of([live(&before), flags]);
    let intent = resolve(&merged, &fallback()).expect("a wish");
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
    let alone = said(&[]).expect("a wish");
    let shown = sources(&Merged::of([layer(Source::Flag, &["model=a/b"])]), &alone);
    let default = shown.iter().find(|(path, ..)| path == "router.mode");
    assert_eq!(default.map(|(.., source)| source), Some(&Source::Default));
}
