//! Where the model will lie: the class of a claim that is made, the state of one that is there, and whether all pods can
//! mount it.

use super::demand::demand;
use super::{ClusterFacts, Fact, Outcome, Problem, StorageClass, Subject};
use crate::error::Exit;
use crate::resources::Resource;

/// The claim that will be made, if one will.
pub(super) fn new_claim<'a>(subject: &Subject<'a>) -> Option<&'a Resource> {
    let made = |one: &&Resource| one.kind() == "PersistentVolumeClaim";
    subject.resources.iter().find(made).filter(|_| subject.claim.is_none())
}

/// Whether a claim that is made finds a class that makes its volume.
pub(super) fn storage_class(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let claim = new_claim(subject);
    if claim.is_none() && !subject.resources.is_empty() {
        return None;
    }
    let classes = match &facts.storage_classes {
        Fact::Known(classes) => classes,
        Fact::Hidden(why) => return Some(Outcome::Skipped(why.clone())),
        Fact::Unasked => return None,
    };
    let default = classes.iter().find(|class| class.is_default);
    let Some(claim) = claim else {
        return Some(match default {
            Some(class) => Outcome::Passed(format!("{} is the default class", class.name)),
            None => Outcome::Warning(no_default(classes, "a claim needs one named")),
        });
    };
    let wanted = claim.object["spec"]["storageClassName"].as_str();
    Some(match (wanted, default) {
        (None, Some(class)) => {
            Outcome::Passed(format!("pvc/{} gets the default class {}", claim.name(), class.name))
        }
        (Some(wanted), _) if classes.iter().any(|class| class.name == wanted) => {
            Outcome::Passed(format!("pvc/{} gets class {wanted}", claim.name()))
        }
        (wanted, _) => {
            let class = wanted.unwrap_or_default();
            let problem = match wanted {
                Some(_) => Problem::new(
                    "KD0438",
                    Exit::Model,
                    format!("there is no storage class {class}, so pvc/{} gets no volume", claim.name()),
                    choose(classes),
                ),
                None => no_default(classes, &format!("pvc/{} gets no volume", claim.name())),
            };
            match &facts.volumes {
                Fact::Known(volumes) if volumes.iter().any(|volume| volume.class == class) => {
                    Outcome::Passed(format!("pvc/{} gets a volume that was made for it", claim.name()))
                }
                Fact::Known(_) => Outcome::Failed(problem),
                Fact::Hidden(_) | Fact::Unasked => Outcome::Warning(problem),
            }
        }
    })
}

fn no_default(classes: &[StorageClass], then: &str) -> Problem {
    Problem::new(
        "KD0439",
        Exit::Model,
        format!("the cluster has no default storage class: {then}"),
        choose(classes),
    )
}

fn choose(classes: &[StorageClass]) -> String {
    let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
    match names.as_slice() {
        [] => "there is none; name a claim that exists: --cache CLAIM".into(),
        names => format!("choose one with --storage-class: {}", names.join(", ")),
    }
}

/// Whether the claim that is there has a volume.
pub(super) fn claim(facts: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let claim = subject.claim?;
    let name = subject.plan?.cache.as_ref()?.cache.claim();
    let namespace = &facts.namespace;
    let late = || {
        let classes = facts.storage_classes.known().into_iter().flatten();
        classes.into_iter().any(|class| class.name == claim.storage_class && class.binds_late)
    };
    let problem = |text: String| {
        Problem::new(
            "KD0431",
            Exit::Model,
            text,
            format!("see why: kubectl describe pvc {name} -n {namespace}"),
        )
    };
    Some(match claim.phase.as_str() {
        "Lost" => Outcome::Failed(problem(format!("pvc/{name} has lost its volume"))),
        _ if claim.bound => Outcome::Passed(format!(
            "pvc/{name} is bound, {} {}{}",
            claim.access_modes,
            claim.size,
            users(facts, name)
        )),
        _ if late() => Outcome::Passed(format!("pvc/{name} gets its volume with its first pod")),
        _ => Outcome::Waits(problem(format!("pvc/{name} has no volume yet"))),
    })
}

/// Who mounts the claim now.
fn users(facts: &ClusterFacts, name: &str) -> String {
    let mounts = |pod: &&super::PodUse| {
        pod.namespace == facts.namespace && pod.claims.iter().any(|claim| claim == name)
    };
    match facts.pods.known().map_or(0, |pods| pods.iter().filter(mounts).count()) {
        0 => String::new(),
        1 => ", mounted by 1 pod".into(),
        several => format!(", mounted by {several} pods"),
    }
}

/// Whether every pod can mount the claim at once.
pub(super) fn access_mode(_: &ClusterFacts, subject: &Subject<'_>) -> Option<Outcome> {
    let modes = match (subject.claim, new_claim(subject)) {
        (Some(claim), _) => claim.access_modes.clone(),
        (None, made) => {
            let modes = made?.object["spec"]["accessModes"].as_array()?.iter();
            modes.filter_map(|mode| mode.as_str()).collect::<Vec<_>>().join(",")
        }
    };
    let name = subject.plan?.cache.as_ref()?.cache.claim();
    // All pods that will be there, and not only those that start.
    let components = demand(&Subject { starts: None, ..*subject });
    let mounting = components.iter().filter(|one| one.claims.iter().any(|claim| claim == name));
    let (pods, spans) =
        mounting.fold((0, false), |(pods, spans), one| (pods + one.pods, spans || one.nodes > 1));
    let hint = "make the cache on storage that many nodes can mount: --access-mode ReadWriteMany with a class that has it";
    let problem = |text: String| Problem::new("KD0440", Exit::Model, text, hint);
    Some(if modes.contains("Many") || pods < 2 {
        Outcome::Passed(format!(
            "pvc/{name} is {modes}, {pods} {} it",
            if pods == 1 { "pod mounts" } else { "pods mount" }
        ))
    } else if modes.contains("ReadWriteOncePod") {
        Outcome::Failed(problem(format!("pvc/{name} can be mounted by one pod alone, and {pods} are to")))
    } else if spans {
        Outcome::Failed(problem(format!(
            "pvc/{name} can be mounted on one node alone, and a worker spans several"
        )))
    } else {
        Outcome::Warning(problem(format!(
            "pvc/{name} can be mounted on one node alone: all {pods} pods must run there"
        )))
    })
}

#[cfg(test)]
pub(in crate::preflight) mod tests;
