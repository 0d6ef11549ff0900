//! `logs`: the lines of all of a deployment's pods in one stream, each with its pod's name.

mod instance;
mod position;
mod shown;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use regex::Regex;
use serde_json::Value;
use tokio::sync::mpsc;

use super::frontend::{self, Sought};
use super::interruption::unless_left;
use super::kube_flags::{self, FlagError};
use super::{Context, print_data};
use crate::cluster::{Cluster, Kind, LogOptions, Seen, Watched};
use crate::error::{Exit, Explain, Result};
use crate::readiness::{COMPONENT_LABEL, GRAPH_LABEL, JOB_LABEL, components};
use crate::resources::FETCH_CONTAINER;
use instance::{Instance, ReadLine};
use shown::{Shown, Wanted};

/// The word of `-c` that means the containers which fetch the model.
const FETCH: &str = "fetch";
/// The operator's name for a component's own container.
const MAIN: &str = "main";
/// Lines that may wait for a slow terminal; beyond that the streams wait, and nothing is lost.
const BACKLOG: usize = 1024;

/// Show the logs of a deployment's pods, merged
#[derive(Args)]
pub(super) struct LogsArgs {
    /// Name of the deployment
    pub name: String,
    /// The deployment is one of this machine
    #[arg(long, conflicts_with_all = ["since", "previous", "include", "exclude", "timestamps"])]
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
    /// Only lines that match this regular expression; of several, one must match
    #[arg(short, long, value_name = "REGEX")]
    pub include: Vec<Regex>,
    /// No lines that match this regular expression
    #[arg(short, long, value_name = "REGEX")]
    pub exclude: Vec<Regex>,
    /// Put before each line when it was written
    #[arg(long)]
    pub timestamps: bool,
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
        ..LogOptions::default()
    };
    let wanted = Wanted { include: args.include, exclude: args.exclude, timestamps: args.timestamps };
    let (lines, read) = mpsc::channel(BACKLOG);
    let readers = Readers {
        cluster: cluster.clone(),
        options,
        wanted: Arc::new(wanted),
        begun: false,
        started: HashSet::new(),
        pods: HashMap::new(),
        lines,
    };
    let reading = read_all(&cluster, &selectors, args.component.as_deref(), readers);
    let printing = print(read, context);
    match unless_left(async { futures::try_join!(reading, printing) }).await {
        Some(result) => result.map(|((), exit)| exit),
        None => Ok(Exit::Interrupted),
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

/// Prints what is read, as much at once as there is; why something could not be read goes to stderr.
async fn print(mut read: mpsc::Receiver<ReadLine>, context: &Context) -> Result<Exit> {
    let mut first_refusal = None;
    let mut several = Vec::new();
    while read.recv_many(&mut several, BACKLOG).await > 0 {
        let mut text = String::new();
        for line in several.drain(..) {
            match line {
                Ok(line) => text.push_str(&line),
                Err(error) => {
                    context.report.warn(error.code(), error.to_string(), error.hint());
                    first_refusal.get_or_insert(error.exit());
                }
            }
        }
        print_data(&text)?;
    }
    Ok(first_refusal.unwrap_or(Exit::Ok))
}

/// Reads every pod that there is, and to follow every one that comes.
async fn read_all(
    cluster: &Cluster,
    selectors: &[String],
    component: Option<&str>,
    mut readers: Readers,
) -> Result<()> {
    if !readers.options.follow {
        let lists = selectors.iter().map(|labels| cluster.list(Kind::Pod, labels, false));
        let pods = futures::future::try_join_all(lists).await?;
        let tasks: Vec<_> = pods.iter().flatten().flat_map(|pod| readers.start(pod, component)).collect();
        futures::future::join_all(tasks).await;
        return Ok(());
    }
    let watched: Vec<Watched> =
        selectors.iter().map(|labels| Watched::labelled(Kind::Pod, labels.as_str())).collect();
    let mut events = cluster.watch(&watched);
    let mut lists_to_come = watched.len();
    while let Some(event) = events.next().await {
        let is_list = matches!(event, Seen::All(..));
        let pods = match event {
            Seen::All(_, pods) => pods,
            Seen::Now(_, pod) => vec![pod],
            Seen::Trouble(_, error) if !error.may_pass() => return Err(error.into()),
            Seen::Trouble(..) | Seen::Gone(..) => continue,
        };
        for pod in &pods {
            readers.start(pod, component);
        }
        // Each watch begins with a list of its own.
        lists_to_come = lists_to_come.saturating_sub(usize::from(is_list));
        readers.begun = lists_to_come == 0;
    }
    Ok(())
}

/// One task for each container that has started, so that a restart is read as a container of its own.
struct Readers {
    cluster: Cluster,
    options: LogOptions,
    wanted: Arc<Wanted>,
    /// Those that were there at first are being read: what starts now is new, and read from its first line on.
    begun: bool,
    started: HashSet<String>,
    /// In the order they were met, for their colours.
    pods: HashMap<String, usize>,
    lines: mpsc::Sender<ReadLine>,
}

impl Readers {
    /// Reads what this pod has to say that is not being read yet.
    fn start(&mut self, pod: &Value, component: Option<&str>) -> Vec<tokio::task::JoinHandle<()>> {
        let container = if component == Some(FETCH) { FETCH_CONTAINER } else { MAIN };
        let of_component = pod["metadata"]["labels"][COMPONENT_LABEL].as_str().unwrap_or_default();
        let wanted =
            component.is_none_or(|wanted| wanted == FETCH || wanted.eq_ignore_ascii_case(of_component));
        let (Some(name), Some(status), true) =
            (pod["metadata"]["name"].as_str(), instance::status(pod, container), wanted)
        else {
            return Vec::new();
        };
        let id = |status: &Value| {
            status["containerID"].as_str().filter(|id| !id.is_empty()).map(ToOwned::to_owned)
        };
        let mut instances = Vec::new();
        // One that came and went between two looks has left its log as the previous one.
        let before = id(&status["lastState"]["terminated"]).filter(|_| self.options.follow);
        if let Some(before) = before
            && self.started.insert(before.clone())
            && self.begun
        {
            instances.push((before, true));
        }
        if let Some(now) = id(status)
            && self.started.insert(now.clone())
        {
            instances.push((now, self.options.previous));
        }
        let number = self.pods.len();
        let number = *self.pods.entry(name.to_owned()).or_insert(number);
        let read = |(id, previous)| {
            let options = match self.begun {
                true => LogOptions { follow: true, ..LogOptions::default() },
                false => self.options.clone(),
            };
            let instance = Instance {
                cluster: self.cluster.clone(),
                pod: name.to_owned(),
                container,
                id,
                options: LogOptions { previous, ..options },
                shown: Shown::of(name, number, self.wanted.clone()),
                lines: self.lines.clone(),
            };
            tokio::spawn(instance.read())
        };
        instances.into_iter().map(read).collect()
    }
}
