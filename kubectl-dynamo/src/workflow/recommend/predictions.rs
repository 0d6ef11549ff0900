//! Runs the predictor and reads its files. Its output is only shown after a failure: it is not parsed.

use std::path::{Path, PathBuf};

use super::RecommendFailure;
use crate::local::predictor::{PACKAGE, Predictor, PredictorFailure};
use crate::report::{Report, Stage};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::intent::request::TopologyMode;
use kubectl_dynamo_core::recommend::{
    FileProblem, LatencyLimits, Prediction, PredictionFiles, PredictionQuery, RecommendError, TopConfigFiles,
    best_latencies, predictor_arguments, read_predictions,
};

/// The files of a mode.
const TABLE: &str = "best_config_topn.csv";
/// A table with every configuration at the limit between latency and throughput.
const PARETO_TABLE: &str = "pareto.csv";
/// Written for each mode before it is predicted.
const EXPERIMENT: &str = "exp_config.yaml";

/// How deep the folders of the modes are below the folder of a run.
const MAX_DEPTH: usize = 4;

/// What all runs of the predictor share.
pub(super) struct Predicting<'a> {
    pub(super) predictor: &'a Predictor,
    /// Path of this program.
    pub(super) supervisor: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) report: &'a Report,
}

/// What the predictor predicts.
pub(super) struct PredictedModes {
    pub(super) predictions: Vec<Prediction>,
    /// Modes without a prediction.
    pub(super) other_modes: Vec<TopologyMode>,
}

impl Predicting<'_> {
    /// Predicts all modes.
    ///
    /// # Errors
    /// A predictor that fails, files that cannot be used, or limits that no deployment meets.
    pub(super) async fn predict(
        &self,
        query: &PredictionQuery,
        gpus_per_node: u32,
    ) -> Result<PredictedModes> {
        let mut predictions = Vec::new();
        let mut other_modes = TopologyMode::ALL.to_vec();
        let mut last_failure = None;
        for mode in query.runs() {
            let name = mode.map_or("run", TopologyMode::as_str);
            let folder = self.folder.join(name);
            if let Err(failure) = self.run(query, *mode, LatencyLimits::OfTarget, &folder).await {
                last_failure = Some(failure);
                continue;
            }
            let found = read_modes(&folder)?;
            if found.is_empty() {
                return Err(missing(TABLE).into());
            }
            for files in found {
                other_modes.retain(|other| *other != files.mode);
                predictions.extend(read_predictions(&files, gpus_per_node)?);
            }
        }
        match last_failure {
            Some(failure) if predictions.is_empty() => Err(self.explain(query, failure).await),
            _ => Ok(PredictedModes { predictions, other_modes }),
        }
    }

    async fn run(
        &self,
        query: &PredictionQuery,
        mode: Option<TopologyMode>,
        limits: LatencyLimits,
        folder: &Path,
    ) -> std::result::Result<(), PredictorFailure> {
        let modes = mode.map_or("agg and disagg", TopologyMode::as_str);
        self.report.waiting(Stage::Prediction, format!("{PACKAGE} to predict {modes}"));
        let arguments = predictor_arguments(query, mode, limits, &folder.display().to_string());
        self.predictor.run(self.supervisor, &arguments).await
    }

    /// Finds out whether the limits are the reason why there is no prediction: the exit code is the same for all reasons.
    async fn explain(
        &self,
        query: &PredictionQuery,
        failure: PredictorFailure,
    ) -> kubectl_dynamo_core::error::Error {
        let folder = self.folder.join("without-limits");
        let mode = query.runs().first().copied().flatten();
        let failed =
            || RecommendFailure::Failed { status: failure.status.clone(), tail: failure.tail.clone() };
        if self.run(query, mode, LatencyLimits::None, &folder).await.is_err() {
            return failed().into();
        }
        let tables = find_files(&folder, PARETO_TABLE);
        let latencies: Vec<(f64, f64)> = tables
            .iter()
            .filter_map(|path| best_latencies(&std::fs::read_to_string(path).ok()?).ok())
            .collect();
        if latencies.is_empty() {
            return failed().into();
        }
        let lowest = |of: fn(&(f64, f64)) -> f64| latencies.iter().map(of).fold(f64::INFINITY, f64::min);
        let (ttft, itl) = (lowest(|pair| pair.0), lowest(|pair| pair.1));
        RecommendFailure::LatencyNotReachable { target: query.target, ttft, itl }.into()
    }
}

fn missing(file: &str) -> RecommendError {
    RecommendError::InvalidFile { file: file.into(), problem: FileProblem::Missing }
}

/// Reads the files of all modes below a folder.
fn read_modes(folder: &Path) -> std::result::Result<Vec<PredictionFiles>, RecommendError> {
    let mut found = Vec::new();
    // A mode that was started and has no table ended too early, whatever the exit code is.
    for experiment in find_files(folder, EXPERIMENT).into_iter().chain(find_files(folder, TABLE)) {
        let Some(mode_folder) = experiment.parent() else { continue };
        let name = mode_folder.file_name().unwrap_or_default();
        let mode = TopologyMode::ALL.iter().copied().find(|mode| name == mode.as_str());
        let Some(mode) = mode.filter(|mode| found.iter().all(|files: &PredictionFiles| files.mode != *mode))
        else {
            continue;
        };
        found.push(PredictionFiles {
            mode,
            table: read(&mode_folder.join(TABLE))?,
            configs: read_configs(mode_folder)?,
        });
    }
    Ok(found)
}

/// Reads the folders `top1`, `top2`, … of a mode.
fn read_configs(mode_folder: &Path) -> std::result::Result<Vec<TopConfigFiles>, RecommendError> {
    let folders = (1_u32..).map(|number| mode_folder.join(format!("top{number}")));
    folders
        .take_while(|folder| folder.is_dir())
        .map(|folder| {
            Ok(TopConfigFiles {
                generator_config: read(&folder.join("generator_config.yaml"))?,
                manifest: read(&folder.join("k8s_deploy.yaml"))?,
            })
        })
        .collect()
}

fn read(path: &Path) -> std::result::Result<String, RecommendError> {
    std::fs::read_to_string(path).map_err(|error| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match error.kind() {
            std::io::ErrorKind::NotFound => missing(&file),
            _ => RecommendError::InvalidFile { file, problem: FileProblem::Unreadable(error.to_string()) },
        }
    })
}

/// Finds the files with a name. The predictor names its folders after the model, the GPUs, and a random number.
fn find_files(root: &Path, name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match path.is_dir() {
                true if depth < MAX_DEPTH => folders.push((path, depth + 1)),
                false if entry.file_name() == name => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_without_a_table_is_an_error() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let agg = folder.path().join("Qwen/model_h200/agg");
        std::fs::create_dir_all(agg.join("top1")).expect("writable");
        assert_eq!(read_modes(folder.path()), Ok(Vec::new()));
        std::fs::write(agg.join(EXPERIMENT), "").expect("writable");
        assert_eq!(read_modes(folder.path()), Err(missing(TABLE)));
        std::fs::write(agg.join(TABLE), "table").expect("writable");
        assert_eq!(read_modes(folder.path()), Err(missing("generator_config.yaml")));
        std::fs::write(agg.join("top1/generator_config.yaml"), "a").expect("writable");
        std::fs::write(agg.join("top1/k8s_deploy.yaml"), "b").expect("writable");
        let found = read_modes(folder.path()).expect("complete");
        assert_eq!((found.len(), found[0].mode, found[0].configs.len()), (1, TopologyMode::Aggregated, 1));
    }
}
