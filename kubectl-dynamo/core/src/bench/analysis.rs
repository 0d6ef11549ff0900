//! What the levels of a run show together: the knee of the load, and the levels that no other level beats.

use serde::{Deserialize, Serialize};

use super::LevelResult;

/// A level that no other level beats in both values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParetoPoint {
    /// The position of the level in the run.
    pub level: usize,
    pub output_tokens_per_second_per_user: f64,
    /// Per GPU, or of the complete deployment if the number of GPUs is unknown.
    pub output_tokens_per_second: f64,
}

/// The analysis of all levels.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadAnalysis {
    /// The position of the first level at which the throughput does not rise any more while the latency does.
    pub knee: Option<usize>,
    pub pareto: Vec<ParetoPoint>,
    /// Whether the throughput of [`ParetoPoint`] is per GPU.
    pub is_per_gpu: bool,
}

/// A throughput that rises by less than this share does not rise.
const NO_RISE: f64 = 0.05;
/// A latency that rises by more than this share does.
const RISE: f64 = 0.05;

impl LoadAnalysis {
    /// Analyzes the levels in their order. `gpus` is the number of GPUs if it is known.
    pub fn new(levels: &[LevelResult], gpus: Option<u32>) -> Self {
        Self { knee: knee(levels), pareto: pareto(levels, gpus), is_per_gpu: gpus.is_some() }
    }
}

fn knee(levels: &[LevelResult]) -> Option<usize> {
    let change = |metric: &str, pair: &[LevelResult]| match pair {
        [before, after] => Some(after.mean(metric)? / before.mean(metric)? - 1.0),
        _ => None,
    };
    let is_knee = |pair: &[LevelResult]| {
        change("output_tokens_per_second", pair).is_some_and(|change| change < NO_RISE)
            && change("latency_p50", pair).is_some_and(|change| change > RISE)
    };
    levels.windows(2).position(is_knee).map(|before| before + 1)
}

fn pareto(levels: &[LevelResult], gpus: Option<u32>) -> Vec<ParetoPoint> {
    let gpus = f64::from(gpus.unwrap_or(1));
    let point = |(level, result): (usize, &LevelResult)| {
        Some(ParetoPoint {
            level,
            output_tokens_per_second_per_user: result.mean("output_tokens_per_second_per_user")?,
            output_tokens_per_second: result.mean("output_tokens_per_second")? / gpus,
        })
    };
    let points: Vec<ParetoPoint> = levels.iter().enumerate().filter_map(point).collect();
    let beats = |one: &ParetoPoint, other: &ParetoPoint| {
        let users = one.output_tokens_per_second_per_user - other.output_tokens_per_second_per_user;
        let total = one.output_tokens_per_second - other.output_tokens_per_second;
        users >= 0.0 && total >= 0.0 && (users > 0.0 || total > 0.0)
    };
    let is_unbeaten = |point: &&ParetoPoint| !points.iter().any(|other| beats(other, point));
    points.iter().filter(is_unbeaten).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::{Estimate, LoadLevel};

    fn level(concurrency: u32, throughput: f64, per_user: f64, latency: f64) -> LevelResult {
        let estimate = |mean| Estimate { mean, runs: 1, spread: None };
        let values = [
            ("output_tokens_per_second", throughput),
            ("output_tokens_per_second_per_user", per_user),
            ("latency_p50", latency),
        ];
        let summary: BTreeMap<String, Estimate> =
            values.into_iter().map(|(name, value)| (name.to_owned(), estimate(value))).collect();
        LevelResult {
            load: LoadLevel::Concurrency(concurrency),
            summary,
            output_tokens_per_second_per_gpu: None,
            runs: Vec::new(),
        }
    }

    #[test]
    fn knee_is_where_only_the_latency_rises() {
        let levels = [
            level(1, 100.0, 100.0, 10.0),
            level(8, 700.0, 90.0, 12.0),
            level(16, 720.0, 50.0, 22.0),
            level(32, 725.0, 25.0, 44.0),
        ];
        let analysis = LoadAnalysis::new(&levels, Some(8));
        assert_eq!(analysis.knee, Some(2));
        assert!(analysis.is_per_gpu);
        assert_eq!(analysis.pareto[1].output_tokens_per_second, 87.5);
        assert_eq!(LoadAnalysis::new(&levels[..2], None).knee, None);
    }

    #[test]
    fn beaten_levels_are_not_pareto_points() {
        let levels = [level(1, 100.0, 100.0, 1.0), level(8, 500.0, 90.0, 1.0), level(16, 400.0, 80.0, 1.0)];
        let points = LoadAnalysis::new(&levels, None).pareto;
        assert_eq!(points.iter().map(|point| point.level).collect::<Vec<_>>(), [0, 1]);
    }
}
