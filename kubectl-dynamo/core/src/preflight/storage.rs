//! Checks of the model cache's storage: the storage class of a new PVC, the state of an existing PVC, and
//! whether all pods can mount it.

use super::requests::component_requests;
use super::{CheckProblem, CheckResult, ClusterFacts, Fact, PreflightInput, StorageClass};
use crate::code::MessageCode;
use crate::command::{SuggestedCommand, UNKNOWN_NAME};
use crate::resources::Resource;

/// Provisioners whose file system volumes only one node can mount, according to their documentation. Some of them have
/// ReadWriteMany for block devices or for a special class, so the check only warns.
const SINGLE_NODE_PROVISIONERS: [&str; 20] = [
    "cinder.csi.openstack.org",
    "csi.hetzner.cloud",
    "disk.csi.azure.com",
    "dobs.csi.digitalocean.com",
    "ebs.csi.aws.com",
    "ebs.csi.eks.amazonaws.com",
    "kubernetes.io/aws-ebs",
    "kubernetes.io/azure-disk",
    "kubernetes.io/cinder",
    "kubernetes.io/gce-pd",
    "linodebs.csi.linode.com",
    "local.csi.openebs.io",
    "openebs.io/local",
    "pd.csi.storage.gke.io",
    "rancher.io/local-path",
    "rbd.csi.ceph.com",
    "topolvm.cybozu.com",
    "topolvm.io",
    "vpc.block.csi.ibm.io",
    "zfs.csi.openebs.io",
];

/// Returns whether volumes of a provisioner are known to be for one node. The name can have a prefix, as with Rook.
fn is_single_node_provisioner(provisioner: &str) -> bool {
    SINGLE_NODE_PROVISIONERS.iter().any(|known| {
        provisioner.strip_suffix(known).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    })
}

/// Returns the PVC that will be created, if any.
pub(super) fn new_pvc<'a>(input: &PreflightInput<'a>) -> Option<&'a Resource> {
    let is_pvc = |one: &&Resource| one.kind() == "PersistentVolumeClaim";
    input.resources.iter().find(is_pvc).filter(|_| input.pvc.is_none())
}

/// Checks that a storage class or an existing volume can provide the volume of a new PVC.
pub(super) fn storage_class(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let pvc = new_pvc(input);
    if pvc.is_none() && !input.resources.is_empty() {
        return None;
    }
    let classes = match &facts.storage_classes {
        Fact::Known(classes) => classes,
        Fact::Unavailable(reason) => return Some(CheckResult::Skipped(reason.clone())),
        Fact::NotQueried => return None,
    };
    let default = classes.iter().find(|class| class.is_default);
    let Some(pvc) = pvc else {
        return Some(match default {
            Some(class) => CheckResult::Passed(format!("storage class \"{}\" is the default", class.name)),
            None => CheckResult::Warning(no_default_class(classes, "a PVC must name one")),
        });
    };
    let requested_class = pvc.view().text("/spec/storageClassName");
    Some(match (requested_class, default) {
        (None, Some(class)) => {
            CheckResult::Passed(format!("PVC \"{}\" uses the default class \"{}\"", pvc.name(), class.name))
        }
        (Some(requested_class), _) if classes.iter().any(|class| class.name == requested_class) => {
            CheckResult::Passed(format!("PVC \"{}\" uses storage class \"{requested_class}\"", pvc.name()))
        }
        (requested_class, _) => {
            let class = requested_class.unwrap_or_default();
            let problem = match requested_class {
                Some(_) => CheckProblem::new(
                    MessageCode::StorageClassNotFound,
                    format!("storage class \"{class}\" of PVC \"{}\" not found", pvc.name()),
                    choose_class_hint(classes),
                ),
                None => no_default_class(classes, &format!("PVC \"{}\" cannot be provisioned", pvc.name())),
            };
            match &facts.volumes {
                Fact::Known(volumes) if volumes.iter().any(|volume| volume.class == class) => {
                    CheckResult::Passed(format!("PVC \"{}\" can bind to an existing volume", pvc.name()))
                }
                Fact::Known(_) => CheckResult::Failed(problem),
                Fact::Unavailable(_) | Fact::NotQueried => CheckResult::Warning(problem),
            }
        }
    })
}

fn no_default_class(classes: &[StorageClass], consequence: &str) -> CheckProblem {
    CheckProblem::new(
        MessageCode::NoDefaultStorageClass,
        format!("the cluster does not have a default storage class: {consequence}"),
        choose_class_hint(classes),
    )
}

fn choose_class_hint(classes: &[StorageClass]) -> String {
    let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
    match names.as_slice() {
        [] => "the cluster does not have storage classes; use an existing PVC with --cache PVC".into(),
        names => format!("choose one with --storage-class: {}", names.join(", ")),
    }
}

/// Checks that the existing PVC is bound or can be bound.
pub(super) fn existing_pvc(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let pvc = input.pvc?;
    let name = input.plan?.cache.as_ref()?.cache.pvc();
    let namespace = &facts.namespace;
    let binds_on_first_consumer = || {
        let classes = facts.storage_classes.known().into_iter().flatten();
        classes.into_iter().any(|class| class.name == pvc.storage_class && class.binds_on_first_consumer)
    };
    let problem = |text: String| {
        CheckProblem::new(
            MessageCode::PvcNotBound,
            text,
            SuggestedCommand::kubectl("describe pvc")
                .operand(name, UNKNOWN_NAME)
                .in_namespace(namespace)
                .after("find the cause with "),
        )
    };
    Some(match pvc.phase.as_str() {
        "Lost" => CheckResult::Failed(problem(format!("PVC \"{name}\" has lost its volume"))),
        _ if pvc.bound => CheckResult::Passed(format!(
            "PVC \"{name}\" is bound, {} {}{}",
            pvc.access_modes,
            pvc.size,
            pvc_users_text(facts, name)
        )),
        _ if binds_on_first_consumer() => {
            CheckResult::Passed(format!("PVC \"{name}\" is bound when its first pod is scheduled"))
        }
        _ => CheckResult::Pending(problem(format!("PVC \"{name}\" is not bound"))),
    })
}

/// Describes how many pods mount the PVC.
fn pvc_users_text(facts: &ClusterFacts, name: &str) -> String {
    let mounts_pvc =
        |pod: &&super::PodUsage| pod.namespace == facts.namespace && pod.pvcs.iter().any(|pvc| pvc == name);
    match facts.pods.known().map_or(0, |pods| pods.iter().filter(mounts_pvc).count()) {
        0 => String::new(),
        1 => ", mounted by 1 pod".into(),
        several => format!(", mounted by {several} pods"),
    }
}

/// Checks that all pods can mount the PVC at the same time.
pub(super) fn access_mode(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckResult> {
    let modes = match (input.pvc, new_pvc(input)) {
        (Some(pvc), _) => pvc.access_modes.clone(),
        (None, new_pvc) => new_pvc?.view().texts("/spec/accessModes").collect::<Vec<_>>().join(","),
    };
    let name = input.plan?.cache.as_ref()?.cache.pvc();
    // Count all pods of the deployment, not only those that start.
    let components = component_requests(&PreflightInput { starting_pods: None, ..*input });
    let mounting = components.iter().filter(|one| one.pvcs.iter().any(|pvc| pvc == name));
    let (pods, spans_nodes) =
        mounting.fold((0, false), |(pods, spans_nodes), one| (pods + one.pods, spans_nodes || one.nodes > 1));
    if let Some(problem) = unsupported_access_mode(facts, input) {
        return Some(CheckResult::Warning(problem));
    }
    let hint = "use --access-mode ReadWriteMany with a storage class that supports it";
    let problem = |text: String| CheckProblem::new(MessageCode::SingleNodeVolume, text, hint);
    Some(if modes.contains("Many") || pods < 2 {
        CheckResult::Passed(format!(
            "PVC \"{name}\" is {modes}, {pods} {} it",
            if pods == 1 { "pod mounts" } else { "pods mount" }
        ))
    } else if modes.contains("ReadWriteOncePod") {
        CheckResult::Failed(problem(format!("PVC \"{name}\" is {modes}, but {pods} pods mount it")))
    } else if spans_nodes {
        CheckResult::Failed(problem(format!(
            "PVC \"{name}\" can be mounted on one node only, but a worker spans several nodes"
        )))
    } else {
        CheckResult::Warning(problem(format!(
            "PVC \"{name}\" can be mounted on one node only, so all {pods} pods must run on it"
        )))
    })
}

/// Returns the problem of a new PVC that several nodes must mount, if its storage class has volumes for one node.
fn unsupported_access_mode(facts: &ClusterFacts, input: &PreflightInput<'_>) -> Option<CheckProblem> {
    let pvc = new_pvc(input)?.view();
    let mode = pvc.texts("/spec/accessModes").find(|mode| mode.ends_with("Many"))?;
    let requested_class = pvc.text("/spec/storageClassName");
    let mut classes = facts.storage_classes.known()?.iter();
    let class = classes.find(|class| match requested_class {
        Some(requested) => class.name == requested,
        None => class.is_default,
    })?;
    let StorageClass { name, provisioner, .. } = class;
    is_single_node_provisioner(provisioner).then(|| {
        CheckProblem::new(
            MessageCode::AccessModeNotSupported,
            format!(
                "storage class \"{name}\" ({provisioner}) usually does not have {mode} volumes, so PVC \"{}\" may stay \
                 unbound",
                pvc.name()
            ),
            "choose a class of a shared file system with --storage-class, or one node with --access-mode ReadWriteOnce",
        )
    })
}

#[cfg(test)]
pub(in crate::preflight) mod tests;
