//! What is said of volumes, from facts and plans written down.

use super::*;
use crate::intent::request::{Layer, Merged, Source};
use crate::intent::{Backend, Fallback, resolve};
use crate::plan::{FetchPlacement, ModelPlace, ServingPlan, plan};
use crate::preflight::{ClaimFacts, Volume};
use crate::release::{DEFAULT, Release};
use crate::resources::{GraphApi, render};

/// The plan of a request of these fields, on top of a model.
pub(in crate::preflight) fn plan_of(fields: &[&str]) -> ServingPlan {
    let mut layer = Layer::of(Source::Flag);
    for field in ["model=acme/tiny"].iter().chain(fields) {
        layer.set(field).expect("a field and its value");
    }
    let fallback = Fallback { model: None, backend: Backend::Vllm, name_length: 40 };
    let intent = resolve(&Merged::of([layer]), &fallback).expect("a whole request");
    let release = Release::find(DEFAULT).expect("the default is in the catalogue");
    plan(&intent, release, DEFAULT, ModelPlace::Volume(FetchPlacement::Job)).expect("a plan")
}

fn class(name: &str, is_default: bool, binds_late: bool) -> StorageClass {
    StorageClass { name: name.into(), is_default, binds_late }
}

fn facts(classes: Vec<StorageClass>, volumes: Fact<Vec<Volume>>) -> ClusterFacts {
    ClusterFacts { storage_classes: Fact::Known(classes), volumes, ..ClusterFacts::default() }
}

fn code(outcome: Option<Outcome>) -> Option<&'static str> {
    outcome?.problem().map(|problem| problem.code)
}

#[test]
fn a_new_claim_needs_a_class_or_a_volume_made_for_it() {
    let none = || Fact::Known(Vec::new());
    let of = |fields: &[&str], facts: &ClusterFacts| {
        let plan = plan_of(fields);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        storage_class(facts, &Subject { plan: Some(&plan), resources: &resources, ..Subject::default() })
    };
    let standard = facts(vec![class("standard", true, false), class("fast", false, true)], none());
    assert!(matches!(of(&[], &standard), Some(Outcome::Passed(_))));
    assert!(matches!(of(&["cache.storageClass=fast"], &standard), Some(Outcome::Passed(_))));
    let Some(Outcome::Failed(problem)) = of(&["cache.storageClass=fasst"], &standard) else {
        panic!("there is none")
    };
    assert_eq!(problem.code, "KD0438");
    assert!(problem.hint.ends_with("standard, fast"), "{}", problem.hint);
    assert_eq!(code(of(&[], &facts(vec![class("fast", false, true)], none()))), Some("KD0439"));
    let by_hand = facts(Vec::new(), Fact::Known(vec![Volume { class: "manual".into() }]));
    assert!(matches!(of(&["cache.storageClass=manual"], &by_hand), Some(Outcome::Passed(_))));
    let unseen = facts(Vec::new(), Fact::Hidden("no right".into()));
    assert!(matches!(of(&["cache.storageClass=manual"], &unseen), Some(Outcome::Warning(_))));
}

#[test]
fn a_claim_that_is_there_is_bound_or_will_be() {
    let plan = plan_of(&[]);
    let of = |phase: &str, storage_class: &str| {
        let claim = ClaimFacts {
            phase: phase.into(),
            bound: phase == "Bound",
            storage_class: storage_class.into(),
            size: "1Ti".into(),
            access_modes: "ReadWriteMany".into(),
            ..ClaimFacts::default()
        };
        let facts = facts(vec![class("late", false, true)], Fact::Unasked);
        super::claim(&facts, &Subject { plan: Some(&plan), claim: Some(&claim), ..Subject::default() })
    };
    let said = "pvc/model-cache is bound, ReadWriteMany 1Ti";
    assert_eq!(of("Bound", "x"), Some(Outcome::Passed(said.into())));
    assert!(matches!(of("Pending", "late"), Some(Outcome::Passed(_))));
    assert!(matches!(of("Pending", "x"), Some(Outcome::Waits(_))));
    assert!(matches!(of("Lost", "x"), Some(Outcome::Failed(_))));
}

#[test]
fn a_volume_of_one_node_does_not_serve_several() {
    let of = |fields: &[&str], modes: &str| {
        let plan = plan_of(fields);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        let claim = ClaimFacts { access_modes: modes.into(), ..ClaimFacts::default() };
        let subject =
            Subject { plan: Some(&plan), resources: &resources, claim: Some(&claim), ..Subject::default() };
        access_mode(&ClusterFacts::default(), &subject)
    };
    assert!(matches!(of(&["worker.replicas=4"], "ReadWriteMany"), Some(Outcome::Passed(_))));
    assert!(matches!(of(&[], "ReadWriteOnce"), Some(Outcome::Passed(_))));
    let several = of(&["worker.replicas=4"], "ReadWriteOnce");
    assert!(
        matches!(&several, Some(Outcome::Warning(problem)) if problem.text.contains("all 4 pods")),
        "{several:?}"
    );
    assert!(matches!(of(&["worker.replicas=2"], "ReadWriteOncePod"), Some(Outcome::Failed(_))));
    let spanning = of(&["worker.tensorParallelSize=16", "worker.nodes=2"], "ReadWriteOnce");
    assert_eq!(code(spanning.clone()), Some("KD0440"));
    assert!(matches!(spanning, Some(Outcome::Failed(_))));
}
