//! Tests of the storage checks with literal facts and plans.

use super::*;
use crate::code::MessageCode;
use crate::intent::request::{MergedSettings, SettingSource, SettingsLayer};
use crate::intent::{Backend, Fallback, resolve};
use crate::plan::{FetchPlacement, ModelLocation, ServingPlan, plan};
use crate::preflight::{PvcFacts, Volume};
use crate::release::{DEFAULT_RELEASE, Release};
use crate::resources::{GraphApi, render};

/// Returns the plan for the given settings and the model `acme/tiny`.
pub(in crate::preflight) fn plan_from_fields(fields: &[&str]) -> ServingPlan {
    let mut layer = SettingsLayer::new(SettingSource::Flag);
    for field in ["model=acme/tiny"].iter().chain(fields) {
        layer.set(field).expect("a valid setting");
    }
    let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length: 40 };
    let intent = resolve(&MergedSettings::from_layers([layer]), &fallback).expect("a complete request");
    let release = Release::find(DEFAULT_RELEASE).expect("the default release is in the catalog");
    plan(&intent, release, DEFAULT_RELEASE, ModelLocation::Volume(FetchPlacement::Job)).expect("a valid plan")
}

fn class(name: &str, is_default: bool, binds_late: bool) -> StorageClass {
    let provisioner = "kubernetes.io/no-provisioner".into();
    StorageClass { name: name.into(), is_default, binds_on_first_consumer: binds_late, provisioner }
}

fn facts(classes: Vec<StorageClass>, volumes: Fact<Vec<Volume>>) -> ClusterFacts {
    ClusterFacts { storage_classes: Fact::Known(classes), volumes, ..ClusterFacts::default() }
}

fn code(result: Option<CheckResult>) -> Option<MessageCode> {
    result?.problem().map(|problem| problem.code)
}

#[test]
fn new_pvc_needs_storage_class_or_matching_volume() {
    let no_volumes = || Fact::Known(Vec::new());
    let check = |fields: &[&str], facts: &ClusterFacts| {
        let plan = plan_from_fields(fields);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        storage_class(
            facts,
            &PreflightInput { plan: Some(&plan), resources: &resources, ..PreflightInput::default() },
        )
    };
    let standard = facts(vec![class("standard", true, false), class("fast", false, true)], no_volumes());
    assert!(matches!(check(&[], &standard), Some(CheckResult::Passed(_))));
    assert!(matches!(check(&["cache.storageClass=fast"], &standard), Some(CheckResult::Passed(_))));
    let Some(CheckResult::Failed(problem)) = check(&["cache.storageClass=fasst"], &standard) else {
        panic!("the storage class does not exist")
    };
    assert_eq!(problem.code, MessageCode::StorageClassNotFound);
    assert!(problem.hint.to_string().ends_with("standard, fast"), "{}", problem.hint);
    assert_eq!(
        code(check(&[], &facts(vec![class("fast", false, true)], no_volumes()))),
        Some(MessageCode::NoDefaultStorageClass)
    );
    let manual_volume = facts(Vec::new(), Fact::Known(vec![Volume { class: "manual".into() }]));
    assert!(matches!(check(&["cache.storageClass=manual"], &manual_volume), Some(CheckResult::Passed(_))));
    let volumes_unavailable = facts(Vec::new(), Fact::Unavailable("missing permission".into()));
    assert!(matches!(
        check(&["cache.storageClass=manual"], &volumes_unavailable),
        Some(CheckResult::Warning(_))
    ));
}

#[test]
fn existing_pvc_must_be_bound_or_bindable() {
    let plan = plan_from_fields(&[]);
    let check = |phase: &str, storage_class: &str| {
        let pvc = PvcFacts {
            phase: phase.into(),
            bound: phase == "Bound",
            storage_class: storage_class.into(),
            size: "1Ti".into(),
            access_modes: "ReadWriteMany".into(),
            ..PvcFacts::default()
        };
        let facts = facts(vec![class("late", false, true)], Fact::NotQueried);
        super::existing_pvc(
            &facts,
            &PreflightInput { plan: Some(&plan), pvc: Some(&pvc), ..PreflightInput::default() },
        )
    };
    let expected = "PVC \"model-cache\" is bound, ReadWriteMany 1Ti";
    assert_eq!(check("Bound", "x"), Some(CheckResult::Passed(expected.into())));
    assert!(matches!(check("Pending", "late"), Some(CheckResult::Passed(_))));
    assert!(matches!(check("Pending", "x"), Some(CheckResult::Pending(_))));
    assert!(matches!(check("Lost", "x"), Some(CheckResult::Failed(_))));
}

#[test]
fn single_node_pvc_cannot_serve_several_nodes() {
    let check = |fields: &[&str], modes: &str| {
        let plan = plan_from_fields(fields);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        let pvc = PvcFacts { access_modes: modes.into(), ..PvcFacts::default() };
        let input = PreflightInput {
            plan: Some(&plan),
            resources: &resources,
            pvc: Some(&pvc),
            ..PreflightInput::default()
        };
        access_mode(&ClusterFacts::default(), &input)
    };
    assert!(matches!(check(&["worker.replicas=4"], "ReadWriteMany"), Some(CheckResult::Passed(_))));
    assert!(matches!(check(&[], "ReadWriteOnce"), Some(CheckResult::Passed(_))));
    let several = check(&["worker.replicas=4"], "ReadWriteOnce");
    assert!(
        matches!(&several, Some(CheckResult::Warning(problem)) if problem.text.contains("all 4 pods")),
        "{several:?}"
    );
    assert!(matches!(check(&["worker.replicas=2"], "ReadWriteOncePod"), Some(CheckResult::Failed(_))));
    let spanning = check(&["worker.tensorParallelSize=16", "worker.nodes=2"], "ReadWriteOnce");
    assert_eq!(code(spanning.clone()), Some(MessageCode::SingleNodeVolume));
    assert!(matches!(spanning, Some(CheckResult::Failed(_))));
}

#[test]
fn shared_pvc_of_a_class_for_one_node_is_a_warning() {
    let check = |fields: &[&str], provisioner: &str| {
        let plan = plan_from_fields(fields);
        let resources = render(&plan, "n", GraphApi::V1Beta1);
        let shared = StorageClass { provisioner: "nfs.csi.k8s.io".into(), ..class("shared", false, false) };
        let default = StorageClass { provisioner: provisioner.into(), ..class("standard", true, false) };
        let facts = facts(vec![shared, default], Fact::Known(Vec::new()));
        let input = PreflightInput { plan: Some(&plan), resources: &resources, ..PreflightInput::default() };
        access_mode(&facts, &input).expect("the check applies")
    };
    for provisioner in ["ebs.csi.aws.com", "rancher.io/local-path", "rook-ceph.rbd.csi.ceph.com"] {
        for fields in [&[][..], &["cache.storageClass=standard"]] {
            let CheckResult::Warning(problem) = check(fields, provisioner) else { panic!("{provisioner}") };
            assert_eq!(problem.code, MessageCode::AccessModeNotSupported);
            assert!(problem.text.contains("\"standard\"") && problem.text.contains(provisioner), "{problem}");
        }
        assert!(matches!(check(&["cache.storageClass=shared"], provisioner), CheckResult::Passed(_)));
        let one_node = check(&["cache.accessMode=ReadWriteOnce"], provisioner);
        assert_ne!(one_node.problem().map(|problem| problem.code), Some(MessageCode::AccessModeNotSupported));
    }
    for provisioner in ["efs.csi.aws.com", "file.csi.azure.com", "not-ebs.csi.aws.com", "driver.longhorn.io"]
    {
        assert!(matches!(check(&[], provisioner), CheckResult::Passed(_)), "{provisioner}");
    }
}
