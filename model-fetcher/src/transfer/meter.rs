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

/// Decides how many connections may fetch: twice as many as long as that brings a quarter more. Where each connection
/// is limited, it brings twice as much; where this machine is the limit, it brings only memory and switches.
#[derive(Debug)]
pub(crate) struct Ramp {
    most: usize,
    allowed: usize,
    best: u64,
    settled: bool,
    since: Instant,
    from: u64,
}

const FIRST_CONNECTIONS: usize = 8;
const RAMP_STEP: Duration = Duration::from_millis(300);

impl Ramp {
    pub(crate) fn new(most: usize, now: Instant) -> Self {
        Self { most, allowed: FIRST_CONNECTIONS.min(most), best: 0, settled: false, since: now, from: 0 }
    }

    pub(crate) fn allowed(&self) -> usize {
        self.allowed
    }

    /// Looks at the bytes received up to `now`.
    pub(crate) fn observe(&mut self, now: Instant, received: u64) -> usize {
        let elapsed = now.duration_since(self.since);
        if self.settled || elapsed < RAMP_STEP || received == self.from {
            return self.allowed;
        }
        let rate = ((received - self.from) as f64 / elapsed.as_secs_f64()) as u64;
        self.since = now;
        self.from = received;
        if rate > self.best + self.best / 4 && self.allowed < self.most {
            self.best = rate;
            self.allowed = (self.allowed * 2).min(self.most);
        } else {
            self.settled = true;
        }
        self.allowed
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

    #[test]
    fn connections_grow_while_it_helps() {
        let start = Instant::now();
        let step = |steps: u32| start + RAMP_STEP * steps;
        let mut ramp = Ramp::new(32, start);
        assert_eq!(ramp.allowed(), 8);
        assert_eq!(ramp.observe(step(1), 1000), 16);
        assert_eq!(ramp.observe(step(2), 3000), 32);
        let mut flat = Ramp::new(32, start);
        flat.observe(step(1), 1000);
        assert_eq!(flat.observe(step(2), 2000), 16);
        assert_eq!(flat.observe(step(3), 9000), 16, "settled");
    }
}
