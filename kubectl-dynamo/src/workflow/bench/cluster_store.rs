//! The benchmark runs of a namespace: one ConfigMap for each, with the compressed record. Every terminal finds a run
//! there, also after its pod was deleted.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Map, Value, json};

use super::BenchError;
use crate::context::Context;
use kubectl_dynamo_cluster::{Cluster, Kind};
use kubectl_dynamo_core::bench::{BenchRun, BenchStatus};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::{ObjectFields, ObjectView, ObservedObject};
use kubectl_dynamo_core::readiness::job_condition;
use kubectl_dynamo_core::resources::{
    BENCH_RECORD_KEY, BENCH_RUN_LABEL, BENCH_TRACE_KEY, Resource, bench_config_map, bench_object_name,
};

/// The largest content of a ConfigMap, in bytes before base64. The API server accepts 1 MiB of binary data.
const MAX_BYTES: usize = 1 << 20;
/// The largest record after decompression, in bytes.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// The runs of a namespace.
#[derive(Clone)]
pub(crate) struct ClusterRuns {
    pub(super) cluster: Cluster,
}

impl ClusterRuns {
    /// Connects to the cluster and namespace that kubectl's flags select.
    ///
    /// # Errors
    /// A kubeconfig that cannot be used.
    pub(crate) async fn connect(context: &Context) -> Result<Self> {
        context.kube.refuse_all_namespaces()?;
        Ok(Self { cluster: context.cluster().await? })
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.cluster.namespace
    }

    /// All runs, in any order. A record that cannot be read is left out.
    ///
    /// # Errors
    /// Every API error.
    pub(crate) async fn list(&self) -> Result<Vec<BenchRun>> {
        let (maps, jobs) = futures::try_join!(
            self.cluster.list(Kind::ConfigMap, BENCH_RUN_LABEL),
            self.cluster.list_objects::<Job>(BENCH_RUN_LABEL),
        )?;
        let jobs: BTreeMap<&str, &ObservedObject<Job>> = jobs.iter().map(|job| (job.name(), job)).collect();
        let record = |map: &Value| {
            let run = read_record(map)?;
            let job = jobs.get(bench_object_name(&run.name).as_str()).copied();
            Some(with_job_status(run, job))
        };
        Ok(maps.iter().filter_map(record).collect())
    }

    /// Reads a run; `None` if it does not exist.
    ///
    /// # Errors
    /// Every API error.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<BenchRun>> {
        let object_name = bench_object_name(name);
        let Some(map) = self.cluster.get(Kind::ConfigMap, &object_name).await? else { return Ok(None) };
        let Some(run) = read_record(&map) else { return Ok(None) };
        if run.status != BenchStatus::Running {
            return Ok(Some(run));
        }
        let job = self.cluster.get_object::<Job>(&object_name).await?;
        Ok(Some(with_job_status(run, job.as_ref())))
    }

    /// Stores the record of a new run, and its trace.
    ///
    /// # Errors
    /// The name is used, the trace is too large, or an API error.
    pub(super) async fn create(&self, run: &BenchRun, trace: Option<&[u8]>) -> Result<()> {
        let mut data = Map::new();
        let record = compress(&serde_json::to_vec(run).unwrap_or_default());
        let mut size = record.len();
        data.insert(BENCH_RECORD_KEY.into(), STANDARD.encode(record).into());
        if let Some(trace) = trace {
            let trace = compress(trace);
            size += trace.len();
            data.insert(BENCH_TRACE_KEY.into(), STANDARD.encode(trace).into());
        }
        // The results need space, too.
        if size > MAX_BYTES * 3 / 4 {
            return Err(BenchError::TraceTooLarge { bytes: size }.into());
        }
        let deployment = run.target.name();
        let map = bench_config_map(&run.name, deployment, self.namespace(), &data.into());
        if self.cluster.create(Kind::ConfigMap, &map).await? {
            return Ok(());
        }
        // The response of a first attempt can have been lost.
        let live = self.find(&run.name).await?;
        match live.is_some_and(|live| live.started_at == run.started_at) {
            true => Ok(()),
            false => Err(BenchError::RunExists { name: run.name.clone() }.into()),
        }
    }

    /// Replaces the record of a run. A run that was removed stays removed.
    ///
    /// # Errors
    /// Every API error.
    pub(super) async fn update(&self, run: &BenchRun) -> Result<()> {
        if !self.has(run).await? {
            return Ok(());
        }
        let record = compress(&serde_json::to_vec(run).unwrap_or_default());
        let change = json!({ "binaryData": { BENCH_RECORD_KEY: STANDARD.encode(record) } });
        self.cluster.merge_patch(Kind::ConfigMap, &bench_object_name(&run.name), &change).await?;
        Ok(())
    }

    /// Creates the Job of a run.
    ///
    /// # Errors
    /// A Job with this name, and every API error.
    pub(super) async fn create_job(&self, run: &str, job: &Resource) -> Result<()> {
        match self.cluster.create(Kind::Job, job).await? {
            true => Ok(()),
            false => Err(BenchError::RunExists { name: run.into() }.into()),
        }
    }

    /// Whether the namespace still has this run, and not another one with its name.
    ///
    /// # Errors
    /// Every API error.
    pub(super) async fn has(&self, run: &BenchRun) -> Result<bool> {
        Ok(self.find(&run.name).await?.is_some_and(|live| live.is_same_run(run)))
    }

    /// Deletes the Job of a run and its pod. The record remains.
    ///
    /// # Errors
    /// Every API error.
    pub(super) async fn delete_job(&self, run: &BenchRun) -> Result<()> {
        if self.has(run).await? {
            self.cluster.delete(Kind::Job, &bench_object_name(&run.name)).await?;
        }
        Ok(())
    }

    /// Deletes the record of a run that does not have a Job.
    ///
    /// # Errors
    /// Every API error.
    pub(super) async fn delete_record(&self, run: &BenchRun) -> Result<()> {
        if self.has(run).await? {
            self.cluster.delete(Kind::ConfigMap, &bench_object_name(&run.name)).await?;
        }
        Ok(())
    }

    /// Deletes a run: its Job, which stops a measurement, and its record. Another run with this name remains.
    ///
    /// # Errors
    /// Every API error.
    pub(crate) async fn delete(&self, run: &BenchRun) -> Result<()> {
        self.delete_job(run).await?;
        self.delete_record(run).await
    }
}

/// A record says "running" until its results were read from the log of the Job.
fn with_job_status(mut run: BenchRun, job: Option<&ObservedObject<Job>>) -> BenchRun {
    if run.status == BenchStatus::Running {
        let has_ended =
            |job: &Job| ["Complete", "Failed"].iter().any(|kind| job_condition(job, kind).is_some());
        run.status = match job {
            None => BenchStatus::Interrupted,
            Some(job) if has_ended(job) => BenchStatus::NotCollected,
            Some(_) => BenchStatus::Running,
        };
    }
    run
}

fn read_record(map: &Value) -> Option<BenchRun> {
    let data = ObjectView::new(map).map("/binaryData")?.get(BENCH_RECORD_KEY)?.as_str()?;
    let compressed = STANDARD.decode(data).ok()?;
    let mut text = Vec::new();
    GzDecoder::new(compressed.as_slice()).take(MAX_RECORD_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn compress(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory does not fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}
