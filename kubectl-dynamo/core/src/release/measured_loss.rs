//! The type of a measurement: how many requests failed while a serving deployment was changed. The measured values
//! are in the catalog.

use std::fmt;

/// The part of a serving deployment that a change replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplacedPods {
    /// Workers that serve complete requests.
    AggregatedWorkers,
    /// Prefill or decode workers, which serve a request together.
    DisaggregatedWorkers,
    Frontend,
    /// No pod is replaced, but some are removed.
    Removed,
}

/// The failed requests of one measured change, under a constant load with Dynamo's mocker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasuredLoss {
    /// Version of the operator.
    pub operator: &'static str,
    pub replaced: ReplacedPods,
    pub failed: u32,
    pub requests: u32,
    /// Time from the first to the last failed request, in tenths of a second; `None` if it was not measured.
    pub tenths_of_seconds: Option<u32>,
}

impl MeasuredLoss {
    /// Whether accepted requests of clients are lost. A connection that a frontend refuses can be repeated by any
    /// client, so its replacement does not count, and pods are only removed on request.
    pub fn interrupts_requests(&self) -> bool {
        match self.replaced {
            ReplacedPods::AggregatedWorkers | ReplacedPods::DisaggregatedWorkers => self.failed > 0,
            ReplacedPods::Frontend | ReplacedPods::Removed => false,
        }
    }

    /// Seconds from the first to the last failed request.
    pub fn seconds(&self) -> Option<f64> {
        self.tenths_of_seconds.map(|tenths| f64::from(tenths) / 10.0)
    }
}

impl fmt::Display for MeasuredLoss {
    /// Writes text such as `2 of 199 requests failed, within 0.4 s (measured with operator 1.5 and the mocker)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} requests failed", self.failed, self.requests)?;
        if let Some(seconds) = self.seconds() {
            write!(f, ", within {seconds} s")?;
        }
        write!(f, " (measured with operator {} and the mocker)", self.operator)
    }
}
