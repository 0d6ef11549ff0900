//! Means of repeats, and how sure they are: Student's t intervals of 95 %.

use serde::{Deserialize, Serialize};

/// The mean of a metric over the repeats of one level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    pub mean: f64,
    /// The number of repeats.
    pub runs: u32,
    /// None for a single repeat.
    pub spread: Option<Spread>,
}

/// How much the repeats differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    pub standard_deviation: f64,
    /// The 95 % interval of the mean.
    pub low: f64,
    pub high: f64,
}

/// Two-sided 95 % quantiles of Student's t distribution for 1 to 30 degrees of freedom.
const T_QUANTILES: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// The quantile for a number of degrees of freedom, which is rounded down.
pub(super) fn t_quantile(degrees: f64) -> f64 {
    let at = degrees.floor().max(1.0) as usize - 1;
    T_QUANTILES.get(at).copied().unwrap_or(1.96)
}

impl Estimate {
    /// The estimate from the value of each repeat; `None` without a value.
    pub fn from_values(values: &[f64]) -> Option<Self> {
        let runs = u32::try_from(values.len()).ok().filter(|runs| *runs > 0)?;
        let count = f64::from(runs);
        let mean = values.iter().sum::<f64>() / count;
        let spread = (runs > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let standard_deviation = (squares / (count - 1.0)).sqrt();
            let margin = t_quantile(count - 1.0) * standard_deviation / count.sqrt();
            Spread { standard_deviation, low: mean - margin, high: mean + margin }
        });
        Some(Self { mean, runs, spread })
    }

    /// The variance of the mean relative to its square, and its degrees of freedom.
    pub(super) fn relative_variance(&self) -> Option<(f64, f64)> {
        let spread = self.spread.filter(|_| self.mean != 0.0)?;
        let count = f64::from(self.runs);
        Some(((spread.standard_deviation / self.mean).powi(2) / count, count - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_of_three_repeats_uses_two_degrees_of_freedom() {
        let estimate = Estimate::from_values(&[10.0, 12.0, 14.0]).expect("three values");
        let spread = estimate.spread.expect("several repeats");
        assert_eq!((estimate.mean, estimate.runs, spread.standard_deviation), (12.0, 3, 2.0));
        // 4.303 × 2 ÷ √3
        assert!((spread.high - 16.968).abs() < 0.01 && (spread.low - 7.032).abs() < 0.01, "{spread:?}");
        assert_eq!(Estimate::from_values(&[5.0]), Some(Estimate { mean: 5.0, runs: 1, spread: None }));
        assert_eq!(Estimate::from_values(&[]), None);
    }

    #[test]
    fn quantiles_decrease_to_that_of_the_normal_distribution() {
        for (degrees, quantile) in [(0.5, 12.706), (1.9, 12.706), (2.0, 4.303), (30.0, 2.042), (99.0, 1.96)] {
            assert_eq!(t_quantile(degrees), quantile, "{degrees}");
        }
    }
}
