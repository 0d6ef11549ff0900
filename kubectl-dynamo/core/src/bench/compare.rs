//! Compares two runs of the same workload: the ratio of each metric at each level, and whether the repeats show a
//! difference.

use serde::Serialize;

use super::statistics::t_quantile;
use super::{BenchRun, Better, Estimate, HEADLINE_METRICS, HeadlineMetric, LoadLevel};
use crate::change::{Difference, differences};

/// The comparison of two runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchComparison {
    pub levels: Vec<LevelComparison>,
    /// What differs between the two deployments, as text.
    pub changes: Vec<String>,
}

/// The comparison of one level.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LevelComparison {
    pub load: LoadLevel,
    pub metrics: Vec<MetricComparison>,
}

/// The values of one metric in both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricComparison {
    pub metric: &'static str,
    pub unit: &'static str,
    pub before: f64,
    pub after: f64,
    /// The second value divided by the first.
    pub ratio: f64,
    /// The 95 % interval of the ratio; `None` without repeats.
    pub interval: Option<(f64, f64)>,
    pub outcome: ComparisonOutcome,
}

/// What a ratio shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComparisonOutcome {
    Better,
    Worse,
    /// It differs, and neither value is better.
    Different,
    /// The interval contains 1.
    NoDifferenceShown,
    /// There are no repeats, so noise cannot be distinguished from a difference.
    Unknown,
}

impl ComparisonOutcome {
    /// The outcome as a table shows it.
    pub fn as_text(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Different => "different",
            Self::NoDifferenceShown => "no difference shown",
            Self::Unknown => "unknown without repeats",
        }
    }
}

impl BenchComparison {
    /// Compares two runs, the earlier one first. Their workloads must be equal.
    pub fn new(before: &BenchRun, after: &BenchRun) -> Self {
        let level = |one: &super::LevelResult| {
            let other = after.levels.iter().find(|other| other.load == one.load)?;
            let compare = |metric: &'static HeadlineMetric| {
                MetricComparison::new(metric, one.summary.get(metric.name)?, other.summary.get(metric.name)?)
            };
            let metrics = HEADLINE_METRICS.iter().filter_map(compare).collect();
            Some(LevelComparison { load: one.load, metrics })
        };
        Self { levels: before.levels.iter().filter_map(level).collect(), changes: changes(before, after) }
    }
}

impl MetricComparison {
    fn new(metric: &'static HeadlineMetric, before: &Estimate, after: &Estimate) -> Option<Self> {
        if before.mean == 0.0 || after.mean == 0.0 {
            return None;
        }
        let ratio = after.mean / before.mean;
        let interval = ratio_interval(before, after);
        let outcome = match interval {
            None => ComparisonOutcome::Unknown,
            Some((low, high)) if low <= 1.0 && high >= 1.0 => ComparisonOutcome::NoDifferenceShown,
            Some((low, _)) => match (metric.better, low > 1.0) {
                (Better::Neither, _) => ComparisonOutcome::Different,
                (Better::Higher, true) | (Better::Lower, false) => ComparisonOutcome::Better,
                (Better::Higher, false) | (Better::Lower, true) => ComparisonOutcome::Worse,
            },
        };
        let (metric, unit) = (metric.name, metric.unit);
        Some(Self { metric, unit, before: before.mean, after: after.mean, ratio, interval, outcome })
    }
}

/// The 95 % interval of the ratio of two means, on the logarithmic scale, with Welch's degrees of freedom.
fn ratio_interval(before: &Estimate, after: &Estimate) -> Option<(f64, f64)> {
    let ((one, one_degrees), (other, other_degrees)) =
        (before.relative_variance()?, after.relative_variance()?);
    let ratio = after.mean / before.mean;
    let variance = one + other;
    if variance == 0.0 {
        return Some((ratio, ratio));
    }
    let degrees = variance.powi(2) / (one.powi(2) / one_degrees + other.powi(2) / other_degrees);
    let factor = (t_quantile(degrees) * variance.sqrt()).exp();
    Some((ratio / factor, ratio * factor))
}

/// What differs between the deployments: the version, the GPUs, and the fields of the resolved request.
fn changes(before: &BenchRun, after: &BenchRun) -> Vec<String> {
    let (Some(one), Some(other)) = (&before.target.deployment, &after.target.deployment) else {
        let urls = (&before.target.url, &after.target.url);
        return if urls.0 == urls.1 { Vec::new() } else { vec![format!("url: {} → {}", urls.0, urls.1)] };
    };
    let mut changes = Vec::new();
    if one.version != other.version {
        changes.push(format!("Dynamo: {} → {}", one.version, other.version));
    }
    if one.gpus != other.gpus {
        changes.push(format!("GPUs: {} → {}", one.gpus, other.gpus));
    }
    // The names of the deployments differ if both run at the same time.
    let is_setting = |difference: &Difference| difference.path != "name";
    changes.extend(differences(&one.intent, &other.intent).iter().filter(|one| is_setting(one)).map(text));
    changes
}

fn text(difference: &Difference) -> String {
    let value = |value: &Option<serde_json::Value>| {
        value.as_ref().map_or_else(|| "not set".to_owned(), ToString::to_string)
    };
    format!("{}: {} → {}", difference.path, value(&difference.before), value(&difference.after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(metric: &str, before: &[f64], after: &[f64]) -> MetricComparison {
        let estimate = |values| Estimate::from_values(values).expect("values");
        let metric = HeadlineMetric::find(metric).expect("a metric");
        MetricComparison::new(metric, &estimate(before), &estimate(after)).expect("values that are not zero")
    }

    #[test]
    fn outcome_depends_on_the_spread_and_the_direction() {
        for (metric, before, after, outcome) in [
            ("ttft_p95", &[10.0, 10.1, 9.9][..], &[20.0, 20.2, 19.8][..], ComparisonOutcome::Worse),
            ("ttft_p95", &[20.0, 20.2, 19.8], &[10.0, 10.1, 9.9], ComparisonOutcome::Better),
            ("requests_per_second", &[10.0, 10.1, 9.9], &[20.0, 20.2, 19.8], ComparisonOutcome::Better),
            ("cached_percent", &[10.0, 10.1, 9.9], &[20.0, 20.2, 19.8], ComparisonOutcome::Different),
            ("ttft_p95", &[10.0, 12.0, 14.0], &[11.0, 13.0, 15.0], ComparisonOutcome::NoDifferenceShown),
            ("ttft_p95", &[10.0], &[20.0], ComparisonOutcome::Unknown),
        ] {
            assert_eq!(comparison(metric, before, after).outcome, outcome, "{metric} {before:?} {after:?}");
        }
    }

    #[test]
    fn interval_contains_the_ratio() {
        let compared = comparison("ttft_p95", &[10.0, 10.5, 9.5], &[15.0, 15.5, 14.5]);
        let (low, high) = compared.interval.expect("repeats");
        assert!(low < 1.5 && 1.5 < high && (compared.ratio - 1.5).abs() < 1e-9, "{compared:?}");
        let exact = comparison("ttft_p95", &[10.0, 10.0], &[15.0, 15.0]);
        assert_eq!(exact.interval, Some((1.5, 1.5)));
    }
}
