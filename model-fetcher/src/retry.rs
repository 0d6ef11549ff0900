//! Decides how long to wait before a retry, and when to stop retrying.
//!
//! The limit is the time without data and never the number of attempts: a hub that is down for a minute must
//! not end a fetch of an hour.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::error::FetcherError;
use crate::options::FetchOptions;
use crate::source::Retryable;
use model_fetcher_contract::{ProgressEvent, WaitReason};

const INITIAL_DELAY: Duration = Duration::from_millis(250);
const MAX_DELAY: Duration = Duration::from_secs(30);
/// Longest delay that a server can request. Windows of rate limits are minutes; a longer one is a fault of the server.
const MAX_REQUESTED_DELAY: Duration = Duration::from_secs(24 * 3600);

/// Retry delays that double from 0.25 s to 30 s, each with random jitter between half and all of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// Returns the next delay. A delay requested by the server is used as is, plus up to 10% so that many
    /// pods do not retry at the same moment.
    pub(crate) fn next_delay(&mut self, retry_after: Option<Duration>) -> Duration {
        let delay = INITIAL_DELAY.saturating_mul(2u32.saturating_pow(self.attempt)).min(MAX_DELAY);
        self.attempt = self.attempt.saturating_add(1);
        match retry_after {
            Some(retry_after) => retry_after.min(MAX_REQUESTED_DELAY).mul_f64(1.0 + fastrand::f64() / 10.0),
            None => delay.mul_f64(0.5 + fastrand::f64() / 2.0),
        }
    }
}

/// How long a fetch may receive no data. Delays of a rate limit do not count: the hub works, and says when it is this
/// client's turn. Other delays count, so that a server that is down ends the fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryLimits {
    stall: Duration,
    /// Limit while no server can be reached.
    unreachable: Duration,
}

impl RetryLimits {
    pub(crate) fn from_options(options: &FetchOptions) -> Self {
        let stall = options.stall_timeout;
        Self { stall, unreachable: stall.min(options.unreachable_timeout) }
    }

    /// Returns whether to wait for `delay` after `idle` without data.
    pub(crate) fn allow(&self, retryable: &Retryable, idle: Duration, delay: Duration) -> bool {
        let limit = if retryable.is_unreachable { self.unreachable } else { self.stall };
        idle.saturating_add(delay) <= limit
    }
}

/// Returns the event that reports a delay before a retry.
pub(crate) fn waiting_event(retryable: &Retryable, detail: String, delay: Duration) -> ProgressEvent {
    let reason = if retryable.is_rate_limited { WaitReason::RateLimit } else { WaitReason::Retry };
    ProgressEvent::Waiting { reason, detail, seconds: delay.as_secs_f64().ceil() as u64 }
}

/// Retries one request until it succeeds, fails permanently, or receives no data for the stall timeout.
pub(crate) struct RetryPolicy {
    backoff: Backoff,
    endpoint: String,
    limits: RetryLimits,
    requested_wait: Duration,
    started: Instant,
    events: UnboundedSender<ProgressEvent>,
}

impl RetryPolicy {
    pub(crate) fn new(
        endpoint: impl Into<String>,
        limits: RetryLimits,
        events: UnboundedSender<ProgressEvent>,
    ) -> Self {
        Self {
            backoff: Backoff::default(),
            endpoint: endpoint.into(),
            limits,
            requested_wait: Duration::ZERO,
            started: Instant::now(),
            events,
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// No data arrived for the limit.
    pub(crate) async fn wait(&mut self, retryable: &Retryable) -> Result<(), FetcherError> {
        let delay = self.backoff.next_delay(retryable.retry_after);
        let idle = self.started.elapsed().saturating_sub(self.requested_wait);
        if !self.limits.allow(retryable, idle, delay) {
            return Err(FetcherError::Stalled {
                endpoint: self.endpoint.clone(),
                stalled: self.started.elapsed(),
                last: retryable.reason.clone(),
            });
        }
        let detail = format!("{}: {}", self.endpoint, retryable.reason);
        // A closed receiver only means that nothing shows the events.
        let _ = self.events.send(waiting_event(retryable, detail, delay));
        tokio::time::sleep(delay).await;
        if retryable.is_rate_limit_delay() {
            self.requested_wait += delay;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_30_seconds() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..50).map(|_| backoff.next_delay(None)).collect();
        assert!(delays[0] >= INITIAL_DELAY / 2 && delays[0] <= INITIAL_DELAY);
        assert!(delays[49] >= MAX_DELAY / 2 && delays[49] <= MAX_DELAY);
    }

    #[test]
    fn honors_retry_after() {
        let delay = Backoff::default().next_delay(Some(Duration::from_secs(10)));
        assert!(delay >= Duration::from_secs(10) && delay <= Duration::from_secs(11));
        for absurd in [Duration::MAX, Duration::from_secs(u64::MAX)] {
            assert!(Backoff::default().next_delay(Some(absurd)) < MAX_REQUESTED_DELAY * 2);
        }
    }

    /// One minute for a hub that responds, zero for one that cannot be reached.
    fn retry_policy() -> RetryPolicy {
        let limits = RetryLimits { stall: Duration::from_secs(60), unreachable: Duration::ZERO };
        RetryPolicy::new("hub", limits, tokio::sync::mpsc::unbounded_channel().0)
    }

    #[tokio::test]
    async fn unreachable_hub_times_out_before_busy_hub() {
        let unreachable = Retryable { is_unreachable: true, ..Retryable::new("cannot connect") };
        assert!(retry_policy().wait(&unreachable).await.is_err());
        assert!(retry_policy().wait(&Retryable::new("HTTP status 503")).await.is_ok());
    }

    #[tokio::test]
    async fn retry_after_beyond_stall_timeout_fails() {
        let mut retry_policy = retry_policy();
        let retryable =
            Retryable { retry_after: Some(Duration::from_secs(3600)), ..Retryable::new("HTTP status 429") };
        let error = retry_policy.wait(&retryable).await.unwrap_err();
        assert_eq!(error.exit_code(), 13);
        assert_eq!(error.to_string(), "no data from hub: HTTP status 429");
    }
}
