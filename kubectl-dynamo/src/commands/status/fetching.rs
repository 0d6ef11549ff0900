//! A deployment that is not created yet: where the download of its model stands, and why it failed.

use serde_json::{Value, json};

use super::StatusFormat;
use crate::cluster::{Cluster, Platform};
use crate::commands::evidence::{Gathered, Logs, gather_fetch};
use crate::commands::frontend::absent;
use crate::commands::print_data;
use crate::diagnosis::{Cause, cause_of, redacted};
use crate::error::{Exit, Result};
use crate::readiness::{condition, holds, pod_trouble, pods_of_job};

/// How a fetch Job stands.
pub(super) struct Fetching {
    name: String,
    namespace: String,
    job: String,
    state: &'static str,
    /// What keeps it from ending well, if anything does.
    cause: Option<Cause>,
}

/// A deployment that is not created yet may have its model on the way: then that is its status.
///
/// # Errors
/// That there is neither a deployment nor a fetch Job of this name.
pub(in crate::commands) async fn fetching(
    name: &str,
    cluster: &Cluster,
    platform: &Platform,
    output: StatusFormat,
) -> Result<Exit> {
    let Some(fetching) = Fetching::look(name, cluster).await? else {
        return Err(absent(cluster, platform, name).into());
    };
    print_data(&fetching.printed(output))?;
    Ok(fetching.exit())
}

impl Fetching {
    /// The fetch Job that was made for a deployment, if there is one.
    pub(super) async fn look(name: &str, cluster: &Cluster) -> Result<Option<Self>> {
        let gathered = gather_fetch(cluster, name, Logs::OfAll).await?;
        let Some(job) = gathered.jobs.last() else { return Ok(None) };
        let (state, cause) = match holds(job, "Complete") {
            true => ("complete", None),
            false => match (cause(job, &gathered), job["status"]["active"].as_u64()) {
                (cause @ Some(_), _) => ("failed", cause),
                (None, Some(1..)) => ("running", None),
                (None, _) => ("not running", None),
            },
        };
        let job = job["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(Some(Self { name: name.into(), namespace: cluster.namespace.clone(), job, state, cause }))
    }

    pub(super) fn exit(&self) -> Exit {
        if self.cause.is_some() { Exit::Failed } else { Exit::NotReadyInTime }
    }

    pub(super) fn printed(&self, output: StatusFormat) -> String {
        let Self { name, namespace, job, state, cause } = self;
        let text = match (output, cause) {
            (StatusFormat::Text, None) => format!(
                "… COMING UP  {name} is not created yet: its model fetch job/{job} is {state}\n  continue  run the same \
                 `kubectl dynamo up` again\n"
            ),
            (StatusFormat::Text, Some(cause)) => format!(
                "✗ DOWN  {name} is not created: its model fetch job/{job} failed ({code})\n  cause     {code} {cause}\n  \
                 fix       {fix}\n  more      kubectl dynamo logs {name} -c fetch -n {namespace}\n",
                code = cause.code,
                fix = cause.fix,
            ),
            (StatusFormat::Json, cause) => {
                let document = json!({
                    "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Status", "name": name,
                    "namespace": namespace,
                    "verdict": if cause.is_some() { "DOWN" } else { "COMING UP" },
                    "waitsFor": cause.is_none().then(|| format!("job/{job}")),
                    "fetch": { "job": job, "state": state },
                    "why": cause.as_ref().map(ToString::to_string),
                    "code": cause.as_ref().map(|cause| cause.code),
                    "fix": cause.as_ref().map(|cause| &cause.fix),
                });
                format!("{document:#}\n")
            }
        };
        redacted(&text)
    }
}

/// Why a Job failed, or what keeps its pod from starting for good.
fn cause(job: &Value, gathered: &Gathered) -> Option<Cause> {
    let failed = condition(job, "Failed");
    let has_failed = failed["status"] == "True";
    let newest = pods_of_job(job, &gathered.evidence.seen.pods).pop();
    let trouble = newest.and_then(pod_trouble);
    if let Some(trouble) = trouble.filter(|trouble| has_failed || !trouble.may_heal()) {
        return Some(cause_of(&trouble, &gathered.evidence));
    }
    let (name, namespace) = (&job["metadata"]["name"], &job["metadata"]["namespace"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    has_failed.then(|| Cause {
        code: "KD0410",
        text: format!("the fetch Job failed: {}", text(&failed["message"])),
        fix: format!(
            "see its log: kubectl logs job/{} -n {}; then run the same command again",
            text(name),
            text(namespace)
        ),
        exit: Exit::Model,
        place: format!("job {}", text(name)),
    })
}
