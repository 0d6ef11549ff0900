//! The volumes that hold models: who uses one, and the Jobs that work on one. Only a pod can reach a volume, so
//! whatever has to look at files is a Job of the fetcher, which goes when it is done.

use serde_json::Value;

use super::summary;
use super::up::fetch;
use crate::cluster::{Change, Cluster, Kind, Outcome};
use crate::error::Result;
use crate::intent::ServingIntent;
use crate::readiness::GRAPH_LABEL;
use crate::report::Report;
pub(super) use crate::resources::JobOfModel;
use crate::resources::{self, Resource};

/// Everything that mounts a claim or means to: pods, deployments of any scale, graphs by their spec or their wish.
/// The graphs that are `going` do not count, nor what is theirs.
pub(super) async fn users(
    cluster: &Cluster,
    graphs: &[Value],
    claim: &str,
    going: &[String],
) -> Result<Vec<String>> {
    let (pods, deployments, sets) = futures::try_join!(
        cluster.list(Kind::Pod, "", false),
        cluster.list(Kind::Deployment, "", false),
        cluster.list(Kind::StatefulSet, "", false),
    )?;
    let is_going = |name: &Value| going.iter().any(|one| *name == one.as_str());
    let stays = |object: &&Value| !is_going(&object["metadata"]["labels"][GRAPH_LABEL]);
    let has_ended = |pod: &&Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let template = |object: &Value| object["spec"]["template"]["spec"].clone();
    let named = |kind: &str, object: &Value| {
        format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default())
    };
    let mut users: Vec<String> = pods
        .iter()
        .filter(stays)
        .filter(|pod| !has_ended(pod) && mounts(&pod["spec"], claim))
        .map(|pod| named("pod", pod))
        .collect();
    for (kind, objects) in [("deployment", &deployments), ("statefulset", &sets)] {
        let own = objects.iter().filter(stays).filter(|object| mounts(&template(object), claim));
        users.extend(own.map(|object| named(kind, object)));
    }
    let graphs = graphs.iter().filter(|graph| !is_going(&graph["metadata"]["name"]) && refers(graph, claim));
    users.extend(graphs.map(|graph| named("dynamographdeployment", graph)));
    Ok(users)
}

fn mounts(pod: &Value, claim: &str) -> bool {
    pod["volumes"].as_array().is_some_and(|volumes| {
        volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
    })
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

/// Runs a Job on the volume of a wish's model to its end, and removes it.
pub(super) async fn run(
    cluster: &Cluster,
    intent: &ServingIntent,
    what: JobOfModel,
    report: &Report,
) -> Result<()> {
    let Some(job) = resources::job_of_model(intent, what, &cluster.namespace) else { return Ok(()) };
    run_job(cluster, job, report).await
}

async fn run_job(cluster: &Cluster, job: Resource, report: &Report) -> Result<()> {
    let name = job.name().to_owned();
    let change =
        Change { resource: job, outcome: Outcome::Created, live: None, result: None, left: Vec::new() };
    cluster.apply(&change, false).await?;
    let ended = fetch::wait(cluster, &name, report).await;
    cluster.delete(Kind::Job, &name).await?;
    ended
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
}
