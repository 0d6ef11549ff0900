//! The record of a benchmark run, `run.json`: what was measured, where, and with which result. It is a contract: fields
//! are added, never renamed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BenchVerdict, BenchWorkload, Estimate, HEADLINE_METRICS, HeadlineMetric, LoadAnalysis, LoadLevel,
    Measurement, PredictedSpeed,
};

/// A benchmark run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchRun {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub status: BenchStatus,
    /// Times in RFC 3339.
    pub started_at: String,
    pub finished_at: Option<String>,
    pub target: BenchTarget,
    pub versions: BenchVersions,
    pub workload: BenchWorkload,
    /// The share of requests that may fail, from 0 to 1.
    #[serde(default)]
    pub max_error_share: f64,
    pub levels: Vec<LevelResult>,
    /// The prediction that the run verifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<PredictedSpeed>,
    pub analysis: LoadAnalysis,
    pub verdict: BenchVerdict,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BenchStatus {
    Running,
    /// Every level was measured.
    Completed,
    /// It was stopped before every level was measured.
    Interrupted,
    /// AIPerf failed.
    Failed,
    /// The Job of the run has ended, and its results are still in its log.
    NotCollected,
}

impl BenchStatus {
    /// The status as tables show it.
    pub fn as_text(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::NotCollected => "not collected",
        }
    }
}

/// What was benchmarked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchTarget {
    /// The base URL, ending in `/v1`.
    pub url: String,
    /// The served model name.
    pub model: String,
    /// The folder with the tokenizer.
    pub tokenizer: String,
    /// None for a URL that does not belong to a known deployment.
    pub deployment: Option<BenchDeployment>,
}

impl BenchTarget {
    /// The deployment's name, or the URL.
    pub fn name(&self) -> &str {
        self.deployment.as_ref().map_or(&self.url, |deployment| &deployment.name)
    }

    /// The number of GPUs; `None` if it is unknown or zero, as with the mocker.
    pub fn gpus(&self) -> Option<u32> {
        self.deployment.as_ref().map(|deployment| deployment.gpus).filter(|gpus| *gpus > 0)
    }
}

/// The deployment that was benchmarked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchDeployment {
    pub name: String,
    /// `local` for processes on this machine, `cluster` for a DynamoGraphDeployment.
    pub place: String,
    #[serde(default)]
    pub namespace: Option<String>,
    /// The number of the revision in `rollout history`.
    #[serde(default)]
    pub revision: Option<i64>,
    /// Identifies the spec of the graph when the run started.
    #[serde(default)]
    pub generation: Option<u64>,
    /// The images of the workers.
    #[serde(default)]
    pub images: Vec<String>,
    /// The number of GPUs of each model, as far as the labels of the nodes show it.
    #[serde(default)]
    pub gpus_by_model: BTreeMap<String, u32>,
    /// The Dynamo version.
    pub version: String,
    /// The number of GPUs that the workers use.
    pub gpus: u32,
    /// The resolved request of the deployment.
    pub intent: Value,
}

/// The versions of the programs that measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchVersions {
    pub plugin: String,
    pub aiperf: String,
}

/// What was measured at one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelResult {
    pub load: LoadLevel,
    /// The mean over the repeats of each metric of [`HEADLINE_METRICS`].
    pub summary: BTreeMap<String, Estimate>,
    /// Output tokens per second and GPU, if the number of GPUs is known.
    pub output_tokens_per_second_per_gpu: Option<f64>,
    pub runs: Vec<LevelRun>,
}

/// One repeat of a level: one start of AIPerf.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelRun {
    /// The repeat, from 1.
    pub run: u32,
    pub seed: u64,
    /// The folder with AIPerf's files, relative to that of the run.
    pub folder: String,
    /// The command line of AIPerf.
    pub command: Vec<String>,
    /// How AIPerf ended, such as `exit code 0`.
    pub exit_status: String,
    pub measurement: Measurement,
    pub verdict: BenchVerdict,
}

impl LevelResult {
    /// Combines the repeats of a level.
    pub fn new(load: LoadLevel, runs: Vec<LevelRun>, gpus: Option<u32>) -> Self {
        let estimate = |metric: &HeadlineMetric| {
            let (name, statistic) = metric.source;
            let values: Vec<f64> =
                runs.iter().filter_map(|run| run.measurement.value(name, statistic)).collect();
            Some((metric.name.to_owned(), Estimate::from_values(&values)?))
        };
        let summary: BTreeMap<String, Estimate> = HEADLINE_METRICS.iter().filter_map(estimate).collect();
        let throughput = summary.get("output_tokens_per_second").map(|estimate| estimate.mean);
        let output_tokens_per_second_per_gpu =
            throughput.zip(gpus).map(|(tokens, gpus)| tokens / f64::from(gpus));
        Self { load, summary, output_tokens_per_second_per_gpu, runs }
    }

    /// The mean of a metric of [`HEADLINE_METRICS`].
    pub fn mean(&self, metric: &str) -> Option<f64> {
        self.summary.get(metric).map(|estimate| estimate.mean)
    }

    /// The requests of all repeats, and those that failed.
    pub fn requests(&self) -> (u64, u64) {
        let sum =
            |number: fn(&Measurement) -> u64| self.runs.iter().map(|run| number(&run.measurement)).sum();
        (sum(|one| one.requests), sum(|one| one.failed))
    }
}

impl BenchRun {
    /// Adds a measurement and updates the summaries, the analysis, and the verdict.
    pub fn add(&mut self, load: LoadLevel, run: LevelRun) {
        let position = self.levels.iter().position(|level| level.load == load);
        let mut runs = position.map(|at| self.levels.remove(at).runs).unwrap_or_default();
        runs.push(run);
        let level = LevelResult::new(load, runs, self.target.gpus());
        self.levels.insert(position.unwrap_or(self.levels.len()), level);
        self.analysis = LoadAnalysis::new(&self.levels, self.target.gpus());
        let verdicts = self.levels.iter().flat_map(|level| &level.runs).map(|run| &run.verdict);
        self.verdict = BenchVerdict::combine(verdicts);
    }

    /// The namespace of the deployment; `None` for a local deployment and for a URL.
    pub fn namespace(&self) -> Option<&str> {
        self.target.deployment.as_ref()?.namespace.as_deref()
    }

    /// The namespace of the Job that measures or has measured; `None` if the results are stored.
    pub fn namespace_of_job(&self) -> Option<&str> {
        self.namespace().filter(|_| matches!(self.status, BenchStatus::Running | BenchStatus::NotCollected))
    }

    /// Whether two records are of the same run. Runs of different namespaces can have the same name.
    pub fn is_same_run(&self, other: &Self) -> bool {
        (&self.name, &self.started_at, self.namespace())
            == (&other.name, &other.started_at, other.namespace())
    }

    /// The number of measurements.
    pub fn measured(&self) -> usize {
        self.levels.iter().map(|level| level.runs.len()).sum()
    }
}
