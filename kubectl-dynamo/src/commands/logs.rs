//! `logs`: the lines of all of a deployment's pods in one stream, each with its pod's name.

use std::collections::HashSet;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use futures::{AsyncBufReadExt, StreamExt};
use serde_json::Value;
use tokio::sync::mpsc;

use super::frontend::{self, Sought};
use super::kube_flags::{self, FlagError};
use super::{Context, print_data};
use crate::cluster::{Cluster, ClusterError, Kind, LogOptions, Seen, Watched};
use crate::error::{Exit, Explain, Result};
use crate::readiness::{COMPONENT_LABEL, GRAPH_LABEL, JOB_LABEL, components};
use crate::resources::FETCH_CONTAINER;

/// The word of `-c` that means the containers which fetch the model.
const FETCH: &str = "fetch";
/// The operator's name for a component's own container.
const MAIN: &str = "main";
/// Lines that may wait for a slow terminal; beyond that the streams wait, and nothing is lost.
const BACKLOG: usize = 1024;

/// A line to print, or why a container's log cannot be read.
type ReadLine = std::result::Result<String, ClusterError>;

const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Yellow,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// Show the logs of a deployment's pods, merged
#[derive(Args)]
pub(super) struct LogsArgs {
    /// Name of the deployment
    pub name: String,
    /// The deployment is one of this machine
    #[arg(long, conflicts_with_all = ["since", "previous"])]
    pub local: bool,
    /// Only one component: frontend, worker, prefill, decode, or fetch for the model's download
    #[arg(short, long, value_name = "COMPONENT")]
    pub component: Option<String>,
    /// Go on with the lines to come, also of pods that come later
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines of each pod
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Only lines younger than this, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = kube_flags::duration)]
    pub since: Option<Duration>,
    /// Of the containers before their last restart
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
}

pub(super) async fn run(args: LogsArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::logs(&args).await;
    }
    let Sought { cluster, platform, graph } = frontend::look(&args.name, context).await?;
    let jobs = frontend::fetch_jobs(&cluster, &args.name).await.unwrap_or_default();
    let of_fetch = args.component.as_deref() == Some(FETCH);
    match &graph {
        Some(graph) => check_component(graph, args.component.as_deref())?,
        None if of_fetch && !jobs.is_empty() => {}
        None => return Err(frontend::absent(&cluster, &platform, &args.name).into()),
    }
    let mut selectors = vec![format!("{GRAPH_LABEL}={}", args.name)];
    if of_fetch {
        let names = jobs.iter().filter_map(|job| job["metadata"]["name"].as_str());
        selectors.extend(names.map(|name| format!("{JOB_LABEL}={name}")));
    }
    let options = LogOptions {
        follow: args.follow,
        previous: args.previous,
        tail: args.tail.map(i64::from),
        since_seconds: args.since.map(|since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
    };
    let (lines, mut printed) = mpsc::channel(BACKLOG);
    let reading = read_all(&cluster, &selectors, args.component.as_deref(), &options, lines);
    let printing = async {
        let mut first_refusal = None;
        while let Some(read) = printed.recv().await {
            match read {
                Ok(line) => print_data(&line)?,
                Err(error) => {
                    context.report.warn(error.code(), error.to_string(), error.hint());
                    first_refusal.get_or_insert(error.exit());
                }
            }
        }
        Ok(first_refusal.unwrap_or(Exit::Ok))
    };
    tokio::select! {
        result = async { futures::try_join!(reading, printing) } => result.map(|((), exit)| exit),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// Refuses a component that the deployment does not have.
fn check_component(graph: &Value, wanted: Option<&str>) -> Result<()> {
    let names: Vec<String> = components(graph, &[]).into_iter().map(|component| component.name).collect();
    match wanted {
        Some(wanted) if wanted != FETCH && !names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) => {
            Err(FlagError::NoComponent { given: wanted.into(), names: names.join(", ") }.into())
        }
        _ => Ok(()),
    }
}

/// Reads every pod that there is, and with `follow` every one that comes.
async fn read_all(
    cluster: &Cluster,
    selectors: &[String],
    component: Option<&str>,
    options: &LogOptions,
    lines: mpsc::Sender<ReadLine>,
) -> Result<()> {
    let mut readers =
        Readers { cluster: cluster.clone(), options: options.clone(), started: HashSet::new(), lines };
    if !options.follow {
        let lists = selectors.iter().map(|labels| cluster.list(Kind::Pod, labels, false));
        let pods = futures::future::try_join_all(lists).await?;
        let tasks: Vec<_> = pods.iter().flatten().filter_map(|pod| readers.start(pod, component)).collect();
        futures::future::join_all(tasks).await;
        return Ok(());
    }
    let watched: Vec<Watched> =
        selectors.iter().map(|labels| Watched::labelled(Kind::Pod, labels.as_str())).collect();
    let mut events = cluster.watch(&watched);
    while let Some(event) = events.next().await {
        let pods = match event {
            Seen::All(_, pods) => pods,
            Seen::Now(_, pod) => vec![pod],
            Seen::Trouble(_, error) if !error.may_pass() => return Err(error.into()),
            Seen::Trouble(..) | Seen::Gone(..) => continue,
        };
        for pod in &pods {
            readers.start(pod, component);
        }
    }
    Ok(())
}

/// One task for each container that has started, so that a restart is read as a container of its own.
struct Readers {
    cluster: Cluster,
    options: LogOptions,
    started: HashSet<String>,
    lines: mpsc::Sender<ReadLine>,
}

impl Readers {
    fn start(&mut self, pod: &Value, component: Option<&str>) -> Option<tokio::task::JoinHandle<()>> {
        let container = if component == Some(FETCH) { FETCH_CONTAINER } else { MAIN };
        let of_component = pod["metadata"]["labels"][COMPONENT_LABEL].as_str().unwrap_or_default();
        let wanted =
            component.is_none_or(|wanted| wanted == FETCH || wanted.eq_ignore_ascii_case(of_component));
        let id = started_container(pod, container)?;
        if !wanted || !self.started.insert(id) {
            return None;
        }
        let name = pod["metadata"]["name"].as_str()?.to_owned();
        let colour = COLOURS[(self.started.len() - 1) % COLOURS.len()].on_default();
        let (cluster, options, lines) = (self.cluster.clone(), self.options.clone(), self.lines.clone());
        Some(tokio::spawn(async move { read(&cluster, &name, container, &options, colour, &lines).await }))
    }
}

/// The id of a container that has something to say: it runs, or it ran.
fn started_container(pod: &Value, container: &str) -> Option<String> {
    let status = ["containerStatuses", "initContainerStatuses"]
        .iter()
        .flat_map(|field| pod["status"][field].as_array().into_iter().flatten())
        .find(|status| status["name"] == container)?;
    status["containerID"].as_str().filter(|id| !id.is_empty()).map(ToOwned::to_owned)
}

async fn read(
    cluster: &Cluster,
    pod: &str,
    container: &str,
    options: &LogOptions,
    colour: Style,
    lines: &mpsc::Sender<ReadLine>,
) {
    let head = format!("{colour}{pod}{colour:#}");
    let mut read = match cluster.log(pod, Some(container), options).await {
        Ok(log) => log.lines(),
        Err(error) => {
            let _ = lines.send(Err(error)).await;
            return;
        }
    };
    while let Some(Ok(line)) = read.next().await {
        if lines.send(Ok(format!("{head} | {line}\n"))).await.is_err() {
            return;
        }
    }
}
