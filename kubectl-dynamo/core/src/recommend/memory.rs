//! Compares the memory that a prediction expects with the arithmetic of `fit`.

use std::fmt;

use super::RolePrediction;
use crate::fit::Fit;
use crate::intent::WorkerRole;

/// A difference above this share is reported. The fixed parts that both estimate differ by about 1 GiB.
const REPORTED_SHARE: f64 = 0.25;

/// The predicted memory of one GPU of a role, and what `fit` calculates for the same load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemoryComparison {
    pub predicted: RolePrediction,
    /// Weights, overhead, and the KV cache of the predicted batch, in bytes.
    pub calculated: u64,
    /// Concurrent requests that fit next to the weights.
    pub concurrent_requests: u64,
}

/// How `fit` disagrees with a prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MemoryDifference {
    /// Fewer requests fit than the prediction has in flight.
    FewerRequests { role: WorkerRole, predicted: u64, fitting: u64 },
    /// The sizes differ.
    Size { role: WorkerRole, predicted: u64, calculated: u64 },
}

impl MemoryComparison {
    /// Compares with a fit for requests of the target's length.
    pub fn new(predicted: RolePrediction, fit: &Fit) -> Self {
        let cache = fit.kv_per_request.saturating_mul(predicted.batch);
        Self {
            predicted,
            calculated: fit.weights.saturating_add(fit.overhead).saturating_add(cache),
            concurrent_requests: fit.concurrent_requests(),
        }
    }

    /// What must be reported.
    pub fn difference(&self) -> Option<MemoryDifference> {
        let RolePrediction { role, batch, memory } = self.predicted;
        if self.concurrent_requests < batch {
            let fitting = self.concurrent_requests;
            return Some(MemoryDifference::FewerRequests { role, predicted: batch, fitting });
        }
        let difference = memory.abs_diff(self.calculated) as f64;
        (difference > self.calculated as f64 * REPORTED_SHARE).then_some(MemoryDifference::Size {
            role,
            predicted: memory,
            calculated: self.calculated,
        })
    }
}

impl fmt::Display for MemoryDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gibibytes = |bytes: &u64| *bytes as f64 / f64::from(1 << 30);
        match self {
            Self::FewerRequests { role, predicted, fitting } => write!(
                f,
                "{role}: the prediction has {predicted} requests in flight on a model copy, but fit calculates that \
                 {fitting} fit"
            ),
            Self::Size { role, predicted, calculated } => write!(
                f,
                "{role}: {:.1} GiB of each GPU are predicted, but fit calculates {:.1} GiB",
                gibibytes(predicted),
                gibibytes(calculated)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::ContextLength;

    const GIBIBYTE: u64 = 1 << 30;

    /// 30 GiB of weights, 5 GiB of overhead, 90 GiB for KV cache, and 1 GiB for each request.
    fn fit() -> Fit {
        Fit {
            weights: 30 * GIBIBYTE,
            overhead: 5 * GIBIBYTE,
            kv_capacity: 90 * GIBIBYTE,
            kv_per_token: 1,
            kv_per_request: GIBIBYTE,
            kv_gpus: 1,
            max_model_len: 5000,
            context: ContextLength { default: 40_960, maximum: 40_960 },
            longest_request: 40_960,
        }
    }

    fn difference(batch: u64, memory: u64) -> Option<MemoryDifference> {
        let predicted = RolePrediction { role: WorkerRole::Decode, batch, memory: memory * GIBIBYTE };
        MemoryComparison::new(predicted, &fit()).difference()
    }

    #[test]
    fn small_differences_are_not_reported() {
        assert_eq!(difference(15, 46), None);
        assert_eq!(difference(15, 60), None);
    }

    #[test]
    fn other_size_and_too_many_requests_are_reported() {
        let size = difference(15, 20).expect("a difference");
        assert_eq!(
            size.to_string(),
            "decode: 20.0 GiB of each GPU are predicted, but fit calculates 50.0 GiB"
        );
        assert!(matches!(difference(15, 70), Some(MemoryDifference::Size { .. })));
        let requests = difference(91, 125).expect("a difference").to_string();
        assert!(requests.contains("91 requests") && requests.contains("90 fit"), "{requests}");
    }
}
