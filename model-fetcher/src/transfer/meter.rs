//! What a transfer has done so far, and how fast it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Counted by all connections.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Bytes received, repeated ones included.
    pub(crate) received: AtomicU64,
    /// Requests that were sent again.
    pub(crate) retries: AtomicU64,
    /// Connections that fetch now.
    pub(crate) busy: AtomicUsize,
}

impl Meter {
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Bytes per second over the last few seconds.
#[derive(Debug)]
pub(crate) struct Rate {
    window: Duration,
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    pub(crate) fn over(window: Duration) -> Self {
        Self { window, samples: VecDeque::new() }
    }

    /// Notes that `total` bytes had come at `now`; returns the rate.
    pub(crate) fn at(&mut self, now: Instant, total: u64) -> u64 {
        self.samples.push_back((now, total));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= self.window {
            self.samples.pop_front();
        }
        let (since, from) = self.samples[0];
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds > 0.0 { (total.saturating_sub(from) as f64 / seconds) as u64 } else { 0 }
    }
}

/// Decides how many connections may fetch: twice as many as long as that brings a quarter more, else as many as
/// before. Where each connection is limited, twice as many bring twice as much; where this machine is the limit, they
/// bring only memory and switches. What helps may change, so it is tried again now and then.
#[derive(Debug)]
pub(crate) struct Ramp {
    most: usize,
    allowed: usize,
    /// The number that brought `best` bytes per second.
    proven: usize,
    best: u64,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Measuring { since: Instant, from: u64 },
    Settled { until: Instant },
}

const RAMP_STEP: Duration = Duration::from_millis(200);
const RAMP_AGAIN: Duration = Duration::from_secs(30);

impl Ramp {
    /// Starts with `first` connections.
    pub(crate) fn new(first: usize, most: usize, now: Instant) -> Self {
        let allowed = first.min(most);
        Self { most, allowed, proven: allowed, best: 0, phase: Phase::Measuring { since: now, from: 0 } }
    }

    pub(crate) fn allowed(&self) -> usize {
        self.allowed
    }

    /// Looks at the bytes received up to `now`; returns how many connections may fetch.
    pub(crate) fn observe(&mut self, now: Instant, received: u64) -> usize {
        match self.phase {
            Phase::Settled { until } if now >= until => {
                self.best = 0;
                self.phase = Phase::Measuring { since: now, from: received };
            }
            // Until the first byte comes, nothing is measured.
            Phase::Measuring { from, .. } if received == from => {
                self.phase = Phase::Measuring { since: now, from };
            }
            Phase::Measuring { since, from } if now.duration_since(since) >= RAMP_STEP => {
                let seconds = now.duration_since(since).as_secs_f64();
                self.measured(((received - from) as f64 / seconds) as u64, now, received);
            }
            _ => {}
        }
        self.allowed
    }

    fn measured(&mut self, rate: u64, now: Instant, received: u64) {
        let helped = rate > self.best + self.best / 4;
        if helped {
            self.best = rate;
            self.proven = self.allowed;
        }
        if helped && self.allowed < self.most {
            self.allowed = (self.allowed * 2).min(self.most);
            self.phase = Phase::Measuring { since: now, from: received };
        } else {
            self.allowed = self.proven;
            self.phase = Phase::Settled { until: now + RAMP_AGAIN };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut rate = Rate::over(Duration::from_secs(2));
        assert_eq!(rate.at(start, 0), 0);
        assert_eq!(rate.at(start + Duration::from_secs(1), 100), 100);
        assert_eq!(rate.at(start + Duration::from_secs(2), 200), 100);
        assert_eq!(rate.at(start + Duration::from_secs(3), 600), 250);
    }

    /// How many connections are allowed after each step that brought so many bytes.
    fn allowed_after(brought: &[u64]) -> Vec<usize> {
        let start = Instant::now();
        let mut ramp = Ramp::new(4, 32, start);
        let steps = brought.iter().enumerate().scan(0, |total, (step, bytes)| {
            *total += bytes;
            Some(ramp.observe(start + RAMP_STEP * (step as u32 + 1), *total))
        });
        steps.collect()
    }

    #[test]
    fn connections_grow_while_it_helps() {
        assert_eq!(allowed_after(&[1000, 2000, 4000, 8000]), [8, 16, 32, 32]);
    }

    #[test]
    fn connections_that_bring_nothing_are_given_up() {
        assert_eq!(allowed_after(&[1000, 1100, 9000]), [8, 4, 4]);
    }

    #[test]
    fn the_time_before_the_first_byte_is_not_measured() {
        assert_eq!(allowed_after(&[0, 0, 1000, 1000]), [4, 4, 8, 4]);
    }

    #[test]
    fn what_helps_is_found_out_again() {
        let start = Instant::now();
        let mut ramp = Ramp::new(4, 8, start);
        ramp.observe(start + RAMP_STEP, 1000);
        assert_eq!(ramp.observe(start + RAMP_STEP * 2, 2000), 4, "eight brought no more");
        let later = start + RAMP_AGAIN + RAMP_STEP * 2;
        assert_eq!(ramp.observe(later, 50_000), 4, "four are measured first");
        assert_eq!(ramp.observe(later + RAMP_STEP, 51_000), 8);
        assert_eq!(ramp.observe(later + RAMP_STEP * 2, 53_000), 8, "eight bring twice as much");
    }
}
