//! Deletes deployments and lists what is retained.
//! It must not delete a cache without [`DownOptions::delete_cache`], nor a cache that another workload uses.

mod error;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use serde_json::Value;

use crate::context::Context;
use crate::report::Stage;
use crate::typed_command::typed;
use crate::workflow::cache_jobs::{self, ModelJobAction, PvcUser, PvcUsers};
use crate::workflow::companions::delete_companions;
use crate::workflow::{lookup, retained, shared_fetch, summary, wait_deleted};
use error::DownError;
use kubectl_dynamo_cluster::{Cluster, Kind, Platform};
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::{ServingIntent, StringEnum};
use kubectl_dynamo_core::object::{ObjectFields, ObservedObject};
use kubectl_dynamo_core::readiness::{is_terminating, job_condition};
use kubectl_dynamo_core::resources::{
    FIELD_MANAGER, MANAGED_BY_LABEL, MODEL_ANNOTATION, fetch_job_deployments,
};

/// The deployments to delete.
#[derive(Debug, Clone)]
pub(crate) enum DeletionTargets {
    Names(Vec<String>),
    /// All deployments with these labels.
    Selector(String),
    /// All deployments that this plugin manages.
    AllManaged,
}

/// Options of a deletion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DownOptions {
    pub delete_cache: Option<DeleteCache>,
    /// Wait until the deployment and its pods are deleted.
    pub wait_until_deleted: bool,
    /// Maximum time for the complete operation.
    pub timeout: Duration,
}

/// The part of the cache that is deleted with a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeleteCache {
    /// The folder of the deployment's model.
    Model,
    /// The PVC, with every model on it.
    Pvc,
}

impl StringEnum for DeleteCache {
    const ALL: &'static [Self] = &[Self::Model, Self::Pvc];

    fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Pvc => "pvc",
        }
    }
}

/// Finds the deployments to delete, and reports the PVCs that are deleted with them. Deletes nothing.
///
/// # Errors
/// A deployment that does not exist, and every API error.
pub(crate) async fn plan<'a>(
    targets: &DeletionTargets,
    options: DownOptions,
    context: &'a Context,
) -> Result<Deletion<'a>> {
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let contents = NamespaceContents::gather(&cluster, &platform).await?;
    let names = contents.target_names(targets, &cluster, &platform).await?;
    for (name, graph) in names.iter().filter_map(|name| Some((name, contents.graph(name)?))) {
        for pvc in retained::pvcs_created_by_graph(graph) {
            context.report.info(format!(
                "pvc/{pvc} and its models are deleted with deployment \"{name}\", which created it"
            ));
        }
    }
    Ok(Deletion { names, cluster, platform, contents, options, context })
}

/// The deployments and fetch Jobs of the namespace, listed once.
struct NamespaceContents {
    graphs: Vec<Value>,
    jobs: Vec<ObservedObject<Job>>,
}

impl NamespaceContents {
    async fn gather(cluster: &Cluster, platform: &Platform) -> Result<Self> {
        let owned_by_us = format!("{MANAGED_BY_LABEL}={FIELD_MANAGER}");
        let (graphs, jobs) = futures::try_join!(
            cluster.list(Kind::Graph(platform.graph_api), ""),
            cluster.list_objects(&owned_by_us),
        )?;
        Ok(Self { graphs, jobs })
    }

    /// Returns the names of the selected deployments. Each one exists, or its model download is running.
    async fn target_names(
        &self,
        targets: &DeletionTargets,
        cluster: &Cluster,
        platform: &Platform,
    ) -> Result<Vec<String>> {
        let selector = match targets {
            DeletionTargets::Selector(selector) => selector.clone(),
            DeletionTargets::AllManaged => format!("{MANAGED_BY_LABEL}={FIELD_MANAGER}"),
            DeletionTargets::Names(names) => {
                let is_running = |job: &&ObservedObject<Job>| !is_complete(job);
                let is_absent = |name: &&String| {
                    self.graph(name).is_none() && !self.jobs_named(name).iter().any(is_running)
                };
                return match names.iter().find(is_absent) {
                    Some(name) => Err(lookup::not_found(cluster, platform, name).into()),
                    None => Ok(names.clone()),
                };
            }
        };
        let graphs = cluster.list(Kind::Graph(platform.graph_api), &selector).await?;
        Ok(graphs.iter().map(|graph| summary::summarize(graph).name).collect())
    }

    fn graph(&self, name: &str) -> Option<&Value> {
        self.graphs.iter().find(|graph| GraphView::new(graph).name() == name)
    }

    /// Returns the graphs that are not deleted.
    fn graphs_except(&self, deleted: &[String]) -> Vec<&Value> {
        let is_deleted = |graph: &Value| deleted.iter().any(|name| GraphView::new(graph).name() == name);
        self.graphs.iter().filter(|graph| !is_deleted(graph)).collect()
    }

    fn jobs_named(&self, name: &str) -> Vec<&ObservedObject<Job>> {
        let waits_for = |job: &&ObservedObject<Job>| fetch_job_deployments(job.document()).contains(&name);
        self.jobs.iter().filter(waits_for).collect()
    }

    /// Returns the names of the fetch Jobs for a PVC, of one model or of all models.
    fn jobs_using_pvc(&self, pvc: &str, repository: Option<&str>) -> Vec<&str> {
        let uses_pvc = |job: &&ObservedObject<Job>| {
            cache_jobs::pod_of_job(job)
                .is_some_and(|pod| cache_jobs::mounted_pvcs(pod).any(|name| name == pvc))
        };
        let fetches_model = |job: &&ObservedObject<Job>| {
            let model = job.annotation(MODEL_ANNOTATION).unwrap_or_default();
            repository.is_none_or(|repository| model.starts_with(&format!("{repository}@")))
        };
        let jobs = self.jobs.iter().filter(uses_pvc).filter(fetches_model);
        jobs.map(|job| job.name()).collect()
    }

    /// Returns whether a deployment that is not being deleted serves the model that a Job fetches: the same revision
    /// from the same PVC.
    fn is_shared(&self, job: &Job, deleted: &[String]) -> bool {
        let model = job.annotation(MODEL_ANNOTATION).unwrap_or_default();
        let pvcs: Vec<&str> =
            cache_jobs::pod_of_job(job).map(cache_jobs::mounted_pvcs).into_iter().flatten().collect();
        let is_retained = |graph: &&Value| {
            !is_terminating(graph) && !deleted.iter().any(|name| GraphView::new(graph).name() == name)
        };
        let serves_model = |intent: ServingIntent| {
            intent.model.cached_name().as_deref() == Some(model) && pvcs.contains(&intent.cache.pvc())
        };
        self.graphs.iter().filter(is_retained).filter_map(summary::stored_intent).any(serves_model)
    }
}

/// Returns whether a Job has fetched its model. Such a Job is kept with the model, because `cache list` reads
/// it.
fn is_complete(job: &Job) -> bool {
    job_condition(job, "Complete").is_some()
}

/// A deletion that was planned.
pub(crate) struct Deletion<'a> {
    /// Names of the deployments; empty if none was selected.
    pub names: Vec<String>,
    cluster: Cluster,
    platform: Platform,
    contents: NamespaceContents,
    options: DownOptions,
    context: &'a Context,
}

impl Deletion<'_> {
    /// Deletes the deployments and reports what is retained.
    ///
    /// # Errors
    /// A cache that is in use, an API error, or a deletion that does not finish in time.
    pub(crate) async fn run(&self) -> Result<()> {
        let timeout = self.options.timeout;
        match tokio::time::timeout(timeout, self.delete_all()).await {
            Ok(result) => result,
            Err(_) => {
                let last_wait = self.context.report.last_wait();
                let remaining = last_wait.unwrap_or_else(|| "the API server to answer".into());
                let namespace = self.cluster.namespace.clone();
                Err(DownError::DeleteTimeout { timeout, remaining, namespace }.into())
            }
        }
    }

    async fn delete_all(&self) -> Result<()> {
        let intents: Vec<_> = self
            .names
            .iter()
            .map(|name| self.contents.graph(name).and_then(summary::stored_intent))
            .collect();
        if let Some(scope) = self.options.delete_cache {
            for (name, intent) in self.names.iter().zip(&intents) {
                self.refuse_while_used(name, intent.as_ref(), scope).await?;
            }
        }
        for (name, intent) in self.names.iter().zip(&intents) {
            self.delete(name).await?;
            if self.options.delete_cache.is_none() {
                self.report_retained(name, intent.as_ref());
            }
        }
        let Some(scope) = self.options.delete_cache else { return Ok(()) };
        // Deployments that share a cache are all deleted before it is, and it is deleted once.
        let mut deleted = BTreeSet::new();
        for intent in intents.iter().flatten() {
            let model = intent.model.cached_name().filter(|_| scope == DeleteCache::Model);
            if deleted.insert((intent.cache.pvc(), model)) {
                self.delete_cache(scope, intent).await?;
            }
        }
        Ok(())
    }

    fn report_retained(&self, name: &str, intent: Option<&ServingIntent>) {
        let retained = match self.contents.graph(name) {
            Some(graph) => retained::retained_objects(graph, intent),
            // The deployment is not created yet; its fetch Job names the PVC and the Secret.
            None => {
                let jobs = self.contents.jobs_named(name);
                let job = jobs.first().map(|job| job.document());
                job.map(|job| retained::retained_objects(job, None)).unwrap_or_default()
            }
        };
        let has_models = retained.iter().any(|item| item.starts_with("pvc/"));
        for item in retained {
            self.context.report.info(item);
        }
        if intent.is_some() || has_models {
            let list = SuggestedCommand::plugin("cache list").in_namespace(&self.cluster.namespace);
            self.context.report.info(typed(list.after("list the retained models: ")));
        }
    }

    /// Refuses to delete the PVC while anything else mounts it, and the model while anything else uses it, as
    /// `cache rm` does.
    async fn refuse_while_used(
        &self,
        name: &str,
        intent: Option<&ServingIntent>,
        scope: DeleteCache,
    ) -> Result<()> {
        let namespace = &self.cluster.namespace;
        let Some(intent) = intent else {
            return Err(DownError::CacheUnknown { name: name.into(), namespace: namespace.clone() }.into());
        };
        let pvc = intent.cache.pvc();
        let all_users = PvcUsers::collect(&self.cluster, self.contents.graphs.clone()).await?;
        let is_deleted = |job: &&ObservedObject<Job>| {
            shared_fetch::remaining_deployments(job.document(), &self.names).is_empty()
        };
        let jobs = self.names.iter().flat_map(|name| self.jobs_to_delete(name)).filter(is_deleted);
        let jobs_to_delete: Vec<&str> = jobs.map(|job| job.name()).collect();
        let is_other_user = |user: &PvcUser<'_>| {
            !user.graph.is_some_and(|graph| self.names.iter().any(|one| one == graph))
                && !user.job.is_some_and(|job| jobs_to_delete.contains(&job))
        };
        let users = match scope {
            DeleteCache::Pvc => all_users.names_using(namespace, pvc, &is_other_user),
            DeleteCache::Model => {
                let model = intent.model.repository();
                all_users.names_using_model(namespace, pvc, model, &is_other_user)
            }
        };
        if users.is_empty() {
            return Ok(());
        }
        Err(DownError::CacheInUse { pvc: pvc.into(), users: users.join(", ") }.into())
    }

    /// Returns the Jobs to delete with a deployment: not a Job whose model another deployment serves, and not
    /// a complete Job, which is deleted with its model.
    fn jobs_to_delete(&self, name: &str) -> Vec<&ObservedObject<Job>> {
        let is_deletable =
            |job: &&ObservedObject<Job>| !self.contents.is_shared(job, &self.names) && !is_complete(job);
        self.contents.jobs_named(name).into_iter().filter(is_deletable).collect()
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let Self { cluster, platform, context, .. } = self;
        let graph = self.contents.graph(name);
        if graph.is_some() {
            cluster.delete(Kind::Graph(platform.graph_api), name).await?;
            context.report.done(Stage::Deploy, format!("dynamographdeployment/{name} deleted"));
        }
        if let Some(graph) = graph {
            let remaining = self.contents.graphs_except(&self.names);
            delete_companions(cluster, graph, &remaining, &context.report).await?;
        }
        for job in self.jobs_to_delete(name) {
            let text = shared_fetch::leave(cluster, job.document(), &self.names).await?;
            context.report.done(Stage::ModelFetch, text);
        }
        if graph.is_some() {
            wait_deleted::warn_if_not_deleted(cluster, platform, name, context).await?;
        }
        if self.options.wait_until_deleted || self.options.delete_cache.is_some() {
            wait_deleted::wait_for_graph_deletion(cluster, platform, name, context).await?;
        }
        Ok(())
    }

    async fn delete_cache(&self, scope: DeleteCache, intent: &ServingIntent) -> Result<()> {
        let Self { cluster, context, .. } = self;
        let pvc = intent.cache.pvc();
        let jobs = match scope {
            DeleteCache::Pvc => self.contents.jobs_using_pvc(pvc, None),
            DeleteCache::Model => self.contents.jobs_using_pvc(pvc, Some(intent.model.repository())),
        };
        for job in jobs {
            if cluster.delete(Kind::Job, job).await? {
                context.report.done(Stage::ModelFetch, format!("job/{job} deleted"));
            }
        }
        match scope {
            DeleteCache::Pvc => {
                cluster.delete(Kind::PersistentVolumeClaim, pvc).await?;
                context.report.done(Stage::Apply, format!("pvc/{pvc} deleted, including all models on it"));
            }
            DeleteCache::Model => {
                let termination =
                    cache_jobs::run_cache_job(cluster, intent, ModelJobAction::Remove, &context.report)
                        .await?;
                cache_jobs::check_fetcher_result(termination, intent)?;
            }
        }
        Ok(())
    }
}
