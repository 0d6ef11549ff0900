//! Renders the Jobs that use the cache volume: fetch, check, verify, and remove a model. The fetch Job runs
//! before the graph exists, so that no GPU waits for a download.

use model_fetcher_contract::{environment, exit};
use serde_json::{Value, json};

use super::container::{
    FETCH_CONTAINER, SeccompProfile, ca_volume, cache_volume, fetch_container, pod_security_context,
    pull_secrets, to_map, tolerations,
};
use super::{MODEL_ANNOTATION, MODEL_LABEL, NAME_LABEL, managed_labels, short_hash};
use crate::intent::name::default_name;
use crate::intent::{Placement, ServingIntent};
use crate::plan::model_cache::{CACHE_MOUNT_PATH, plan_model_cache};
use crate::plan::{FetchPlacement, FetchStep, ModelCache, ServingPlan};

/// Maximum length of a Job name: pods have it as a label value, which is limited to 63 characters.
const NAME_LIMIT: usize = 63;

/// Renders the fetch Job of a plan. A Job's template is immutable, so the name contains a hash of it. The
/// same request uses the same Job, and a different request creates a new one.
pub(super) fn fetch_job(plan: &ServingPlan, cache: &ModelCache, namespace: &str) -> Value {
    let fetch = &cache.fetch;
    let mut labels = managed_labels(&plan.intent.placement.labels);
    labels.insert(MODEL_LABEL.into(), model_label_value(&fetch.repository).into());
    let pod_spec = pod_spec(fetch, cache, &plan.intent.placement);
    let annotations = json!({ MODEL_ANNOTATION: format!("{}@{}", fetch.repository, fetch.revision) });
    let template = json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": pod_spec });
    // A retry does not help with a rejected token or a full disk, but it does after a drained node or a lost
    // network.
    let spec = json!({
        "backoffLimit": 2,
        "podFailurePolicy": { "rules": [{
            "action": "FailJob",
            "onExitCodes": { "containerName": FETCH_CONTAINER, "operator": "In", "values": exit::PERMANENT },
        }] },
        "template": template,
    });
    let mut job_labels = labels;
    // Not in the template, because deployments of the same model share the Job. The label names its first
    // creator.
    job_labels.insert(NAME_LABEL.into(), plan.name.clone().into());
    // The user's annotations are not in the template either: they would change the hash and create a second
    // Job.
    let mut job_annotations = to_map(&plan.intent.placement.annotations);
    job_annotations.insert(MODEL_ANNOTATION.into(), annotations[MODEL_ANNOTATION].clone());
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name("fetch", &fetch.repository, &fetch.revision, &spec),
            "namespace": namespace,
            "labels": job_labels,
            "annotations": job_annotations,
        },
        "spec": spec,
    })
}

/// Action of a Job on a model that is stored on a PVC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelJobAction {
    /// Delete the model's folder. Fails while a fetcher uses the folder.
    Remove,
    /// Check by the receipt whether the model is complete.
    Check,
    /// Recompute the hash of every file.
    Verify,
}

impl ModelJobAction {
    /// Subcommand of model-fetcher.
    fn verb(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Check => "check",
            Self::Verify => "verify",
        }
    }
}

/// Renders a Job that checks, verifies, or removes the model of an intent. `None` if the model is not on a
/// PVC.
pub(super) fn model_job(intent: &ServingIntent, action: ModelJobAction, namespace: &str) -> Option<Value> {
    let cache = plan_model_cache(intent, FetchPlacement::Job).ok()?;
    let mut step = cache.fetch.clone();
    step.args = vec![action.verb().into(), step.repository.clone()];
    if action != ModelJobAction::Remove {
        step.args.extend(["--revision".into(), step.revision.clone()]);
    }
    step.args.extend(["--into", CACHE_MOUNT_PATH].map(ToOwned::to_owned));
    step.environment.retain(|variable| variable.name == environment::PROGRESS);
    // It does not ask the hub.
    step.ca_bundle = None;
    let spec = json!({
        "backoffLimit": 0,
        "template": {
            // Marks the pod as a user of only this model on the PVC.
            "metadata": { "labels": managed_labels(&[]), "annotations": {
                MODEL_ANNOTATION: format!("{}@{}", cache.fetch.repository, cache.fetch.revision),
            } },
            "spec": pod_spec(&step, &cache, &intent.placement),
        },
    });
    Some(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(action.verb(), &cache.fetch.repository, &cache.fetch.revision, &spec),
            "namespace": namespace,
            "labels": managed_labels(&[]),
        },
        "spec": spec,
    }))
}

fn pod_spec(step: &FetchStep, cache: &ModelCache, placement: &Placement) -> Value {
    let volumes: Vec<Value> =
        std::iter::once(cache_volume(cache)).chain(step.ca_bundle.iter().map(ca_volume)).collect();
    let mut pod = json!({
        "restartPolicy": "Never",
        "containers": [fetch_container(step, cache, SeccompProfile::OfPod)],
        "volumes": volumes,
        "securityContext": pod_security_context(),
        // The Job tolerates the same taints as workers, because the cluster may only have GPU nodes.
        "tolerations": tolerations(placement, 1),
    });
    if let Some(secrets) = pull_secrets(placement) {
        pod["imagePullSecrets"] = secrets;
    }
    pod
}

/// Job name `<verb>-<model>-<revision>-<hash>`, with the model shortened to fit.
fn job_name(verb: &str, repository: &str, revision: &str, spec: &Value) -> String {
    let hash = short_hash(spec, 8);
    // A commit may start with a digit. `default_name` adds a prefix to it, which is only needed at the start
    // of a name.
    let revision = default_name(revision, usize::MAX);
    let revision = revision.strip_prefix("m-").unwrap_or(&revision);
    let revision = &revision[..revision.len().min(9)];
    let suffix = format!("-{}-{hash}", revision.trim_end_matches('-'));
    let model = repository.rsplit('/').next().unwrap_or(repository);
    let model = default_name(model, NAME_LIMIT - suffix.len() - verb.len() - 1);
    format!("{verb}-{model}{suffix}")
}

/// Label value for a repository. Label values do not allow `/` and have at most 63 characters.
pub(super) fn model_label_value(repository: &str) -> String {
    let mut value = repository.replace('/', "--");
    value.truncate(63);
    value.trim_matches(['-', '.', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_names_fit_and_depend_on_the_template() {
        let long =
            "org/A-Very-Long-Model-Name-That-Goes-On-And-On-For-Longer-Than-Any-Label-May-Be-0123456789";
        for revision in ["main", "8f3c2d1a4b5c6d7e8f90", "refs/pr/12"] {
            let one = job_name("fetch", long, revision, &json!({ "a": 1 }));
            let other = job_name("fetch", long, revision, &json!({ "a": 2 }));
            assert!(one.len() <= NAME_LIMIT, "{one}");
            assert!(crate::intent::name::check_dns1035_label(&one).is_ok(), "{one}");
            assert_ne!(one, other);
        }
    }

    #[test]
    fn model_label_values_are_valid() {
        assert_eq!(model_label_value("Qwen/Qwen3-0.6B"), "Qwen--Qwen3-0.6B");
        assert_eq!(model_label_value(&format!("o/{}", "x-".repeat(60))).len(), 62);
    }
}
