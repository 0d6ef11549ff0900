//! The volumes that hold models: who uses one, and the Jobs that work on one. Only a pod can reach a volume, so
//! whatever has to look at files is a Job of the fetcher, which goes when it is done.

use serde_json::Value;

use super::summary;
use super::up::fetch;
use crate::cluster::{Change, Cluster, ClusterError, Kind, Outcome};
use crate::error::{Exit, Explain, Result};
use crate::intent::ServingIntent;
use crate::readiness::{GRAPH_LABEL, JOB_LABEL, LastWords, holds, last_words};
use crate::report::{Report, Stage};
pub(super) use crate::resources::JobOfModel;
use crate::resources::{self, Resource};

/// How a graph is named among users.
const GRAPH: &str = "dynamographdeployment";

/// Everything that mounts claims or means to: pods, deployments of any scale, graphs by their spec or their wish.
#[derive(Default)]
pub(super) struct Users {
    pub pods: Vec<Value>,
    pub deployments: Vec<Value>,
    pub sets: Vec<Value>,
    pub graphs: Vec<Value>,
}

/// An object that uses a claim.
pub(super) struct User<'a> {
    pub object: &'a Value,
    /// The graph it is, or belongs to.
    pub graph: Option<&'a str>,
}

impl Users {
    /// All that there are; without a right to one kind nobody could tell that a claim is free.
    ///
    /// # Errors
    /// Refusals.
    pub(super) async fn gather(cluster: &Cluster, graphs: Vec<Value>) -> Result<Self> {
        let (pods, deployments, sets) = futures::try_join!(
            cluster.list(Kind::Pod, "", false),
            cluster.list(Kind::Deployment, "", false),
            cluster.list(Kind::StatefulSet, "", false),
        )?;
        Ok(Self { pods, deployments, sets, graphs })
    }

    /// The names of those that use a claim of a namespace and count.
    pub(super) fn of(&self, namespace: &str, claim: &str, counts: &dyn Fn(&User<'_>) -> bool) -> Vec<String> {
        let kinds = [
            ("pod", &self.pods),
            ("deployment", &self.deployments),
            ("statefulset", &self.sets),
            (GRAPH, &self.graphs),
        ];
        let mut names = Vec::new();
        for (kind, objects) in kinds {
            for object in objects.iter().filter(|one| one["metadata"]["namespace"] == namespace) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let graph = match kind {
                    GRAPH => Some(name),
                    _ => object["metadata"]["labels"][GRAPH_LABEL].as_str(),
                };
                if uses(kind, object, claim) && counts(&User { object, graph }) {
                    names.push(format!("{kind}/{name}"));
                }
            }
        }
        names
    }
}

fn uses(kind: &str, object: &Value, claim: &str) -> bool {
    match kind {
        "pod" => {
            let has_ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            !has_ended && mounts(&object["spec"], claim)
        }
        GRAPH => refers(object, claim),
        _ => mounts(&object["spec"]["template"]["spec"], claim),
    }
}

fn mounts(pod: &Value, claim: &str) -> bool {
    claims(pod).any(|name| name == claim)
}

/// The claims that a pod's spec mounts.
pub(super) fn claims(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = pod["volumes"].as_array().into_iter().flatten();
    volumes.filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str())
}

/// A graph refers to a claim by its wish, by a volume of a pod template, or by the names of the older shape.
pub(super) fn refers(graph: &Value, claim: &str) -> bool {
    fn anywhere(value: &Value, claim: &str) -> bool {
        match value {
            Value::Object(fields) => {
                fields.get("claimName").is_some_and(|name| name == claim)
                    || fields.values().any(|value| anywhere(value, claim))
            }
            Value::Array(items) => items.iter().any(|value| anywhere(value, claim)),
            _ => false,
        }
    }
    let wished = summary::intent(graph).is_some_and(|intent| intent.cache.claim() == claim);
    let listed =
        graph["spec"]["pvcs"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == claim));
    wished || listed || anywhere(&graph["spec"], claim)
}

/// Runs a Job on the volume of a wish's model to its end, and removes it. Answers the fetcher's last words, where
/// they could be read.
///
/// # Errors
/// How the fetcher failed, unless it said so in its last words.
pub(super) async fn run(
    cluster: &Cluster,
    intent: &ServingIntent,
    what: JobOfModel,
    report: &Report,
) -> Result<Option<LastWords>> {
    let Some(job) = resources::job_of_model(intent, what, &cluster.namespace) else { return Ok(None) };
    let name = job.name().to_owned();
    cluster.apply(&anew(cluster, job).await?, false).await?;
    let ended = fetch::wait(cluster, &name, Stage::ModelCache, report).await;
    let said = said(cluster, &name).await;
    cluster.delete(Kind::Job, &name).await?;
    match (ended, said) {
        (Err(error), None) => Err(error),
        (Err(_), Some(said)) if said.exit_code != 0 => Ok(Some(said)),
        (Err(error), Some(_)) => Err(error),
        (Ok(()), said) => Ok(said),
    }
}

/// That the fetcher could not do what it was to do.
///
/// # Errors
/// Its exit code and last words.
pub(super) fn refuse_failure(said: Option<LastWords>, intent: &ServingIntent) -> Result<()> {
    match said.filter(|said| said.exit_code != 0) {
        None => Ok(()),
        Some(LastWords { exit_code, message, .. }) => Err(FetcherFailed {
            model: intent.model.to_string(),
            claim: intent.cache.claim().into(),
            exit_code,
            message,
        }
        .into()),
    }
}

/// The fetcher's own failure.
#[derive(Debug, thiserror::Error)]
#[error("the fetcher could not work on {model} on pvc/{claim} (exit code {exit_code}): {message}")]
struct FetcherFailed {
    model: String,
    claim: String,
    exit_code: u64,
    message: String,
}

impl Explain for FetcherFailed {
    fn code(&self) -> Option<&'static str> {
        Some("KD0423")
    }

    fn hint(&self) -> Option<String> {
        Some("mend what it says, then run the same command again".into())
    }

    fn exit(&self) -> Exit {
        if self.exit_code == u64::from(model_fetcher::contract::exit::ACCESS) {
            Exit::Access
        } else {
            Exit::Model
        }
    }
}

/// A Job of the same name may have stayed when its plugin was ended: one that runs is joined, one that is over tells
/// of a moment that is gone.
async fn anew(cluster: &Cluster, resource: Resource) -> std::result::Result<Change, ClusterError> {
    let live = cluster.get(Kind::Job, resource.name()).await?;
    let is_over = |job: &Value| ["Complete", "Failed"].iter().any(|end| holds(job, end));
    let outcome = match &live {
        None => Outcome::Created,
        Some(job) if is_over(job) => Outcome::Repeated,
        Some(_) => Outcome::Kept,
    };
    Ok(Change { resource, outcome, live, result: None, left: Vec::new() })
}

async fn said(cluster: &Cluster, job: &str) -> Option<LastWords> {
    let pods = cluster.list(Kind::Pod, &format!("{JOB_LABEL}={job}"), false).await.ok()?;
    pods.iter().rev().find_map(last_words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_graph_refers_to_its_claim_in_either_shape() {
        let beta = json!({ "spec": { "components": [{ "podTemplate": { "spec": { "volumes": [
            { "name": "m", "persistentVolumeClaim": { "claimName": "models" } },
        ] } } }] } });
        let alpha = json!({ "spec": { "pvcs": [{ "name": "models" }], "services": {} } });
        for graph in [beta, alpha] {
            assert!(refers(&graph, "models"));
            assert!(!refers(&graph, "others"));
        }
    }

    #[test]
    fn users_are_of_the_claims_own_namespace_and_have_not_ended() {
        let pod = |name: &str, namespace: &str, phase: &str| {
            json!({
                "metadata": { "name": name, "namespace": namespace, "labels": { GRAPH_LABEL: "one" } },
                "spec": { "volumes": [{ "persistentVolumeClaim": { "claimName": "models" } }] },
                "status": { "phase": phase },
            })
        };
        let pods =
            vec![pod("a", "here", "Running"), pod("b", "there", "Running"), pod("c", "here", "Succeeded")];
        let users = Users { pods, ..Users::default() };
        assert_eq!(users.of("here", "models", &|_| true), ["pod/a"]);
        assert!(users.of("here", "models", &|user| user.graph != Some("one")).is_empty());
        assert!(users.of("here", "others", &|_| true).is_empty());
    }
}
