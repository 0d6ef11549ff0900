//! How long a fetch waited and for what, and the text of its result: what was on the volume, and what was fetched.

use std::time::{Duration, Instant};

use model_fetcher_contract::WaitReason;

use crate::report::units::{bytes, clock};

/// The times that a fetcher reported as waiting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FetchWaits {
    /// For another fetcher of the same model.
    lock: Duration,
    /// Between requests to the hub, while at least one connection waited.
    hub: Duration,
    /// The end of the last of these waits: those of several connections overlap.
    hub_waits_until: Option<Instant>,
}

impl FetchWaits {
    /// Records an event that arrived at `now`. The time of a lock is the whole wait so far; those of the hub are one
    /// delay each, which begins now.
    pub(crate) fn record(&mut self, reason: WaitReason, seconds: u64, now: Instant) {
        let time = Duration::from_secs(seconds);
        match reason {
            WaitReason::Lock => self.lock = self.lock.max(time),
            WaitReason::RateLimit | WaitReason::Retry => {
                let start = self.hub_waits_until.map_or(now, |end| end.max(now));
                let end = start.max(now + time);
                self.hub += end - start;
                self.hub_waits_until = Some(end);
            }
        }
    }

    /// Describes a complete fetch that took `total`, waits included.
    pub(crate) fn outcome(self, size: u64, fetched: u64, total: Duration) -> String {
        let active = clock(total.saturating_sub(self.lock + self.hub));
        let mut text = match fetched {
            0 => format!("{} already present", bytes(size)),
            fetched if fetched < size => {
                let present = bytes(size - fetched);
                format!("{} fetched in {active}, {present} already present", bytes(fetched))
            }
            _ => format!("{} in {active}", bytes(size)),
        };
        for (wait, reason) in [(self.lock, "another fetcher of the model"), (self.hub, "the hub")] {
            if wait.as_secs() > 0 {
                text += &format!(", {} waiting for {reason}", clock(wait));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_separates_what_was_fetched_from_waits() {
        let outcome = |waits: FetchWaits, fetched, seconds| {
            waits.outcome(24 << 20, fetched, Duration::from_secs(seconds))
        };
        let none = FetchWaits::default();
        assert_eq!(outcome(none, 24 << 20, 84), "24.0 MiB in 1:24");
        assert_eq!(outcome(none, 0, 1), "24.0 MiB already present");
        let (mut waits, start) = (none, Instant::now());
        for seconds in [10, 20, 436] {
            waits.record(WaitReason::Lock, seconds, start);
        }
        assert_eq!(
            outcome(waits, 0, 443),
            "24.0 MiB already present, 7:16 waiting for another fetcher of the model"
        );
        // Three connections wait at the same time, and one of them once more.
        for (seconds, after) in [(2, 0), (2, 0), (1, 1), (3, 10)] {
            waits.record(WaitReason::Retry, seconds, start + Duration::from_secs(after));
        }
        assert_eq!(
            outcome(waits, 8 << 20, 443),
            "8.0 MiB fetched in 0:02, 16.0 MiB already present, 7:16 waiting for another fetcher of the model, \
             0:05 waiting for the hub"
        );
    }
}
