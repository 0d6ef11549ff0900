//! How long to wait before asking again, and when to stop asking.
//!
//! Bounded by time in which nothing came, never by a number of attempts: a hub that is down for a minute must not
//! end a fetch of an hour.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use crate::contract::{ProgressEvent, WaitReason};
use crate::error::Error;
use crate::options::FetchOptions;
use crate::source::Later;

const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Delays that double from a quarter second to half a minute, each between half and all of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// How long to wait now. A server's own word is obeyed, plus up to a tenth so that many pods do not come back in
    /// the same moment.
    pub(crate) fn next(&mut self, asked_for: Option<Duration>) -> Duration {
        let delay = FIRST_DELAY.saturating_mul(1 << self.attempt.min(10)).min(LONGEST_DELAY);
        self.attempt += 1;
        match asked_for {
            Some(asked_for) => asked_for.mul_f64(1.0 + fastrand::f64() / 10.0),
            None => delay.mul_f64(0.5 + fastrand::f64() / 2.0),
        }
    }
}

/// How long nothing may come before it is enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    stall: Duration,
    /// Where no server is reached.
    unreachable: Duration,
}

impl Limits {
    pub(crate) fn of(options: &FetchOptions) -> Self {
        let stall = options.stall_timeout;
        Self { stall, unreachable: stall.min(options.unreachable_timeout) }
    }
}

/// Repeats one request until it works, it can never work, or nothing came for the stall timeout.
pub(crate) struct Patience {
    backoff: Backoff,
    endpoint: String,
    limits: Limits,
    waited: Duration,
    last_success: Instant,
    notices: UnboundedSender<ProgressEvent>,
}

impl Patience {
    pub(crate) fn new(
        endpoint: impl Into<String>,
        limits: Limits,
        notices: UnboundedSender<ProgressEvent>,
    ) -> Self {
        Self {
            backoff: Backoff::default(),
            endpoint: endpoint.into(),
            limits,
            waited: Duration::ZERO,
            last_success: Instant::now(),
            notices,
        }
    }

    /// Waits as `later` asks, or says that it is enough.
    pub(crate) async fn wait(&mut self, later: &Later) -> Result<(), Error> {
        let delay = self.backoff.next(later.after);
        let stalled = self.last_success.elapsed().saturating_sub(self.waited);
        let limit = if later.unreachable { self.limits.unreachable } else { self.limits.stall };
        if stalled + delay > limit {
            return Err(Error::Stalled {
                endpoint: self.endpoint.clone(),
                stalled: self.last_success.elapsed(),
                last: later.reason.clone(),
            });
        }
        let reason = if later.rate_limited { WaitReason::RateLimit } else { WaitReason::Retry };
        // A receiver that is gone only means that nobody watches.
        let _ = self.notices.send(ProgressEvent::Waiting {
            reason,
            detail: format!("{}: {}", self.endpoint, later.reason),
            seconds: delay.as_secs_f64().ceil() as u64,
        });
        tokio::time::sleep(delay).await;
        if later.after.is_some() {
            self.waited += delay;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let delays: Vec<Duration> = (0..12).map(|_| backoff.next(None)).collect();
        assert!(delays[0] >= FIRST_DELAY / 2 && delays[0] <= FIRST_DELAY);
        assert!(delays[11] >= LONGEST_DELAY / 2 && delays[11] <= LONGEST_DELAY);
    }

    #[test]
    fn a_servers_word_is_obeyed() {
        let delay = Backoff::default().next(Some(Duration::from_secs(10)));
        assert!(delay >= Duration::from_secs(10) && delay <= Duration::from_secs(11));
    }

    /// A minute for a hub that answers, none for one that is not reached.
    fn patience() -> Patience {
        let limits = Limits { stall: Duration::from_secs(60), unreachable: Duration::ZERO };
        Patience::new("hub", limits, tokio::sync::mpsc::unbounded_channel().0)
    }

    #[tokio::test]
    async fn a_hub_that_is_not_reached_is_given_up_sooner_than_a_busy_one() {
        let unreachable = Later { unreachable: true, ..Later::new("no connection") };
        assert!(patience().wait(&unreachable).await.is_err());
        assert!(patience().wait(&Later::new("HTTP status 503")).await.is_ok());
    }

    #[tokio::test]
    async fn a_wait_longer_than_the_stall_timeout_ends_it() {
        let mut patience = patience();
        let later = Later { after: Some(Duration::from_secs(3600)), ..Later::new("HTTP status 429") };
        let error = patience.wait(&later).await.unwrap_err();
        assert_eq!(error.exit_code(), 13);
        assert!(error.to_string().contains("HTTP status 429"), "{error}");
    }
}
