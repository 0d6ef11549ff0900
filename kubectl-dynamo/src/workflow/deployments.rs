//! Lists the deployments of one namespace or of all namespaces, with the status of each. It only reads.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::hash::Hash;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::time::timeout;

use crate::context::Context;
use crate::workflow::change_feed::{ChangeFeed, FeedUpdate, warn_not_watched};
use crate::workflow::fetch_status::{FetchJobState, job_state};
use crate::workflow::summary::{DeploymentSummary, ListStatus, list_status, summarize};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, NamespaceScope, WatchTarget};
use kubectl_dynamo_core::diagnosis::Snapshot;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::{ObjectFields, ObjectView, ObservedObject};
use kubectl_dynamo_core::readiness::{GRAPH_LABEL, JOB_LABEL, Observation, job_condition};
use kubectl_dynamo_core::resources::{FIELD_MANAGER, GraphApi, MANAGED_BY_LABEL, NAME_LABEL};

/// Delay before a list that could not be read is read again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The deployments to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListQuery<'a> {
    /// Label selector; empty for all.
    pub selector: &'a str,
    pub scope: NamespaceScope,
}

/// One deployment of the list with its status.
pub(crate) struct ListEntry {
    pub summary: DeploymentSummary,
    pub status: ListStatus,
}

impl ListQuery<'_> {
    /// Lists the deployments, sorted by name.
    ///
    /// # Errors
    /// Every API error.
    pub(crate) async fn list(
        &self,
        cluster: &Cluster,
        api: GraphApi,
    ) -> std::result::Result<Vec<ListEntry>, ClusterError> {
        let graphs = cluster.list_in(self.scope, Kind::Graph(api), self.selector);
        self.entries(graphs, cluster, api).await
    }

    /// Lists the objects of these graphs, and derives the status of each.
    async fn entries(
        &self,
        graphs: impl Future<Output = std::result::Result<Vec<Value>, ClusterError>>,
        cluster: &Cluster,
        api: GraphApi,
    ) -> std::result::Result<Vec<ListEntry>, ClusterError> {
        let scope = self.scope;
        let managed = format!("{MANAGED_BY_LABEL}={FIELD_MANAGER}");
        let job_selector = match self.selector {
            "" => managed,
            selector => format!("{managed},{selector}"),
        };
        let (graphs, components, pods, jobs) = futures::join!(
            graphs,
            component_deployments(cluster, api, scope),
            cluster.list_objects_in::<Pod>(scope, GRAPH_LABEL),
            cluster.list_objects_in::<Job>(scope, &job_selector),
        );
        // Without the permission to list pods or Jobs, the list shows less.
        let (graphs, components, jobs) = (graphs?, components?, jobs.unwrap_or_default());
        let pods = group(pods.unwrap_or_default(), |pod| {
            (pod.namespace().to_owned(), pod.label(GRAPH_LABEL).unwrap_or_default().to_owned())
        });
        let to_entry = |graph: &Value| {
            let own_components = components.get(ObjectView::new(graph).uid());
            let own_components = own_components.map(Vec::as_slice).unwrap_or_default();
            let summary = summarize(graph);
            let own_pods = pods.get(&(summary.namespace.clone(), summary.name.clone()));
            let own_pods = own_pods.map(Vec::as_slice).unwrap_or_default();
            ListEntry { status: list_status(graph, own_components, own_pods), summary }
        };
        let mut entries: Vec<ListEntry> = graphs.iter().map(to_entry).collect();
        entries.extend(planned_deployments(cluster, scope, &entries, jobs).await);
        entries.sort_by(|one, other| {
            (&one.summary.namespace, &one.summary.name).cmp(&(&other.summary.namespace, &other.summary.name))
        });
        Ok(entries)
    }

    /// Passes the list to `show` after each change of a deployment. An API server that does not answer is
    /// waited for.
    ///
    /// # Errors
    /// An API error that does not pass, or an error of `show`.
    pub(crate) async fn follow(
        &self,
        cluster: &Cluster,
        api: GraphApi,
        context: &Context,
        mut show: impl FnMut(Vec<ListEntry>) -> Result<()>,
    ) -> Result<Infallible> {
        let target = WatchTarget::by_labels(Kind::Graph(api), self.selector);
        let graphs: Vec<Value> = Vec::new();
        let mut changes = ChangeFeed::new(cluster.watch_in(&[target], self.scope), graphs);
        let mut is_outdated = false;
        loop {
            let update = match is_outdated {
                true => timeout(RETRY_INTERVAL, changes.next()).await.ok(),
                false => Some(changes.next().await),
            };
            match update.transpose()? {
                Some(FeedUpdate::Reconnecting) => continue,
                Some(FeedUpdate::NotWatched(kind, error)) => {
                    warn_not_watched(kind, &error, cluster, &context.report);
                    continue;
                }
                Some(FeedUpdate::Changed) | None => {}
            }
            let graphs = ready(Ok(changes.objects.clone()));
            is_outdated = match self.entries(graphs, cluster, api).await {
                Ok(entries) => {
                    show(entries)?;
                    false
                }
                Err(error) if error.is_retryable() => true,
                Err(error) => return Err(error.into()),
            };
        }
    }
}

/// Returns the deployments that are not created yet: those of unfinished fetch Jobs without a graph.
async fn planned_deployments(
    cluster: &Cluster,
    scope: NamespaceScope,
    existing: &[ListEntry],
    jobs: Vec<ObservedObject<Job>>,
) -> Vec<ListEntry> {
    let has_graph = |job: &Job| {
        existing.iter().any(|ListEntry { summary, .. }| {
            job.namespace() == summary.namespace && job.label(NAME_LABEL) == Some(&summary.name)
        })
    };
    let is_planned = |job: &ObservedObject<Job>| {
        job.label(NAME_LABEL).is_some() && job_condition(job, "Complete").is_none() && !has_graph(job)
    };
    let newest_last = group(jobs.into_iter().filter(is_planned).collect(), |job| {
        (job.namespace().to_owned(), job.label(NAME_LABEL).unwrap_or_default().to_owned())
    });
    if newest_last.is_empty() {
        return Vec::new();
    }
    let pods = cluster.list_objects_in::<Pod>(scope, JOB_LABEL).await.unwrap_or_default();
    let to_entry = |jobs: Vec<ObservedObject<Job>>| {
        let job = jobs.into_iter().max_by_key(|job| job.metadata.creation_timestamp.clone())?;
        let observation = Observation { pods: pods.clone(), ..Observation::default() };
        let evidence = Snapshot { observation, job: Some(job.clone()), ..Snapshot::default() };
        let status = match job_state(&job, &evidence).0 {
            FetchJobState::Failed => ListStatus::FetchFailed,
            FetchJobState::Complete | FetchJobState::Running | FetchJobState::NotRunning => {
                ListStatus::Fetching
            }
        };
        Some(ListEntry { summary: DeploymentSummary::of_fetch_job(&job), status })
    };
    newest_last.into_values().filter_map(to_entry).collect()
}

/// Groups objects by a key.
fn group<K: Eq + Hash, T>(objects: Vec<T>, key: impl Fn(&T) -> K) -> HashMap<K, Vec<T>> {
    let mut groups: HashMap<K, Vec<T>> = HashMap::new();
    for object in objects {
        groups.entry(key(&object)).or_default().push(object);
    }
    groups
}

/// Lists the component deployments by the UID of their graph. Only v1alpha1 needs them: a 0.9.1 graph status
/// does not state which spec it belongs to. The map keeps a list of a thousand graphs linear.
async fn component_deployments(
    cluster: &Cluster,
    api: GraphApi,
    scope: NamespaceScope,
) -> std::result::Result<HashMap<String, Vec<Value>>, ClusterError> {
    match api {
        GraphApi::V1Beta1 => Ok(HashMap::new()),
        GraphApi::V1Alpha1 => {
            let all = cluster.list_in(scope, Kind::ComponentDeployment(api), "").await?;
            Ok(group(all, |one| {
                let owner = ObjectView::new(one).text("/metadata/ownerReferences/0/uid");
                owner.unwrap_or_default().to_owned()
            }))
        }
    }
}

/// Reports that there are no deployments.
pub(crate) fn report_no_deployments(scope: NamespaceScope, cluster: &Cluster, context: &Context) {
    let scope = match scope {
        NamespaceScope::AllNamespaces => "any namespace".into(),
        NamespaceScope::OneNamespace => format!("namespace \"{}\"", cluster.namespace),
    };
    context.report.info(format!("no deployments found in {scope}"));
}
