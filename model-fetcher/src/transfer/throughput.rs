//! Counts the bytes of a transfer, measures its rate, and adjusts the number of connections.
//! Pure computation: the caller passes the current time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counters that all connections update.
#[derive(Debug, Default)]
pub(crate) struct Throughput {
    /// Bytes received, including repeated ones.
    pub(crate) received: AtomicU64,
    /// Number of repeated requests.
    pub(crate) retries: AtomicU64,
    /// Number of connections that are fetching.
    pub(crate) busy: AtomicUsize,
}

impl Throughput {
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Bytes per second over the last few seconds.
#[derive(Debug)]
pub(crate) struct TransferRate {
    window: Duration,
    samples: VecDeque<(Instant, u64)>,
}

impl TransferRate {
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, samples: VecDeque::new() }
    }

    /// Records that `total` bytes arrived up to `now`; returns the rate in bytes per second.
    pub(crate) fn sample(&mut self, now: Instant, total: u64) -> u64 {
        self.samples.push_back((now, total));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= self.window {
            self.samples.pop_front();
        }
        let (start, start_bytes) = self.samples[0];
        let seconds = now.duration_since(start).as_secs_f64();
        if seconds > 0.0 { (total.saturating_sub(start_bytes) as f64 / seconds) as u64 } else { 0 }
    }
}

/// Decides how many connections may fetch. It doubles the number as long as this raises the rate by a
/// quarter, else it returns to the previous number. If each connection is limited, twice as many double the
/// rate. If this machine is the limit, more connections only cost memory and context switches. Conditions
/// change, so it is tried again from time to time.
#[derive(Debug)]
pub(crate) struct ConcurrencyRamp {
    max: usize,
    concurrency: usize,
    /// The number of connections that reached `best_rate` bytes per second.
    best_concurrency: usize,
    best_rate: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Measuring { since: Instant, start_bytes: u64 },
    Stable { until: Instant },
}

/// Time of one measurement. Chosen: several round trips, and 32 connections are reached after 0.6 s.
const RAMP_INTERVAL: Duration = Duration::from_millis(200);
/// Chosen: a model takes minutes, so other conditions are noticed early enough.
const RAMP_RETRY_INTERVAL: Duration = Duration::from_secs(30);
/// A rate counts as higher if it is higher by one part of this many. Chosen: twice as many connections that are
/// limited each give 100%, and rates of 200 ms vary by some 10%.
const RATE_GAIN_DIVISOR: u64 = 4;

impl ConcurrencyRamp {
    /// Starts with `initial` connections.
    pub(crate) fn new(initial: usize, max: usize, now: Instant) -> Self {
        let concurrency = initial.min(max);
        Self {
            max,
            concurrency,
            best_concurrency: concurrency,
            best_rate: 0,
            phase: Phase::Measuring { since: now, start_bytes: 0 },
        }
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// Evaluates the bytes received up to `now`; returns how many connections may fetch.
    pub(crate) fn observe(&mut self, now: Instant, received: u64) -> usize {
        match self.phase {
            Phase::Stable { until } if now >= until => {
                self.best_rate = 0;
                self.phase = Phase::Measuring { since: now, start_bytes: received };
            }
            // Nothing is measured before the first byte arrives.
            Phase::Measuring { start_bytes, .. } if received == start_bytes => {
                self.phase = Phase::Measuring { since: now, start_bytes };
            }
            Phase::Measuring { since, start_bytes } if now.duration_since(since) >= RAMP_INTERVAL => {
                let seconds = now.duration_since(since).as_secs_f64();
                self.record_measurement(((received - start_bytes) as f64 / seconds) as u64, now, received);
            }
            _ => {}
        }
        self.concurrency
    }

    fn record_measurement(&mut self, rate: u64, now: Instant, received: u64) {
        let is_faster = rate > self.best_rate + self.best_rate / RATE_GAIN_DIVISOR;
        if is_faster {
            self.best_rate = rate;
            self.best_concurrency = self.concurrency;
        }
        if is_faster && self.concurrency < self.max {
            self.concurrency = (self.concurrency * 2).min(self.max);
            self.phase = Phase::Measuring { since: now, start_bytes: received };
        } else {
            self.concurrency = self.best_concurrency;
            self.phase = Phase::Stable { until: now + RAMP_RETRY_INTERVAL };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_covers_recent_window() {
        let start = Instant::now();
        let mut rate = TransferRate::new(Duration::from_secs(2));
        assert_eq!(rate.sample(start, 0), 0);
        assert_eq!(rate.sample(start + Duration::from_secs(1), 100), 100);
        assert_eq!(rate.sample(start + Duration::from_secs(2), 200), 100);
        assert_eq!(rate.sample(start + Duration::from_secs(3), 600), 250);
    }

    /// Returns the number of connections after each step that received the given bytes.
    fn concurrency_after(step_bytes: &[u64]) -> Vec<usize> {
        let start = Instant::now();
        let mut ramp = ConcurrencyRamp::new(4, 32, start);
        let steps = step_bytes.iter().enumerate().scan(0, |total, (step, bytes)| {
            *total += bytes;
            Some(ramp.observe(start + RAMP_INTERVAL * (step as u32 + 1), *total))
        });
        steps.collect()
    }

    #[test]
    fn ramp_doubles_while_throughput_grows() {
        assert_eq!(concurrency_after(&[1000, 2000, 4000, 8000]), [8, 16, 32, 32]);
    }

    #[test]
    fn ramp_reverts_without_throughput_gain() {
        assert_eq!(concurrency_after(&[1000, 1100, 9000]), [8, 4, 4]);
    }

    #[test]
    fn ramp_ignores_time_before_first_byte() {
        assert_eq!(concurrency_after(&[0, 0, 1000, 1000]), [4, 4, 8, 4]);
    }

    #[test]
    fn ramp_retries_higher_concurrency() {
        let start = Instant::now();
        let mut ramp = ConcurrencyRamp::new(4, 8, start);
        ramp.observe(start + RAMP_INTERVAL, 1000);
        assert_eq!(ramp.observe(start + RAMP_INTERVAL * 2, 2000), 4, "eight were not faster");
        let next_attempt = start + RAMP_RETRY_INTERVAL + RAMP_INTERVAL * 2;
        assert_eq!(ramp.observe(next_attempt, 50_000), 4, "four are measured first");
        assert_eq!(ramp.observe(next_attempt + RAMP_INTERVAL, 51_000), 8);
        assert_eq!(ramp.observe(next_attempt + RAMP_INTERVAL * 2, 53_000), 8, "eight are twice as fast");
    }
}
