//! Follows the status of a deployment: derives it again after each change of its objects, until the deployment
//! serves, has failed, or the time is over. An API server that does not answer is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::report::Report;
use crate::workflow::change_feed::{ChangeFeed, FeedUpdate, warn_not_watched};
use crate::workflow::fetch_status::{FetchJobState, FetchStatus};
use crate::workflow::grace_period::{GRACE_PERIOD, OPERATOR_GRACE_PERIOD};
use crate::workflow::lookup;
use crate::workflow::object_reader::ObjectReader;
use crate::workflow::status::{StatusView, collect_view};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, Platform, WatchTarget};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::readiness::{DeploymentReducer, GRAPH_LABEL};

/// Poll interval if no watch event will come: while the frontend lists no model, and after a failed read.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// What ends the follow before its timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowEnd {
    /// The deployment serves, has failed, or does not exist.
    Outcome,
    /// Nothing; a deployment that is deleted or not created yet is shown as such.
    Timeout,
}

/// Options of the follow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FollowOptions {
    pub end: FollowEnd,
    pub timeout: Duration,
}

/// What exists of a deployment, and its status.
pub(crate) enum ObservedStatus {
    Deployment(Box<StatusView>),
    /// Only its fetch Job exists.
    Fetch(Box<FetchStatus>),
    /// It existed before.
    Deleted,
    NotCreated,
}

impl ObservedStatus {
    /// Returns the exit code of this status, or `None` if there is nothing that has a status.
    fn exit(&self) -> Option<Exit> {
        match self {
            Self::Deployment(view) => Some(view.verdict.exit()),
            Self::Fetch(status) => Some(status.exit()),
            Self::Deleted | Self::NotCreated => None,
        }
    }

    /// Returns how long a failure must last. Only the operator can resolve some of them.
    fn grace_period(&self) -> Duration {
        let cause = match self {
            Self::Deployment(view) => view.verdict.cause(),
            Self::Fetch(_) | Self::Deleted | Self::NotCreated => None,
        };
        match cause.map(|cause| cause.code) {
            Some(MessageCode::ComponentNotCreated) => OPERATOR_GRACE_PERIOD,
            _ => GRACE_PERIOD,
        }
    }

    /// Returns whether a change is expected that the API server has no event for: the frontend lists the model, or the
    /// graph is not created after its fetch.
    fn needs_poll(&self) -> bool {
        match self {
            Self::Deployment(view) => view.is_model_not_listed(),
            Self::Fetch(status) => status.state == FetchJobState::Complete,
            Self::Deleted | Self::NotCreated => false,
        }
    }

    /// Returns whether the deployment's model is being fetched.
    fn is_fetching(&self) -> bool {
        matches!(self, Self::Fetch(status) if status.state != FetchJobState::Complete)
    }
}

/// Whether the deployment was observed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum History {
    NotObserved,
    Existed,
}

/// The follow of one deployment.
pub(crate) struct StatusFollow<'a> {
    pub name: &'a str,
    pub cluster: &'a Cluster,
    pub platform: &'a Platform,
    pub options: FollowOptions,
    pub report: &'a Report,
}

impl StatusFollow<'_> {
    /// Passes each observed status to `show` until the follow ends. Returns the exit code of the last one.
    ///
    /// # Errors
    /// An error of the API server that does not pass, a deployment that does not exist, or an error of `show`.
    pub(crate) async fn run(&self, show: impl FnMut(&ObservedStatus) -> Result<()>) -> Result<Exit> {
        let Self { options, cluster, .. } = *self;
        let deadline = Instant::now() + options.timeout;
        cluster.set_outage_tolerance(options.timeout);
        let mut last_exit = None;
        let result = timeout_at(deadline, self.until_end(show, &mut last_exit)).await;
        result.unwrap_or_else(|_| Ok(last_exit.unwrap_or(Exit::NotReadyInTime)))
    }

    async fn until_end(
        &self,
        mut show: impl FnMut(&ObservedStatus) -> Result<()>,
        last_exit: &mut Option<Exit>,
    ) -> Result<Exit> {
        let Self { name, cluster, platform, options, report } = *self;
        let selector = || format!("{GRAPH_LABEL}={name}");
        let api = platform.graph_api;
        let watches = cluster.watch(&[
            WatchTarget::by_name(Kind::Graph(api), name),
            WatchTarget::by_labels(Kind::Job, lookup::fetch_job_selector()),
            WatchTarget::by_labels(Kind::ComponentDeployment(api), selector()),
            WatchTarget::by_labels(Kind::Pod, selector()),
        ]);
        let objects = DeploymentReducer::for_deployment(name, BTreeMap::new());
        let mut changes = ChangeFeed::new(watches, objects);
        let (mut history, mut down_since, mut fetched_at) = (History::NotObserved, None, None);
        loop {
            let (exit, grace, needs_poll) = match self.observe(&changes.objects, history, fetched_at).await {
                Ok(observed) => {
                    if matches!(observed, ObservedStatus::Deployment(_)) {
                        history = History::Existed;
                    }
                    if observed.is_fetching() {
                        fetched_at = Some(Instant::now());
                    }
                    show(&observed)?;
                    (observed.exit(), observed.grace_period(), observed.needs_poll())
                }
                Err(error) if error.is_retryable() => (None, GRACE_PERIOD, true),
                Err(error) => return Err(error.into()),
            };
            *last_exit = exit;
            let ends_with_outcome = options.end == FollowEnd::Outcome;
            if ends_with_outcome && exit == Some(Exit::Ok) {
                return Ok(Exit::Ok);
            }
            let is_down = ends_with_outcome && exit == Some(Exit::Failed);
            down_since = is_down.then(|| down_since.unwrap_or_else(Instant::now));
            let failure_deadline = down_since.map(|since: Instant| since + grace);
            let poll_at = needs_poll.then(|| Instant::now() + POLL_INTERVAL);
            let update = match [failure_deadline, poll_at].into_iter().flatten().min() {
                Some(until) => timeout_at(until, changes.next()).await.ok(),
                None => Some(changes.next().await),
            };
            if let Some(FeedUpdate::NotWatched(kind, error)) = update.transpose()? {
                warn_not_watched(kind, &error, cluster, report);
            }
            if failure_deadline.is_some_and(|failure_deadline| Instant::now() >= failure_deadline) {
                return Ok(Exit::Failed);
            }
        }
    }

    /// Derives the status once, and reads what is not watched. `fetched_at` is when the model was last seen being
    /// fetched: after that, `up` creates the graph at once.
    async fn observe(
        &self,
        objects: &DeploymentReducer,
        history: History,
        fetched_at: Option<Instant>,
    ) -> std::result::Result<ObservedStatus, ClusterError> {
        let Self { name, cluster, platform, options, report } = *self;
        let reader = ObjectReader::with_watches(cluster, objects);
        if let Some(graph) = reader.graph(platform.graph_api, name).await? {
            let view = collect_view(reader, graph, platform.graph_api).await?;
            return Ok(ObservedStatus::Deployment(Box::new(view)));
        }
        let is_expected = fetched_at.is_some_and(|fetched| fetched.elapsed() < GRACE_PERIOD);
        let existed = history == History::Existed;
        let fetch = if existed { None } else { FetchStatus::find(name, reader).await? };
        match (fetch, options.end) {
            (Some(status), _) if status.state != FetchJobState::Complete || is_expected => {
                Ok(ObservedStatus::Fetch(Box::new(status)))
            }
            (complete, FollowEnd::Outcome) => {
                complete.iter().for_each(|status| status.report_retained_model(report));
                Err(lookup::not_found(cluster, platform, name))
            }
            (_, FollowEnd::Timeout) if existed => Ok(ObservedStatus::Deleted),
            (_, FollowEnd::Timeout) => Ok(ObservedStatus::NotCreated),
        }
    }
}
