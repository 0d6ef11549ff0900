//! Finds runs on this machine and in the namespace of the cluster. The cluster is optional: without one, the runs of
//! this machine remain.

use std::path::Path;

use super::follow::follow;
use super::follower::Follower;
use super::pod_log::output_of_job;
use super::store::BenchStore;
use super::{BenchError, BenchResult, ClusterRuns};
use crate::context::Context;
use kubectl_dynamo_core::bench::{BenchRun, BenchStatus};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Result;

/// The runs that a command can use.
pub(crate) struct BenchRuns {
    store: BenchStore,
    cluster: Option<ClusterRuns>,
}

impl BenchRuns {
    /// Uses the folder, and the namespace unless a folder is specified or there is no kubeconfig.
    ///
    /// # Errors
    /// The user does not have a home folder.
    pub(crate) async fn new(folder: Option<&Path>, context: &Context) -> Result<Self> {
        let store = BenchStore::new(folder)?;
        if folder.is_some() {
            return Ok(Self { store, cluster: None });
        }
        let cluster = match ClusterRuns::connect(context).await {
            Ok(cluster) => Some(cluster),
            Err(error) if error.code() == Some(MessageCode::KubeconfigNotFound) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { store, cluster })
    }

    /// All runs, oldest first. If the cluster does not answer, a warning says so.
    pub(crate) async fn list(&self, context: &Context) -> Vec<BenchRun> {
        let mut runs = self.store.list();
        let listed = match &self.cluster {
            Some(cluster) => cluster.list().await,
            None => Ok(Vec::new()),
        };
        match listed {
            Ok(listed) => {
                for run in listed {
                    // The cluster knows whether the Job still runs.
                    runs.retain(|known| !known.is_same_run(&run) || known.status == BenchStatus::Completed);
                    if !runs.iter().any(|known| known.is_same_run(&run)) {
                        runs.push(run);
                    }
                }
            }
            Err(error) => {
                let text = format!("only the runs of this machine are listed: {error}");
                context.report.warn(error.code(), text, error.hint());
            }
        }
        runs.sort_by(|one, other| (&one.started_at, &one.name).cmp(&(&other.started_at, &other.name)));
        runs
    }

    /// Finds a run on this machine, else in the namespace.
    ///
    /// # Errors
    /// The run does not exist, or an API error.
    pub(crate) async fn find(&self, name: &str) -> Result<BenchRun> {
        let own = self.store.read(name);
        // A run of another namespace can have the same name.
        let is_elsewhere = |run: &BenchRun, cluster: &ClusterRuns| {
            run.namespace().is_some_and(|namespace| namespace != cluster.namespace())
        };
        let run = match (own, &self.cluster) {
            (Ok(run), Some(cluster)) if is_elsewhere(&run, cluster) => {
                return Ok(cluster.find(name).await?.unwrap_or(run));
            }
            (Ok(run), _) => run,
            (Err(error @ BenchError::RunNotFound { .. }), Some(cluster)) => {
                return Ok(cluster.find(name).await?.ok_or(error)?);
            }
            (Err(error), _) => return Err(error.into()),
        };
        // Another terminal can have stored the results, and only the cluster knows whether a Job still runs.
        match &self.cluster {
            Some(cluster) if run.status != BenchStatus::Completed && is_of_cluster(&run) => {
                let stored = cluster.find(name).await?.filter(|stored| stored.is_same_run(&run));
                Ok(stored.unwrap_or(run))
            }
            _ => Ok(run),
        }
    }

    /// Removes a run from this machine and from the namespace.
    ///
    /// # Errors
    /// The run does not exist, is being measured here, or cannot be removed.
    pub(crate) async fn remove(&self, name: &str) -> Result<()> {
        let found = self.find(name).await?;
        if self.store.read(name).is_ok_and(|run| run.is_same_run(&found)) {
            self.store.remove(name)?;
        }
        if let Some(cluster) = self.cluster.as_ref().filter(|_| is_of_cluster(&found)) {
            cluster.delete(&found).await?;
        }
        Ok(())
    }

    /// Follows a run of the namespace until its results are stored.
    ///
    /// # Errors
    /// A run whose Job does not exist, and the errors of a run.
    pub(crate) async fn follow(&self, run: BenchRun, context: &Context) -> Result<BenchRun> {
        let Some(cluster) = self.cluster.clone() else {
            return Err(BenchError::WithoutResults { name: run.name }.into());
        };
        let record = BenchRun { status: BenchStatus::Running, ..run };
        follow(Follower::new(record, cluster, &self.store, &context.report)?).await
    }

    /// The output of AIPerf: from the Job while there is one, else from the files of this machine.
    ///
    /// # Errors
    /// Every API error, and a file that cannot be read.
    pub(crate) async fn output(&self, run: &BenchRun) -> Result<Vec<String>> {
        match &self.cluster {
            Some(cluster) if run.namespace_of_job().is_some() => output_of_job(cluster, &run.name).await,
            _ => Ok(self.store.output(run)?),
        }
    }

    /// Reads two runs that can be compared.
    ///
    /// # Errors
    /// A run does not exist or does not have a result, or the workloads differ.
    pub(crate) async fn find_pair(&self, before: &str, after: &str) -> Result<(BenchRun, BenchRun)> {
        let (before, after) = (self.find(before).await?, self.find(after).await?);
        Ok(comparable(before, after)?)
    }
}

fn comparable(before: BenchRun, after: BenchRun) -> BenchResult<(BenchRun, BenchRun)> {
    for run in [&before, &after] {
        let is_empty = run.levels.iter().all(|level| level.summary.is_empty());
        if is_empty || run.status != BenchStatus::Completed {
            return Err(BenchError::WithoutResults { name: run.name.clone() });
        }
    }
    let mut differences = before.workload.differences(&after.workload);
    if before.versions.aiperf != after.versions.aiperf {
        differences.push(format!("aiperf: {}, {}", before.versions.aiperf, after.versions.aiperf));
    }
    if differences.is_empty() {
        return Ok((before, after));
    }
    Err(BenchError::WorkloadsDiffer { before: before.name, after: after.name, differences })
}

fn is_of_cluster(run: &BenchRun) -> bool {
    run.namespace().is_some()
}
