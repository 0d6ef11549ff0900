//! Reads the logs of all pods of a deployment as one stream of lines. With [`LogOptions::follow`] it includes
//! pods and restarts that come later.

mod container_stream;
mod cursor;
mod format;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::context::Context;
use crate::kube_flags::FlagError;
use crate::signals::run_until_signal;
use crate::workflow::lookup::{self, DeploymentLookup};
use container_stream::{ContainerStream, LineResult};
pub(crate) use format::LineFilter;
use format::LineFormat;
use kubectl_dynamo_cluster::{Cluster, Kind, LogOptions, WatchTarget, parse_object};
use kubectl_dynamo_core::error::{Exit, Explain, Result};
use kubectl_dynamo_core::object::ObjectFields;
use kubectl_dynamo_core::readiness::{COMPONENT_LABEL, GRAPH_LABEL, JOB_LABEL, ObjectChange, components};
use kubectl_dynamo_core::resources::FETCH_CONTAINER;

/// Value of `-c` that selects the containers that fetch the model.
const FETCH: &str = "fetch";
/// Name that the operator gives the main container of a component.
const MAIN: &str = "main";
/// Maximum number of lines that wait for a slow terminal. At the limit the streams block, so no line is lost.
const BACKLOG: usize = 1024;

/// Which logs to read, and how.
pub(crate) struct LogRequest<'a> {
    /// Name of the deployment.
    pub name: &'a str,
    /// Component, or `fetch` for the containers that fetch the model; all components if not set.
    pub component: Option<&'a str>,
    pub options: LogOptions,
    pub filter: LineFilter,
}

/// Passes the lines to `show` in batches. Read errors are reported as warnings.
///
/// # Errors
/// A deployment or component that does not exist, an API error, or an error of `show`.
pub(crate) async fn read(
    request: LogRequest<'_>,
    context: &Context,
    show: impl FnMut(&str) -> Result<()>,
) -> Result<Exit> {
    let LogRequest { name, component, options, filter } = request;
    let DeploymentLookup { cluster, platform, graph } = lookup::find_deployment(name, context).await?;
    let jobs = lookup::fetch_jobs(&cluster, name).await.unwrap_or_default();
    let is_fetch = component == Some(FETCH);
    match &graph {
        Some(graph) => check_component(graph, component)?,
        None if is_fetch && !jobs.is_empty() => {}
        None => return Err(lookup::not_found(&cluster, &platform, name).into()),
    }
    let mut selectors = vec![format!("{GRAPH_LABEL}={name}")];
    if is_fetch {
        selectors.extend(jobs.iter().map(|job| format!("{JOB_LABEL}={}", job.name())));
    }
    let (lines, line_receiver) = mpsc::channel(BACKLOG);
    let readers = Readers {
        cluster: cluster.clone(),
        options,
        filter: Arc::new(filter),
        initial_lists_done: false,
        started: HashSet::new(),
        pods: HashMap::new(),
        lines,
    };
    let reading = read_all(&cluster, &selectors, component, readers);
    let showing = show_lines(line_receiver, context, show);
    match run_until_signal(async { futures::try_join!(reading, showing) }).await {
        Some(result) => result.map(|((), exit)| exit),
        None => Ok(Exit::Interrupted),
    }
}

/// Returns an error if the deployment does not have the requested component.
fn check_component(graph: &Value, requested: Option<&str>) -> Result<()> {
    let names: Vec<String> = components(graph, &[]).into_iter().map(|component| component.name).collect();
    match requested {
        Some(requested)
            if requested != FETCH && !names.iter().any(|name| name.eq_ignore_ascii_case(requested)) =>
        {
            Err(FlagError::UnknownComponent { component: requested.into(), names: names.join(", ") }.into())
        }
        _ => Ok(()),
    }
}

/// Shows the received lines in batches, and reports read errors.
async fn show_lines(
    mut line_receiver: mpsc::Receiver<LineResult>,
    context: &Context,
    mut show: impl FnMut(&str) -> Result<()>,
) -> Result<Exit> {
    let mut first_error_exit = None;
    let mut batch = Vec::new();
    while line_receiver.recv_many(&mut batch, BACKLOG).await > 0 {
        let mut text = String::new();
        for line in batch.drain(..) {
            match line {
                Ok(line) => text.push_str(&line.text),
                Err(error) => {
                    context.report.warn(error.code(), error.to_string(), error.hint());
                    first_error_exit.get_or_insert(error.exit());
                }
            }
        }
        show(&text)?;
    }
    Ok(first_error_exit.unwrap_or(Exit::Ok))
}

/// Reads the logs of all existing pods and, with `--follow`, of every new pod.
async fn read_all(
    cluster: &Cluster,
    selectors: &[String],
    component: Option<&str>,
    mut readers: Readers,
) -> Result<()> {
    if !readers.options.follow {
        let lists = selectors.iter().map(|labels| cluster.list_objects(labels));
        let pods = futures::future::try_join_all(lists).await?;
        // Each log has a channel of its own, so that the merge can wait for the next line of each.
        let (mut tasks, mut logs) = (Vec::new(), Vec::new());
        let output = readers.lines.clone();
        for pod in pods.iter().flatten() {
            let (sender, receiver) = mpsc::channel(BACKLOG);
            readers.lines = sender;
            tasks.extend(readers.start(pod, component));
            logs.push(receiver);
        }
        drop(readers);
        futures::join!(futures::future::join_all(tasks), merge::merge(logs, output));
        return Ok(());
    }
    let targets: Vec<WatchTarget> =
        selectors.iter().map(|labels| WatchTarget::by_labels(Kind::Pod, labels.as_str())).collect();
    let mut events = cluster.watch(&targets);
    let mut pending_lists = targets.len();
    while let Some(event) = events.next().await {
        let Some(change) = event.into_change()? else { continue };
        let is_initial_list = matches!(change, ObjectChange::Listed(_));
        let pods = match change.try_map(parse_object)? {
            ObjectChange::Listed(pods) => pods,
            ObjectChange::Applied(pod) => vec![pod],
            ObjectChange::Deleted(_) => continue,
        };
        for pod in &pods {
            readers.start(pod, component);
        }
        // Each watch starts with its own list.
        pending_lists = pending_lists.saturating_sub(usize::from(is_initial_list));
        readers.initial_lists_done = pending_lists == 0;
    }
    Ok(())
}

/// Starts one task for each container instance, so a restarted container is read as a new one.
struct Readers {
    cluster: Cluster,
    options: LogOptions,
    filter: Arc<LineFilter>,
    /// Set once the initial lists are handled. Containers that start later are read from their first line.
    initial_lists_done: bool,
    started: HashSet<String>,
    /// Index of each pod in the order of arrival, which selects its color.
    pods: HashMap<String, usize>,
    lines: mpsc::Sender<LineResult>,
}

impl Readers {
    /// Starts the readers of this pod's containers that are not read yet.
    fn start(&mut self, pod: &Pod, component: Option<&str>) -> Vec<tokio::task::JoinHandle<()>> {
        let container = if component == Some(FETCH) { FETCH_CONTAINER } else { MAIN };
        let pod_component = pod.label(COMPONENT_LABEL).unwrap_or_default();
        let is_selected = component
            .is_none_or(|selected| selected == FETCH || selected.eq_ignore_ascii_case(pod_component));
        let (Some(status), true) = (container_stream::container_status(pod, container), is_selected) else {
            return Vec::new();
        };
        let name = pod.name();
        let id = |id: &Option<String>| id.clone().filter(|id| !id.is_empty());
        let mut instances = Vec::new();
        // An instance that started and ended between two events left its log as the previous one.
        let previous = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let previous_id =
            previous.and_then(|previous| id(&previous.container_id)).filter(|_| self.options.follow);
        if let Some(previous_id) = previous_id
            && self.started.insert(previous_id.clone())
            && self.initial_lists_done
        {
            instances.push((previous_id, true));
        }
        if let Some(current_id) = id(&status.container_id)
            && self.started.insert(current_id.clone())
        {
            instances.push((current_id, self.options.previous));
        }
        let number = self.pods.len();
        let number = *self.pods.entry(name.to_owned()).or_insert(number);
        let spawn_reader = |(id, previous)| {
            let options = match self.initial_lists_done {
                true => LogOptions { follow: true, ..LogOptions::default() },
                false => self.options.clone(),
            };
            let instance = ContainerStream {
                cluster: self.cluster.clone(),
                pod: name.to_owned(),
                container,
                id,
                options: LogOptions { previous, ..options },
                format: LineFormat::for_pod(name, number, self.filter.clone()),
                lines: self.lines.clone(),
            };
            tokio::spawn(instance.read())
        };
        instances.into_iter().map(spawn_reader).collect()
    }
}
