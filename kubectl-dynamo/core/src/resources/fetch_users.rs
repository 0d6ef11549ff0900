//! The deployments that wait for a fetch Job. Deployments of the same model share one Job, which its labels name:
//! the first deployment as the name of the application, and each further one by a label of its own.

use serde_json::{Map, Value, json};

use super::{NAME_LABEL, object_at};
use crate::object::ObjectView;

/// Prefix of the labels with the further deployments.
const WAITING_LABEL: &str = "waiting.kubectl-dynamo.dev/";

/// Returns the deployments that wait for a fetch Job.
pub fn fetch_job_deployments(job: &Value) -> Vec<&str> {
    let job = ObjectView::new(job);
    let labels = job.map("/metadata/labels").into_iter().flatten();
    let waiting = labels.filter_map(|(label, _)| label.strip_prefix(WAITING_LABEL));
    job.label(NAME_LABEL).into_iter().chain(waiting).collect()
}

/// Returns the merge patch that adds a deployment to a Job.
pub fn joining_patch(deployment: &str) -> Value {
    json!({ "metadata": { "labels": { format!("{WAITING_LABEL}{deployment}"): "true" } } })
}

/// Returns the merge patch that removes deployments from a Job. One of the remaining ones replaces the first.
pub fn leaving_patch(job: &Value, leaving: &[String]) -> Value {
    let is_leaving = |name: &str| leaving.iter().any(|one| one == name);
    let deployments = fetch_job_deployments(job);
    let mut labels: Map<String, Value> = deployments
        .iter()
        .skip(1)
        .filter(|name| is_leaving(name))
        .map(|name| (format!("{WAITING_LABEL}{name}"), Value::Null))
        .collect();
    let first_remaining = deployments.iter().find(|name| !is_leaving(name));
    if let Some(remaining) =
        first_remaining.filter(|_| deployments.first().is_some_and(|first| is_leaving(first)))
    {
        labels.insert(NAME_LABEL.into(), (*remaining).into());
        labels.insert(format!("{WAITING_LABEL}{remaining}"), Value::Null);
    }
    let mut patch = json!({});
    object_at(&mut patch, &["metadata"]).insert("labels".into(), labels.into());
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(labels: Value) -> Value {
        json!({ "metadata": { "labels": labels } })
    }

    #[test]
    fn job_names_all_deployments_that_wait_for_it() {
        let mut shared = job(json!({ NAME_LABEL: "a", "kubectl-dynamo.dev/model": "m" }));
        assert_eq!(fetch_job_deployments(&shared), ["a"]);
        for name in ["c", "b"] {
            let patch = joining_patch(name);
            for (label, value) in patch["metadata"]["labels"].as_object().expect("labels") {
                shared["metadata"]["labels"][label] = value.clone();
            }
        }
        assert_eq!(fetch_job_deployments(&shared), ["a", "b", "c"]);
        assert!(fetch_job_deployments(&job(Value::Null)).is_empty());
    }

    #[test]
    fn remaining_deployment_replaces_the_first_one() {
        let shared = job(json!({ NAME_LABEL: "a", "waiting.kubectl-dynamo.dev/b": "true",
            "waiting.kubectl-dynamo.dev/c": "true" }));
        let labels = |leaving: &[&str]| {
            let leaving: Vec<String> = leaving.iter().map(|name| (*name).into()).collect();
            leaving_patch(&shared, &leaving)["metadata"]["labels"].clone()
        };
        assert_eq!(labels(&["c"]), json!({ "waiting.kubectl-dynamo.dev/c": null }));
        assert_eq!(labels(&["a"]), json!({ NAME_LABEL: "b", "waiting.kubectl-dynamo.dev/b": null }));
        assert_eq!(
            labels(&["a", "b"]),
            json!({ NAME_LABEL: "c", "waiting.kubectl-dynamo.dev/b": null, "waiting.kubectl-dynamo.dev/c": null })
        );
    }
}
