//! Waiting for a graph: until the operator reports this very spec as ready, and until it has answered.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use futures::StreamExt;
use serde_json::{Value, json};

use super::error::UpError;
use super::starting::Starting;
use super::troubled::Troubled;
use crate::cluster::{Cluster, Kind, Seen, Watched};
use crate::commands::deployment::Deployment;
use crate::commands::{frontend, summary};
use crate::error::Result;
use crate::readiness::{self, GRAPH_LABEL, Observation, Standing, Trouble, components, standing};
use crate::report::{Event, Report, Stage};
use crate::resources::GraphApi;
use crate::smoke_test::{self, Answer};

/// A graph that is waited for.
#[derive(Debug, Clone)]
pub(in crate::commands) struct Awaited {
    pub name: String,
    pub graph_api: GraphApi,
    /// The name that clients ask for; where it is not known, the frontend tells it.
    pub served: Option<String>,
}

impl Awaited {
    /// A deployment that is about to be applied.
    pub(in crate::commands) fn of(deployment: &Deployment) -> Self {
        Self {
            name: deployment.name.clone(),
            graph_api: deployment.graph_api,
            served: deployment.plan.as_ref().map(|plan| plan.served_model_name.clone()),
        }
    }

    /// A graph that is there, or was.
    pub(in crate::commands) fn graph(graph: &Value, graph_api: GraphApi) -> Self {
        let name = graph["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Self { name, graph_api, served: summary::intent(graph).map(|intent| intent.served_model_name) }
    }
}

/// [`readiness::attempts`] of the pods there are before a change; none where they may not be seen.
pub(in crate::commands) async fn attempts(cluster: &Cluster, name: &str) -> BTreeMap<String, u64> {
    let pods = cluster.list(Kind::Pod, &format!("{GRAPH_LABEL}={name}"), false).await;
    readiness::attempts(&pods.unwrap_or_default())
}

/// Returns when the operator reports the spec that was applied as ready.
pub(in crate::commands) async fn wait(
    cluster: &Cluster,
    awaited: &Awaited,
    uid: &str,
    attempts_before: BTreeMap<String, u64>,
    report: &Report,
) -> Result<()> {
    let name = &awaited.name;
    let of_graph = || format!("{GRAPH_LABEL}={name}");
    let api = awaited.graph_api;
    let mut events = cluster.watch(&[
        Watched::named(Kind::Graph(api), name),
        Watched::labelled(Kind::ComponentDeployment(api), of_graph()),
        Watched::labelled(Kind::Pod, of_graph()),
    ]);
    let mut seen = Observation { attempts_before, ..Observation::default() };
    let mut troubled = Troubled::default();
    let mut starting = Starting::new(cluster);
    let mut watches_more = false;
    // Until each has brought its list a deployment that is ready looks like one that waits.
    let mut lists_to_come: usize = 3;
    loop {
        tokio::select! {
            Some(event) = events.next() => {
                lists_to_come -= usize::from(lists_to_come > 0 && begins(&event));
                match event {
                    Seen::Now(Kind::Event, event) => starting.note(&event),
                    Seen::All(Kind::Event, all) => all.iter().for_each(|event| starting.note(event)),
                    event => remember(event, &mut seen, report)?,
                }
            }
            () = starting.hear() => {}
            trouble = troubled.lasts() => return Err(trouble.into()),
        }
        check_identity(&seen, name, uid)?;
        if lists_to_come > 0 {
            continue;
        }
        let standing = standing(&seen);
        if !watches_more && matches!(standing, Standing::Waiting { .. } | Standing::Troubled { .. }) {
            // Only what takes a while is worth more watches.
            events.extend(cluster.watch(&[
                Watched::labelled(Kind::Deployment, of_graph()),
                Watched { fields: "involvedObject.kind=Pod".into(), ..Watched::labelled(Kind::Event, "") },
            ]));
            watches_more = true;
        }
        starting.listen(&seen.pods);
        if let Some(graph) = &seen.graph {
            let pods = starting.lines(name, &components(graph, &seen.pods));
            report.event(&Event::Pods { stage: Stage::Ready, pods });
        }
        match standing {
            Standing::Reported => {
                report.done(Stage::Ready, format!("{name} is reported ready"));
                return Ok(());
            }
            // The first list has not come yet.
            Standing::Absent => {}
            Standing::Waiting { waits_for } => {
                troubled.note(None);
                report.waiting(Stage::Ready, waits_for);
            }
            Standing::Troubled { trouble } => {
                report.waiting(Stage::Ready, format!("{name} to go on: {trouble}"));
                troubled.note(Some(trouble).filter(|trouble| !patient(trouble)));
            }
        }
    }
}

/// Whether a watch has brought all there is at its beginning, or that it may not.
fn begins(event: &Seen) -> bool {
    matches!(event, Seen::All(..) | Seen::Trouble(..))
}

/// What passes when somebody else acts: a node that comes, a fetch or a crashed container that is tried again.
fn patient(trouble: &Trouble) -> bool {
    trouble.may_heal() && !matches!(trouble, Trouble::Operator { .. })
}

fn remember(event: Seen, seen: &mut Observation, report: &Report) -> Result<()> {
    match event {
        Seen::All(Kind::Graph(_), graphs) => {
            // The list begins after the apply, so a graph that is not in it was deleted.
            let gone = || json!({ "metadata": { "deletionTimestamp": "gone" } });
            seen.graph = Some(graphs.into_iter().next().unwrap_or_else(gone));
        }
        Seen::Now(Kind::Graph(_), graph) => seen.graph = Some(graph),
        Seen::Gone(Kind::Graph(_), mut graph) => {
            graph["metadata"]["deletionTimestamp"] = "gone".into();
            seen.graph = Some(graph);
        }
        Seen::All(Kind::ComponentDeployment(_), all) => seen.components = all,
        Seen::Now(Kind::ComponentDeployment(_), one) => put(&mut seen.components, one),
        Seen::Gone(Kind::ComponentDeployment(_), one) => remove(&mut seen.components, &one),
        Seen::All(Kind::Deployment, all) => seen.workloads = all,
        Seen::Now(Kind::Deployment, one) => put(&mut seen.workloads, one),
        Seen::Gone(Kind::Deployment, one) => remove(&mut seen.workloads, &one),
        Seen::All(Kind::Pod, all) => seen.pods = all,
        Seen::Now(Kind::Pod, one) => put(&mut seen.pods, one),
        Seen::Gone(Kind::Pod, one) => remove(&mut seen.pods, &one),
        Seen::Trouble(kind, error) if error.may_pass() => {
            report.waiting(Stage::Ready, format!("the API server: {kind}: {error}"));
        }
        // Without a right to pods there is less to show; without one to component deployments nothing tells which
        // spec a v1alpha1 status belongs to.
        Seen::Trouble(Kind::Graph(_) | Kind::ComponentDeployment(GraphApi::V1Alpha1), error) => {
            return Err(error.into());
        }
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
    if readiness::is_going(graph) {
        return Err(UpError::Deleted { name: name.into() }.into());
    }
    if graph["metadata"]["uid"] != uid {
        return Err(UpError::Replaced { name: name.into() }.into());
    }
    Ok(())
}

/// Asks the deployment for a completion, through a tunnel of its own.
pub(in crate::commands) async fn smoke_test(
    cluster: &Cluster,
    awaited: &Awaited,
    report: &Report,
) -> Result<Answer> {
    let name = &awaited.name;
    let tunnel = cluster.tunnel(frontend::target(name), (Ipv4Addr::LOCALHOST, 0).into()).await?;
    let base_url = format!("http://{}/v1", tunnel.local);
    let not_serving =
        |cause| UpError::NotServing { name: name.clone(), namespace: cluster.namespace.clone(), cause };
    // Which model a file's own objects serve, the frontend tells.
    let model = awaited.served.as_deref();
    report.waiting(Stage::SmokeTest, format!("a completion of {}", model.unwrap_or("what is served")));
    let answer = smoke_test::smoke_test(&base_url, model, smoke_test::PATIENCE).await.map_err(not_serving)?;
    report.done(Stage::SmokeTest, answer.statistics());
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ProgressMode;

    #[test]
    fn a_graph_that_nothing_holds_is_gone_without_a_word_before() {
        let graph = json!({ "metadata": { "name": "tiny", "uid": "1" } });
        let (mut seen, report) = (Observation::default(), Report::new(ProgressMode::None));
        let kind = Kind::Graph(GraphApi::V1Beta1);
        remember(Seen::Now(kind, graph.clone()), &mut seen, &report).expect("it is there");
        check_identity(&seen, "tiny", "1").expect("it is the one that was applied");
        remember(Seen::Gone(kind, graph), &mut seen, &report).expect("no refusal");
        let error = check_identity(&seen, "tiny", "1").expect_err("it is gone");
        assert_eq!(error.to_string(), "tiny was deleted while it came up");
    }
}
