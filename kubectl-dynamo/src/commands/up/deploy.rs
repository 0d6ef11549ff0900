//! Waiting for a graph: until the operator reports this very spec as ready, and until it has answered.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::error::UpError;
use crate::cluster::{Cluster, Kind, Seen, Watched};
use crate::commands::deployment::Deployment;
use crate::commands::frontend;
use crate::error::Result;
use crate::readiness::{GRAPH_LABEL, Observation, Standing, Trouble, standing};
use crate::report::{Report, Stage};
use crate::smoke_test::{self, Answer};

/// How long a trouble may last that can pass by itself when the operator or a pod tries again. On 0.9.1 the
/// state `failed` flashes by; an image that cannot be pulled is tried again after 10 s.
const GRACE: Duration = Duration::from_secs(20);

/// Returns when the operator reports the spec that was applied as ready.
pub(super) async fn wait(
    cluster: &Cluster,
    deployment: &Deployment,
    uid: &str,
    report: &Report,
) -> Result<()> {
    let name = &deployment.plan.name;
    let of_graph = || format!("{GRAPH_LABEL}={name}");
    let api = deployment.graph_api;
    let mut events = cluster.watch(&[
        Watched::named(Kind::Graph(api), name),
        Watched::labelled(Kind::ComponentDeployment(api), of_graph()),
        Watched::labelled(Kind::Pod, of_graph()),
    ]);
    let mut seen = Observation::default();
    let mut troubled: Option<(Trouble, Instant)> = None;
    loop {
        let deadline = troubled.as_ref().map(|(_, since)| *since + GRACE);
        tokio::select! {
            Some(event) = events.next() => remember(event, &mut seen, report)?,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                if let Some((trouble, _)) = troubled.take() {
                    return Err(trouble.into());
                }
            }
        }
        check_identity(&seen, name, uid)?;
        match standing(&seen) {
            Standing::Reported => {
                report.done(Stage::Ready, format!("{name} is reported ready"));
                return Ok(());
            }
            // The first list has not come yet.
            Standing::Absent => {}
            Standing::Waiting { waits_for } => {
                troubled = None;
                report.waiting(Stage::Ready, waits_for);
            }
            Standing::Troubled { trouble } if patient(&trouble) => {
                troubled = None;
                report.waiting(Stage::Ready, trouble.to_string());
            }
            Standing::Troubled { trouble } => {
                report.waiting(Stage::Ready, trouble.to_string());
                let since = troubled.take().map_or_else(Instant::now, |(_, since)| since);
                troubled = Some((trouble, since));
            }
        }
    }
}

/// What passes when somebody else acts: a node that comes, a fetch or a crashed container that is tried again.
fn patient(trouble: &Trouble) -> bool {
    trouble.may_heal() && !matches!(trouble, Trouble::Operator { .. })
}

fn remember(event: Seen, seen: &mut Observation, report: &Report) -> Result<()> {
    match event {
        Seen::All(Kind::Graph(_), graphs) => seen.graph = graphs.into_iter().next(),
        Seen::Now(Kind::Graph(_), graph) => seen.graph = Some(graph),
        Seen::Gone(Kind::Graph(_), mut graph) => {
            graph["metadata"]["deletionTimestamp"] = "gone".into();
            seen.graph = Some(graph);
        }
        Seen::All(Kind::ComponentDeployment(_), all) => seen.components = all,
        Seen::Now(Kind::ComponentDeployment(_), one) => put(&mut seen.components, one),
        Seen::Gone(Kind::ComponentDeployment(_), one) => remove(&mut seen.components, &one),
        Seen::All(Kind::Pod, all) => seen.pods = all,
        Seen::Now(Kind::Pod, one) => put(&mut seen.pods, one),
        Seen::Gone(Kind::Pod, one) => remove(&mut seen.pods, &one),
        Seen::Trouble(kind, error) if error.may_pass() => {
            report.waiting(Stage::Ready, format!("the API server ({kind}: {error})"));
        }
        // Only the graph is needed; without a right to the others there is less to show.
        Seen::Trouble(Kind::Graph(_), error) => return Err(error.into()),
        _ => {}
    }
    Ok(())
}

fn put(objects: &mut Vec<Value>, object: Value) {
    remove(objects, &object);
    objects.push(object);
}

fn remove(objects: &mut Vec<Value>, object: &Value) {
    objects.retain(|other| other["metadata"]["uid"] != object["metadata"]["uid"]);
}

/// What was applied must be what is watched.
fn check_identity(seen: &Observation, name: &str, uid: &str) -> Result<()> {
    let Some(graph) = &seen.graph else { return Ok(()) };
    if graph["metadata"]["uid"] != uid {
        return Err(UpError::Replaced { name: name.into() }.into());
    }
    if graph["metadata"]["deletionTimestamp"].is_string() {
        return Err(UpError::Deleted { name: name.into() }.into());
    }
    Ok(())
}

/// Asks the deployment for a completion, through a tunnel of its own.
pub(super) async fn smoke_test(
    cluster: &Cluster,
    deployment: &Deployment,
    report: &Report,
) -> Result<Answer> {
    let plan = &deployment.plan;
    report.waiting(Stage::SmokeTest, format!("a completion of {}", plan.served_model_name));
    let tunnel = cluster.tunnel(frontend::target(&plan.name), (Ipv4Addr::LOCALHOST, 0).into()).await?;
    let base_url = format!("http://{}/v1", tunnel.local);
    let answer = smoke_test::smoke_test(&base_url, &plan.served_model_name, smoke_test::PATIENCE).await?;
    let milliseconds = answer.took.as_millis();
    report.done(Stage::SmokeTest, format!("200, {} tokens in {milliseconds} ms", answer.completion_tokens));
    Ok(answer)
}
