//! What the frontends of a deployment have counted since they started. One scrape is enough for these numbers.

use super::sample::{Counters, FrontendCounters, FrontendMetrics, SUCCESS, sum};
use super::tracker::share;

/// The requests of a deployment. A number that no frontend exports is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RequestTotals {
    pub in_flight: Option<f64>,
    pub queued: Option<f64>,
    /// Finished requests.
    pub finished: Option<f64>,
    /// The finished requests that failed.
    pub failed: Option<f64>,
    /// The share of the prompt tokens that a KV cache contained, from 0 to 1.
    pub cached_share: Option<f64>,
}

impl RequestTotals {
    /// Adds up the metrics of all frontends.
    pub fn from_frontends(frontends: &[FrontendMetrics]) -> Self {
        let mut counters = FrontendCounters::default();
        frontends.iter().for_each(|frontend| counters.add(&frontend.counters));
        let gauge = |value: fn(&FrontendMetrics) -> Option<f64>| frontends.iter().map(value).fold(None, sum);
        let finished = (!counters.requests.is_empty()).then(|| counters.requests.values().sum::<f64>());
        let succeeded = counters.requests.get(SUCCESS).copied().unwrap_or_default();
        Self {
            in_flight: gauge(|frontend| frontend.in_flight),
            queued: gauge(|frontend| frontend.queued),
            finished,
            failed: finished.map(|finished| finished - succeeded),
            cached_share: share(counters.cached_tokens, counters.input_tokens),
        }
    }
}
