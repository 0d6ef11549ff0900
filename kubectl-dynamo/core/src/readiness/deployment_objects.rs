//! Which objects belong to a deployment, so that an event can be assigned to it. Objects that do not exist
//! any more are recognized by the names that Kubernetes generates below their owners, and by nothing less:
//! another deployment may have a name with the same prefix.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, ObjectReference, PersistentVolumeClaim};

use super::Observation;
use super::pod_fields::mounted_pvcs;
use crate::object::{ObjectFields, ObjectView, ObservedObject};

/// The characters of generated suffixes (`k8s.io/apimachinery/pkg/util/rand`).
const SUFFIX_CHARACTERS: &str = "bcdfghjklmnpqrstvwxz2456789";
/// Length of a generated pod suffix.
const POD_SUFFIX_LENGTH: usize = 5;
/// Lengths of a pod template hash: the hash is a number with up to ten digits.
const TEMPLATE_HASH_LENGTHS: std::ops::RangeInclusive<usize> = 6..=10;

const GRAPH: &str = "DynamoGraphDeployment";
const COMPONENT: &str = "DynamoComponentDeployment";
const PVC: &str = "PersistentVolumeClaim";

/// The kinds of the objects that are listed. An event about one of them is not about an object of another kind
/// with the same name.
const LISTED_KINDS: [&str; 8] =
    [GRAPH, COMPONENT, PVC, "Deployment", "Pod", "Job", "LeaderWorkerSet", "PodCliqueSet"];

/// The objects of one deployment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeploymentObjects {
    objects: Vec<KnownObject>,
    mounted_pvcs: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
struct KnownObject {
    kind: String,
    name: String,
    uid: String,
}

impl DeploymentObjects {
    /// Collects the objects of a deployment and the fetch Jobs of its model.
    pub fn new(
        observation: &Observation,
        pvcs: &[ObservedObject<PersistentVolumeClaim>],
        jobs: &[ObservedObject<Job>],
    ) -> Self {
        let Observation { graph, components, workloads, pods, .. } = observation;
        let known = |kind: &str, name: &str, uid: &str| KnownObject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        };
        let custom = |kind: &'static str| {
            move |one| {
                let one = ObjectView::new(one);
                known(kind, one.name(), one.uid())
            }
        };
        let mut objects: Vec<KnownObject> = graph.iter().map(custom(GRAPH)).collect();
        objects.extend(components.iter().map(custom(COMPONENT)));
        objects.extend(workloads.iter().map(|one| known(one.kind(), one.name(), one.uid())));
        objects.extend(pods.iter().map(|pod| known("Pod", pod.name(), pod.uid())));
        objects.extend(jobs.iter().map(|job| known("Job", job.name(), job.uid())));
        objects.extend(pvcs.iter().map(|pvc| known(PVC, pvc.name(), pvc.uid())));
        let mounted = pods.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(mounted_pvcs);
        let mounted_pvcs = mounted.filter(|name| !name.is_empty()).map(ToOwned::to_owned).collect();
        Self { objects, mounted_pvcs }
    }

    /// Returns whether an event is about an object of the deployment, which may have been deleted.
    pub fn has_event(&self, event: &Event) -> bool {
        let ObjectReference { kind, name, uid, .. } = &event.involved_object;
        let [kind, name, uid] = [kind, name, uid].map(|text| text.as_deref().unwrap_or_default());
        let is_listed_kind = LISTED_KINDS.contains(&kind);
        self.objects.iter().any(|one| {
            (!uid.is_empty() && one.uid == uid)
                // A Service or a StatefulSet has the name of its component or workload.
                || (one.name == name && (one.kind == kind || !is_listed_kind))
                || one.may_have_generated(kind, name)
        }) || (kind == PVC && self.mounted_pvcs.contains(name))
    }
}

impl KnownObject {
    /// Returns whether a child of this object can have this name.
    fn may_have_generated(&self, kind: &str, name: &str) -> bool {
        let Some(suffix) = name.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('-')) else {
            return false;
        };
        let first = suffix.split('-').next().unwrap_or_default();
        let is_numbered = || !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
        match (self.kind.as_str(), kind) {
            ("Deployment" | COMPONENT, "ReplicaSet") => is_template_hash(suffix),
            ("Deployment" | COMPONENT, "Pod") => {
                let parts = suffix.split_once('-');
                parts.is_some_and(|(hash, pod)| is_template_hash(hash) && is_pod_suffix(pod))
            }
            ("Job", "Pod") => is_pod_suffix(suffix),
            // Pods of a LeaderWorkerSet and objects of a PodCliqueSet start with the index of the replica.
            ("LeaderWorkerSet" | "PodCliqueSet", _) => is_numbered(),
            (COMPONENT, "LeaderWorkerSet" | "PodCliqueSet") => is_numbered(),
            _ => false,
        }
    }
}

fn is_template_hash(text: &str) -> bool {
    TEMPLATE_HASH_LENGTHS.contains(&text.len()) && text.chars().all(|one| SUFFIX_CHARACTERS.contains(one))
}

fn is_pod_suffix(text: &str) -> bool {
    text.len() == POD_SUFFIX_LENGTH && text.chars().all(|one| SUFFIX_CHARACTERS.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::typed;
    use crate::readiness::Workload;
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::{Value, json};

    fn object(kind: &str, name: &str) -> Value {
        json!({ "kind": kind, "metadata": { "name": name, "uid": format!("{kind}/{name}") } })
    }

    /// Returns the objects of deployment "tiny" with one worker.
    fn objects() -> DeploymentObjects {
        let mut pod = object("Pod", "tiny-worker-54c9c6fff5-z6p45");
        pod["spec"]["volumes"] = json!([{ "persistentVolumeClaim": { "claimName": "model-cache" } }]);
        let observation = Observation {
            graph: Some(object(GRAPH, "tiny")),
            components: vec![object(COMPONENT, "tiny-worker")],
            workloads: vec![
                typed::<Deployment>(object("Deployment", "tiny-worker")).into(),
                Workload::Custom(object("PodCliqueSet", "tiny")),
            ],
            pods: vec![typed(pod)],
            ..Observation::default()
        };
        DeploymentObjects::new(&observation, &[], &[typed(object("Job", "fetch-tiny-1"))])
    }

    fn has_event(kind: &str, name: &str) -> bool {
        objects().has_event(&typed::<Event>(json!({ "involvedObject": { "kind": kind, "name": name } })))
    }

    #[test]
    fn events_of_a_deployment_with_the_same_prefix_are_not_related() {
        for (kind, name) in [
            ("Pod", "tiny-worker-frontend-54c9c6fff5-z6p45"),
            ("Pod", "tiny-worker-two-54c9c6fff5-z6p45"),
            ("ReplicaSet", "tiny-worker-prefill-69fbfcd468"),
            ("Deployment", "tiny-worker-2"),
            ("DynamoGraphDeployment", "tiny-worker"),
            ("Job", "tiny-worker"),
            ("Pod", "fetch-tiny-1-two-z6p45"),
            ("Pod", "tiny"),
            ("Pod", "tiny-large-0"),
            ("PersistentVolumeClaim", "tiny"),
        ] {
            assert!(!has_event(kind, name), "{kind}/{name}");
        }
    }

    #[test]
    fn events_of_existing_and_deleted_objects_are_related() {
        for (kind, name) in [
            ("DynamoGraphDeployment", "tiny"),
            ("DynamoComponentDeployment", "tiny-worker"),
            ("Pod", "tiny-worker-54c9c6fff5-z6p45"),
            // Deleted objects.
            ("ReplicaSet", "tiny-worker-69fbfcd468"),
            ("Pod", "tiny-worker-69fbfcd468-789fp"),
            ("Pod", "fetch-tiny-1-k2x7q"),
            ("PodClique", "tiny-0-worker"),
            ("Pod", "tiny-0-worker-k2x7q"),
            // Objects that are not listed.
            ("Service", "tiny-worker"),
            ("PersistentVolumeClaim", "model-cache"),
        ] {
            assert!(has_event(kind, name), "{kind}/{name}");
        }
    }

    #[test]
    fn an_object_is_recognized_by_its_uid() {
        let event = |uid: &str| {
            typed::<Event>(json!({ "involvedObject": { "kind": "Pod", "name": "other", "uid": uid } }))
        };
        assert!(objects().has_event(&event("Pod/tiny-worker-54c9c6fff5-z6p45")));
        assert!(!objects().has_event(&event("")));
    }
}
