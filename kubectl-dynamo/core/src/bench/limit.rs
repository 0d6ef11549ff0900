//! Limits of a comparison, for pipelines: `ttft_p95>1.10x` fails if the second run is more than 1.1 times slower.

use std::fmt;
use std::str::FromStr;

use super::{BenchComparison, HeadlineMetric, LoadLevel, MetricComparison};
use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::Explain;

/// A ratio that a metric must not exceed or fall below.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegressionLimit {
    metric: &'static HeadlineMetric,
    bound: LimitBound,
    ratio: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LimitBound {
    Above,
    Below,
}

/// A text that is not a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    #[error("\"{given}\" is not a limit such as ttft_p95>1.10x")]
    Syntax { given: String },
    #[error("metric \"{given}\" is unknown{}", nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
    UnknownMetric { given: String, nearest: Option<&'static str> },
}

impl Explain for LimitError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::InvalidValue)
    }

    fn hint(&self) -> Option<Fix> {
        Some(
            "use METRIC>RATIOx or METRIC<RATIOx, with a metric such as ttft_p95 or requests_per_second"
                .into(),
        )
    }
}

impl FromStr for RegressionLimit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        let syntax = || LimitError::Syntax { given: text.into() };
        let (at, bound) = match (text.find('>'), text.find('<')) {
            (Some(at), None) => (at, LimitBound::Above),
            (None, Some(at)) => (at, LimitBound::Below),
            _ => return Err(syntax()),
        };
        let (name, ratio) = (text[..at].trim(), text[at + 1..].trim());
        let metric = HeadlineMetric::find(name).ok_or_else(|| LimitError::UnknownMetric {
            given: name.into(),
            nearest: HeadlineMetric::nearest(name),
        })?;
        let ratio = ratio.strip_suffix('x').and_then(|ratio| ratio.trim().parse::<f64>().ok());
        let ratio = ratio.filter(|ratio| ratio.is_finite() && *ratio > 0.0).ok_or_else(syntax)?;
        Ok(Self { metric, bound, ratio })
    }
}

impl fmt::Display for RegressionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.bound == LimitBound::Above { '>' } else { '<' };
        write!(f, "{}{sign}{}x", self.metric.name, self.ratio)
    }
}

impl RegressionLimit {
    /// The levels at which the limit is exceeded. With repeats, the interval of the ratio must also show a difference.
    pub fn exceeded_at(&self, comparison: &BenchComparison) -> Vec<(LoadLevel, f64)> {
        let levels = comparison.levels.iter().filter_map(|level| {
            let metric = level.metrics.iter().find(|metric| metric.metric == self.metric.name)?;
            self.is_exceeded(metric).then_some((level.load, metric.ratio))
        });
        levels.collect()
    }

    fn is_exceeded(&self, metric: &MetricComparison) -> bool {
        let shows_difference = metric.interval.is_none_or(|(low, high)| !(low..=high).contains(&1.0));
        shows_difference
            && match self.bound {
                LimitBound::Above => metric.ratio > self.ratio,
                LimitBound::Below => metric.ratio < self.ratio,
            }
    }

    /// Whether any level of the comparison has the metric.
    pub fn is_measured(&self, comparison: &BenchComparison) -> bool {
        let has_metric = |metric: &MetricComparison| metric.metric == self.metric.name;
        comparison.levels.iter().any(|level| level.metrics.iter().any(has_metric))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{ComparisonOutcome, LevelComparison};

    fn compared(ratio: f64, interval: Option<(f64, f64)>) -> BenchComparison {
        let metric = MetricComparison {
            metric: "ttft_p95",
            unit: "ms",
            before: 1.0,
            after: ratio,
            ratio,
            interval,
            outcome: ComparisonOutcome::Unknown,
        };
        let level = LevelComparison { load: LoadLevel::Concurrency(8), metrics: vec![metric] };
        BenchComparison { levels: vec![level], changes: Vec::new() }
    }

    #[test]
    fn limit_is_exceeded_only_by_a_shown_difference() {
        for (limit, ratio, interval, is_exceeded) in [
            ("ttft_p95>1.1x", 1.2, None, true),
            ("ttft_p95>1.1x", 1.05, None, false),
            ("ttft_p95>1.1x", 1.2, Some((0.9, 1.6)), false),
            ("ttft_p95 > 1.1x", 1.2, Some((1.05, 1.4)), true),
            ("ttft_p95<0.9x", 0.8, None, true),
        ] {
            let limit: RegressionLimit = limit.parse().expect("valid");
            let found = limit.exceeded_at(&compared(ratio, interval));
            assert_eq!(!found.is_empty(), is_exceeded, "{limit} {ratio} {interval:?}");
        }
    }

    #[test]
    fn invalid_limits_are_rejected() {
        for (text, part) in [
            ("ttft_p95", "not a limit"),
            ("ttft_p95>1.1", "not a limit"),
            ("ttft_p95>-1x", "not a limit"),
            ("ttft_p9>1.1x", "did you mean ttft_p9"),
            ("speed>1.1x", "unknown"),
        ] {
            let error = text.parse::<RegressionLimit>().expect_err("invalid");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
