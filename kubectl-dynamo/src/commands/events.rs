//! `events`: what was said about every object of a deployment, in the order of time.

use clap::Args;
use futures::StreamExt;
use serde_json::{Value, json};

use super::evidence::{Tree, event_time, events_of, tree};
use super::frontend::{self, Sought};
use super::interruption::unless_left;
use super::status::StatusFormat;
use super::summary::age;
use super::table::table;
use super::{Context, print_data, words};
use crate::cluster::{Cluster, ClusterError, Kind, Seen, Watched};
use crate::error::{Exit, Result};
use crate::resources::GraphApi;

/// Show the events of a deployment and of everything below it, oldest first
#[derive(Args)]
pub(super) struct EventsArgs {
    /// Name of the deployment
    pub name: String,
    /// Go on with the events to come
    #[arg(short, long)]
    pub watch: bool,
    /// Output format
    #[arg(short, long, value_parser = words::<StatusFormat>(), default_value = "text")]
    pub output: StatusFormat,
}

pub(super) async fn run(args: EventsArgs, context: &Context) -> Result<Exit> {
    let Sought { cluster, platform, graph } = frontend::look(&args.name, context).await?;
    let jobs = frontend::fetch_jobs(&cluster, &args.name).await.unwrap_or_default();
    if graph.is_none() && jobs.is_empty() {
        return Err(frontend::absent(&cluster, &platform, &args.name).into());
    }
    let api = platform.graph_api;
    let tree = tree(&cluster, &args.name, graph, api).await;
    let events = events_of(cluster.list(Kind::Event, "", false).await?, &tree.seen, &tree.claims, &jobs);
    match args.output {
        StatusFormat::Json => {
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": events });
            print_data(&format!("{list:#}\n"))?;
        }
        StatusFormat::Text if events.is_empty() => {
            context.report.detail(format!("no events of {} are left; they last for an hour", args.name));
        }
        StatusFormat::Text => print_data(&rows(&events))?,
    }
    if !args.watch {
        return Ok(Exit::Ok);
    }
    match unless_left(follow(&cluster, &args, tree, api, jobs, events)).await {
        Some(result) => result.map(|()| Exit::Ok),
        None => Ok(Exit::Interrupted),
    }
}

/// Prints each event that comes, once for each time it is seen.
async fn follow(
    cluster: &Cluster,
    args: &EventsArgs,
    mut known_tree: Tree,
    api: GraphApi,
    jobs: Vec<Value>,
    mut printed: Vec<Value>,
) -> Result<()> {
    let all = Watched { kind: Kind::Event, labels: String::new(), fields: String::new() };
    let mut changes = cluster.watch(&[all]);
    while let Some(change) = changes.next().await {
        let came = match change {
            Seen::All(_, events) => events,
            Seen::Now(_, event) => vec![event],
            Seen::Trouble(_, error) if !error.may_pass() => return Err(ClusterError::into(error)),
            Seen::Trouble(..) | Seen::Gone(..) => continue,
        };
        let known = |event: &Value| {
            printed.iter().any(|one| {
                one["metadata"]["uid"] == event["metadata"]["uid"] && event_time(one) == event_time(event)
            })
        };
        let new: Vec<Value> = came.into_iter().filter(|event| !known(event)).collect();
        if new.is_empty() {
            continue;
        }
        // What came meanwhile has events too; where it cannot be listed now, what was there before does.
        let graph = cluster.get(Kind::Graph(api), &args.name).await.ok().flatten();
        let graph = graph.or(known_tree.seen.graph.clone());
        let fresh = tree(cluster, &args.name, graph, api).await;
        if !fresh.unseen.iter().any(|one| one.error.may_pass()) {
            known_tree = fresh;
        }
        let new = events_of(new, &known_tree.seen, &known_tree.claims, &jobs);
        for event in &new {
            print_data(&match args.output {
                StatusFormat::Json => format!("{event}\n"),
                StatusFormat::Text => line(event),
            })?;
        }
        printed.extend(new);
    }
    Ok(())
}

fn rows(events: &[Value]) -> String {
    let now = jiff::Timestamp::now();
    let row = |event: &Value| {
        let last = event_time(event).map(|time| age(&time.to_string(), now)).unwrap_or_else(|| "-".into());
        let times = event["count"].as_u64().or(event["series"]["count"].as_u64()).unwrap_or(1);
        let times = if times > 1 { format!("{times}×") } else { String::new() };
        let [kind, reason, about, message] = cells(event);
        vec![last, times, kind, reason, about, message]
    };
    table(&["LAST SEEN", "TIMES", "TYPE", "REASON", "OBJECT", "MESSAGE"], events.iter().map(row).collect())
}

fn line(event: &Value) -> String {
    cells(event).join("   ") + "\n"
}

fn cells(event: &Value) -> [String; 4] {
    let text = |value: &Value| value.as_str().unwrap_or_default().trim().replace('\n', " ");
    let about = &event["involvedObject"];
    [
        text(&event["type"]),
        text(&event["reason"]),
        format!("{}/{}", text(&about["kind"]).to_lowercase(), text(&about["name"])),
        text(&event["message"]),
    ]
}
