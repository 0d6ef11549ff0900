//! What a deployment must achieve: the lengths of requests, latency limits, and the load.

use std::str::FromStr;

use serde::Serialize;

use super::RecommendError;
use crate::intent::StringEnum;

/// A latency limit, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Latency {
    milliseconds: f64,
}

impl Latency {
    /// A latency of this many milliseconds.
    pub fn from_milliseconds(milliseconds: f64) -> Self {
        Self { milliseconds }
    }

    pub fn milliseconds(self) -> f64 {
        self.milliseconds
    }
}

impl FromStr for Latency {
    type Err = RecommendError;

    /// Parses `500ms` or `2s`.
    fn from_str(text: &str) -> Result<Self, RecommendError> {
        let invalid = || RecommendError::InvalidLatency { given: text.into() };
        let text = text.trim();
        let (number, factor) = match text.strip_suffix("ms") {
            Some(number) => (number, 1.0),
            None => (text.strip_suffix('s').ok_or_else(invalid)?, 1000.0),
        };
        let number: f64 = number.trim().parse().map_err(|_| invalid())?;
        let milliseconds = number * factor;
        match milliseconds.is_finite() && milliseconds > 0.0 {
            true => Ok(Self { milliseconds }),
            false => Err(invalid()),
        }
    }
}

/// The requests, and the latencies that they may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictionTarget {
    pub input_tokens: u32,
    pub output_tokens: u32,
    /// Maximum time to the first token.
    pub ttft: Latency,
    /// Maximum time between two tokens.
    pub itl: Latency,
}

impl PredictionTarget {
    /// Tokens of a complete request.
    pub fn request_tokens(&self) -> u64 {
        u64::from(self.input_tokens) + u64::from(self.output_tokens)
    }
}

/// What a recommendation optimizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecommendObjective {
    /// The most output tokens per second with the given GPUs.
    Throughput,
    /// The fewest GPUs for a load.
    MinGpus,
}

impl StringEnum for RecommendObjective {
    const ALL: &'static [Self] = &[Self::Throughput, Self::MinGpus];

    fn as_str(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::MinGpus => "min-gpus",
        }
    }
}

/// What determines the number of GPUs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sizing {
    /// All of these GPUs.
    Gpus(u32),
    /// As few as serve this many requests per second.
    RequestRate(f64),
    /// As few as serve this many requests in flight.
    Concurrency(u32),
}

impl Sizing {
    /// Combines the objective with the load. A load without an objective asks for the fewest GPUs.
    ///
    /// # Errors
    /// An objective that needs a load, or that does not allow one, and a load that is not positive.
    pub fn resolve(
        objective: Option<RecommendObjective>,
        load: Option<Self>,
        gpus: u32,
    ) -> Result<Self, RecommendError> {
        match (objective, load) {
            (None | Some(RecommendObjective::Throughput), None) => Ok(Self::Gpus(gpus)),
            (Some(RecommendObjective::MinGpus), None) => Err(RecommendError::NoLoad),
            (Some(RecommendObjective::Throughput), Some(load)) => {
                Err(RecommendError::LoadWithThroughput { flag: load.flag() })
            }
            (None | Some(RecommendObjective::MinGpus), Some(load)) => match load {
                Self::RequestRate(rate) if !(rate.is_finite() && rate > 0.0) => {
                    Err(RecommendError::LoadNotPositive { flag: load.flag() })
                }
                Self::Concurrency(0) => Err(RecommendError::LoadNotPositive { flag: load.flag() }),
                load => Ok(load),
            },
        }
    }

    /// The objective that this sizing has.
    pub fn objective(self) -> RecommendObjective {
        match self {
            Self::Gpus(_) => RecommendObjective::Throughput,
            Self::RequestRate(_) | Self::Concurrency(_) => RecommendObjective::MinGpus,
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Gpus(_) => "--gpu",
            Self::RequestRate(_) => "--request-rate",
            Self::Concurrency(_) => "--concurrency",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_a_unit() {
        let parse = |text: &str| text.parse::<Latency>().map(Latency::milliseconds).ok();
        assert_eq!(parse("500ms"), Some(500.0));
        assert_eq!(parse("2s"), Some(2000.0));
        assert_eq!(parse("7.5ms"), Some(7.5));
        for text in ["", "500", "ms", "-1ms", "0s", "infs", "NaNms", "1m"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn load_and_objective_must_match() {
        use RecommendObjective::{MinGpus, Throughput};
        let rate = Sizing::RequestRate(10.0);
        assert_eq!(Sizing::resolve(None, None, 8), Ok(Sizing::Gpus(8)));
        assert_eq!(Sizing::resolve(None, Some(rate), 8), Ok(rate));
        assert_eq!(Sizing::resolve(Some(MinGpus), Some(rate), 8), Ok(rate));
        assert_eq!(Sizing::resolve(Some(MinGpus), None, 8), Err(RecommendError::NoLoad));
        assert!(Sizing::resolve(Some(Throughput), Some(rate), 8).is_err());
        for load in [Sizing::RequestRate(0.0), Sizing::RequestRate(f64::NAN), Sizing::Concurrency(0)] {
            assert!(Sizing::resolve(None, Some(load), 8).is_err(), "{load:?}");
        }
    }
}
