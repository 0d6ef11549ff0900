//! `down`: delete deployments, and say what stays.

mod ending;
mod error;
mod staying;

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::confirm::{self, confirm};
use super::model_volumes::{self, JobOfModel, User, Users};
use super::{Context, frontend, kube_flags, summary, words};
use crate::cluster::{Cluster, Kind, Platform};
use crate::error::{Exit, Result};
use crate::intent::{ServingIntent, Word};
use crate::readiness::{JOB_LABEL, holds, is_going};
use crate::report::Stage;
use crate::resources::{MANAGED_BY, MANAGER, MODEL_ANNOTATION};
pub(super) use ending::{say_if_held, until_gone};
pub(super) use error::DownError;

/// Delete deployments; the model's cache stays unless it is named
#[derive(Args)]
pub(super) struct DownArgs {
    /// Names of the deployments
    #[arg(required_unless_present_any = ["all", "local", "selector"])]
    pub names: Vec<String>,
    /// The deployments are those of this machine; without a name the only one
    #[arg(long, conflicts_with_all = ["delete_cache", "wait"])]
    pub local: bool,
    /// All deployments of the namespace that this program made
    #[arg(long, conflicts_with_all = ["names", "selector"])]
    pub all: bool,
    /// The deployments with these labels
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["names", "local"])]
    pub selector: Option<String>,
    /// Delete the model's folder as well, or the whole claim; refused while anything else mounts it
    #[arg(long, value_name = "WHAT", value_parser = words::<DeleteCache>())]
    pub delete_cache: Option<DeleteCache>,
    /// Wait until the deployment and its pods are gone
    #[arg(long)]
    pub wait: bool,
    /// Longest time for it all
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kube_flags::duration)]
    pub timeout: Duration,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What of the cache goes with a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeleteCache {
    /// The folder of the deployment's model.
    Model,
    /// The claim, with every model on it.
    Pvc,
}

impl Word for DeleteCache {
    const ALL: &'static [Self] = &[Self::Model, Self::Pvc];

    fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Pvc => "pvc",
        }
    }
}

pub(super) async fn run(args: DownArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::down(&args.names, args.all, context).await;
    }
    context.kube.refuse_all_namespaces()?;
    if !args.yes {
        confirm::somebody()?;
    }
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let seen = Seen::gather(&cluster, &platform).await?;
    let names = seen.names(&args, &cluster, &platform).await?;
    for (name, graph) in names.iter().filter_map(|name| Some((name, seen.graph(name)?))) {
        for claim in staying::claims_that_go(graph) {
            context
                .report
                .detail(format!("pvc/{claim} goes with {name}, and the models on it: its graph made it"));
        }
    }
    let question = format!(
        "Delete {}{}?",
        names.join(", "),
        if args.delete_cache.is_some() { " and the cache" } else { "" }
    );
    if names.is_empty() || !(args.yes || confirm(&question)?) {
        context.report.detail("nothing is deleted");
        return Ok(Exit::Ok);
    }
    let ending = Ending { cluster, platform, seen, names, args: &args, context };
    match tokio::time::timeout(args.timeout, ending.run()).await {
        Ok(ended) => ended.map(|()| Exit::Ok),
        Err(_) => {
            let left = context.report.last_wait().unwrap_or_else(|| "the API server to answer".into());
            Err(DownError::NotInTime { timeout: args.timeout, left }.into())
        }
    }
}

/// What is in the namespace, listed once.
struct Seen {
    graphs: Vec<Value>,
    jobs: Vec<Value>,
}

impl Seen {
    async fn gather(cluster: &Cluster, platform: &Platform) -> Result<Self> {
        let own = format!("{MANAGED_BY}={MANAGER}");
        let (graphs, jobs) = futures::try_join!(
            cluster.list(Kind::Graph(platform.graph_api), "", false),
            cluster.list(Kind::Job, &own, false),
        )?;
        Ok(Self { graphs, jobs })
    }

    /// The deployments that are meant; each of them is there, if only as the download of its model.
    async fn names(&self, args: &DownArgs, cluster: &Cluster, platform: &Platform) -> Result<Vec<String>> {
        let selector = match (&args.selector, args.all) {
            (Some(selector), _) => selector.clone(),
            (None, true) => format!("{MANAGED_BY}={MANAGER}"),
            (None, false) => {
                let goes_on = |job: &&Value| !is_complete(job);
                let is_absent =
                    |name: &&String| self.graph(name).is_none() && !self.jobs_of(name).iter().any(goes_on);
                return match args.names.iter().find(is_absent) {
                    Some(name) => Err(frontend::absent(cluster, platform, name).into()),
                    None => Ok(args.names.clone()),
                };
            }
        };
        let graphs = cluster.list(Kind::Graph(platform.graph_api), &selector, false).await?;
        Ok(graphs.iter().map(|graph| summary::summary(graph).name).collect())
    }

    fn graph(&self, name: &str) -> Option<&Value> {
        self.graphs.iter().find(|graph| graph["metadata"]["name"] == name)
    }

    fn jobs_of(&self, name: &str) -> Vec<&Value> {
        let of = |job: &&Value| job["metadata"]["labels"]["app.kubernetes.io/name"] == name;
        self.jobs.iter().filter(of).collect()
    }

    /// The Jobs that fetched onto a claim: this model, or any.
    fn jobs_on(&self, claim: &str, repository: Option<&str>) -> Vec<&str> {
        let on_claim =
            |job: &&Value| model_volumes::claims(&job["spec"]["template"]["spec"]).any(|name| name == claim);
        let of_model = |job: &&Value| {
            let model = job["metadata"]["annotations"][MODEL_ANNOTATION].as_str().unwrap_or_default();
            repository.is_none_or(|repository| model.starts_with(&format!("{repository}@")))
        };
        let jobs = self.jobs.iter().filter(on_claim).filter(of_model);
        jobs.filter_map(|job| job["metadata"]["name"].as_str()).collect()
    }

    /// Whether a deployment that stays serves the model that a Job fetched.
    fn is_shared(&self, job: &Value, going: &[String]) -> bool {
        let model = job["metadata"]["annotations"][MODEL_ANNOTATION].as_str().unwrap_or_default();
        let stays = |graph: &&Value| {
            !is_going(graph) && !going.iter().any(|name| graph["metadata"]["name"] == name.as_str())
        };
        let serves = |intent: ServingIntent| model.starts_with(&format!("{}@", intent.model.repository()));
        self.graphs.iter().filter(stays).filter_map(summary::intent).any(serves)
    }
}

/// A Job that has fetched its model tells what is on the claim, and stays as long as that.
fn is_complete(job: &Value) -> bool {
    holds(job, "Complete")
}

/// One run of `down`.
struct Ending<'a> {
    cluster: Cluster,
    platform: Platform,
    seen: Seen,
    names: Vec<String>,
    args: &'a DownArgs,
    context: &'a Context,
}

impl Ending<'_> {
    async fn run(&self) -> Result<()> {
        let intents: Vec<_> =
            self.names.iter().map(|name| self.seen.graph(name).and_then(summary::intent)).collect();
        if self.args.delete_cache.is_some() {
            for (name, intent) in self.names.iter().zip(&intents) {
                self.refuse_while_used(name, intent.as_ref()).await?;
            }
        }
        for (name, intent) in self.names.iter().zip(&intents) {
            self.delete(name).await?;
            match (self.args.delete_cache, intent) {
                (Some(what), Some(intent)) => self.delete_cache(what, intent).await?,
                _ => {
                    let graph = self.seen.graph(name).unwrap_or(&Value::Null);
                    for what in staying::what_stays(graph, intent.as_ref()) {
                        self.context.report.detail(what);
                    }
                    if intent.is_some() {
                        let see = format!("kubectl dynamo cache list -n {}", self.cluster.namespace);
                        self.context.report.detail(format!("models that stay: {see}"));
                    }
                }
            }
        }
        Ok(())
    }

    async fn refuse_while_used(&self, name: &str, intent: Option<&ServingIntent>) -> Result<()> {
        let Some(intent) = intent else { return Err(DownError::CacheUnknown { name: name.into() }.into()) };
        let claim = intent.cache.claim();
        let all = Users::gather(&self.cluster, self.seen.graphs.clone()).await?;
        let going: Vec<&str> = self.names.iter().flat_map(|name| self.going_jobs(name)).collect();
        let stays = |user: &User<'_>| {
            let job = user.object["metadata"]["labels"][JOB_LABEL].as_str();
            !user.graph.is_some_and(|graph| self.names.iter().any(|one| one == graph))
                && !job.is_some_and(|job| going.contains(&job))
        };
        let users = all.of(&self.cluster.namespace, claim, &stays);
        if users.is_empty() {
            return Ok(());
        }
        Err(DownError::CacheInUse { claim: claim.into(), users: users.join(", ") }.into())
    }

    /// The Jobs that end with a deployment: not one whose model another deployment serves, and not one that is
    /// complete, which goes with the model that it tells of.
    fn going_jobs(&self, name: &str) -> Vec<&str> {
        let ends = |job: &&Value| !self.seen.is_shared(job, &self.names) && !is_complete(job);
        let jobs = self.seen.jobs_of(name).into_iter().filter(ends);
        jobs.filter_map(|job| job["metadata"]["name"].as_str()).collect()
    }

    async fn delete(&self, name: &str) -> Result<()> {
        let Self { cluster, platform, context, .. } = self;
        let graph = self.seen.graph(name);
        if graph.is_some() {
            cluster.delete(Kind::Graph(platform.graph_api), name).await?;
            context.report.done(Stage::Deploy, format!("dynamographdeployment/{name} deleted"));
        }
        for job in self.going_jobs(name) {
            cluster.delete(Kind::Job, job).await?;
            context.report.done(Stage::ModelFetch, format!("job/{job} deleted"));
        }
        if graph.is_some() {
            ending::say_if_held(cluster, platform, name, context).await?;
        }
        if self.args.wait || self.args.delete_cache.is_some() {
            ending::wait_until_gone(cluster, platform, name, context).await?;
        }
        Ok(())
    }

    async fn delete_cache(&self, what: DeleteCache, intent: &ServingIntent) -> Result<()> {
        let Self { cluster, context, .. } = self;
        let claim = intent.cache.claim();
        let told = match what {
            DeleteCache::Pvc => self.seen.jobs_on(claim, None),
            DeleteCache::Model => self.seen.jobs_on(claim, Some(intent.model.repository())),
        };
        for job in told {
            if cluster.delete(Kind::Job, job).await? {
                context.report.done(Stage::ModelFetch, format!("job/{job} deleted"));
            }
        }
        match what {
            DeleteCache::Pvc => {
                cluster.delete(Kind::Claim, claim).await?;
                context.report.done(Stage::Objects, format!("pvc/{claim} deleted, with every model on it"));
            }
            DeleteCache::Model => {
                let said = model_volumes::run(cluster, intent, JobOfModel::Remove, &context.report).await?;
                model_volumes::refuse_failure(said, intent)?;
            }
        }
        Ok(())
    }
}
