//! The Jobs that work on the cache volume: fetching a model before any GPU is held, and removing one.

use model_fetcher::contract::{environment, exit};
use serde_json::{Value, json};

use super::container::{
    FETCH_CONTAINER, cache_volume, fetch_container, pairs, pod_security, pull_secrets, tolerations,
};
use super::{MODEL_ANNOTATION, MODEL_LABEL, own_labels, short_hash};
use crate::intent::name::default_name;
use crate::intent::{Placement, ServingIntent};
use crate::plan::model_cache::{MOUNT, model_cache};
use crate::plan::{FetchPlacement, FetchStep, ModelCache, ServingPlan};

/// A Job's pods carry its name as a label value, and those end at 63 characters.
const NAME_LIMIT: usize = 63;

/// The Job of a plan. A Job's template cannot change, so the name carries a hash of it: the same wish meets
/// the same Job, another one makes its own.
pub(super) fn fetch_job(plan: &ServingPlan, cache: &ModelCache, namespace: &str) -> Value {
    let fetch = &cache.fetch;
    let mut labels = own_labels(&plan.intent.placement.labels);
    labels.insert(MODEL_LABEL.into(), label_value(&fetch.repository).into());
    let pod = pod(fetch, cache, &plan.intent.placement);
    let annotations = json!({ MODEL_ANNOTATION: format!("{}@{}", fetch.repository, fetch.revision) });
    let template = json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": pod });
    // A rejected token or a full disk is the same at the second try; a drained node or a lost network is not.
    let spec = json!({
        "backoffLimit": 2,
        "podFailurePolicy": { "rules": [{
            "action": "FailJob",
            "onExitCodes": { "containerName": FETCH_CONTAINER, "operator": "In", "values": exit::FINAL },
        }] },
        "template": template,
    });
    let mut job_labels = labels;
    // Not in the template, which deployments of one model share: whoever makes the Job first is named on it.
    job_labels.insert("app.kubernetes.io/name".into(), plan.name.clone().into());
    // Neither are the person's annotations: they would make another Job of the same work.
    let mut job_annotations = pairs(&plan.intent.placement.annotations);
    job_annotations.insert(MODEL_ANNOTATION.into(), annotations[MODEL_ANNOTATION].clone());
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name("fetch", &fetch.repository, &fetch.revision, &spec),
            "namespace": namespace,
            "labels": job_labels,
            "annotations": job_annotations,
        },
        "spec": spec,
    })
}

/// What a Job does with a model that is on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOfModel {
    /// Deletes its folder; refused while a fetcher works in it.
    Remove,
    /// Says by its receipt whether it is complete.
    Check,
    /// Hashes every file again.
    Verify,
}

impl JobOfModel {
    /// The fetcher's verb.
    fn verb(self) -> &'static str {
        match self {
            Self::Remove => "remove",
            Self::Check => "check",
            Self::Verify => "verify",
        }
    }
}

/// The Job that does something with a wish's model; `None` where the model is not on a claim.
pub(super) fn job_of_model(intent: &ServingIntent, what: JobOfModel, namespace: &str) -> Option<Value> {
    let cache = model_cache(intent, FetchPlacement::Job).ok()?;
    let mut step = cache.fetch.clone();
    step.args = vec![what.verb().into(), step.repository.clone()];
    if what != JobOfModel::Remove {
        step.args.extend(["--revision".into(), step.revision.clone()]);
    }
    step.args.extend(["--into", MOUNT].map(ToOwned::to_owned));
    step.environment.retain(|variable| variable.name == environment::PROGRESS);
    let spec = json!({
        "backoffLimit": 0,
        "template": {
            // Tells that its pod works on this model alone of those on the claim.
            "metadata": { "labels": own_labels(&[]), "annotations": {
                MODEL_ANNOTATION: format!("{}@{}", cache.fetch.repository, cache.fetch.revision),
            } },
            "spec": pod(&step, &cache, &intent.placement),
        },
    });
    Some(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name(what.verb(), &cache.fetch.repository, &cache.fetch.revision, &spec),
            "namespace": namespace,
            "labels": own_labels(&[]),
        },
        "spec": spec,
    }))
}

fn pod(run: &FetchStep, cache: &ModelCache, placement: &Placement) -> Value {
    let mut pod = json!({
        "restartPolicy": "Never",
        "containers": [fetch_container(run, cache)],
        "volumes": [cache_volume(cache)],
        "securityContext": pod_security(),
        // Where workers may run, the download may too, and nodes with GPUs may be all there is.
        "tolerations": tolerations(placement, 1),
    });
    if let Some(secrets) = pull_secrets(placement) {
        pod["imagePullSecrets"] = secrets;
    }
    pod
}

/// `<verb>-<model>-<revision>-<hash>`, the model shortened to fit.
fn name(verb: &str, repository: &str, revision: &str, spec: &Value) -> String {
    let hash = short_hash(spec, 8);
    // A commit may begin with a digit, which only the beginning of the whole name must not.
    let revision = default_name(revision, usize::MAX);
    let revision = revision.strip_prefix("m-").unwrap_or(&revision);
    let revision = &revision[..revision.len().min(9)];
    let ending = format!("-{}-{hash}", revision.trim_end_matches('-'));
    let model = repository.rsplit('/').next().unwrap_or(repository);
    let model = default_name(model, NAME_LIMIT - ending.len() - verb.len() - 1);
    format!("{verb}-{model}{ending}")
}

/// A label value that names a repository: `/` is not allowed in one, and 63 characters are the limit.
pub(super) fn label_value(repository: &str) -> String {
    let mut value = repository.replace('/', "--");
    value.truncate(63);
    value.trim_matches(['-', '.', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_follow_the_template() {
        let long =
            "org/A-Very-Long-Model-Name-That-Goes-On-And-On-For-Longer-Than-Any-Label-May-Be-0123456789";
        for revision in ["main", "8f3c2d1a4b5c6d7e8f90", "refs/pr/12"] {
            let one = name("fetch", long, revision, &json!({ "a": 1 }));
            let other = name("fetch", long, revision, &json!({ "a": 2 }));
            assert!(one.len() <= NAME_LIMIT, "{one}");
            assert!(crate::intent::name::check_label(&one).is_ok(), "{one}");
            assert_ne!(one, other);
        }
    }

    #[test]
    fn label_values_are_valid() {
        assert_eq!(label_value("Qwen/Qwen3-0.6B"), "Qwen--Qwen3-0.6B");
        assert_eq!(label_value(&format!("o/{}", "x-".repeat(60))).len(), 62);
    }
}
