//! Formats the numbers of `top` in few characters. A value that is not exported is a dash, never 0.

use std::time::Duration;

use kubectl_dynamo_core::prometheus::Quantile;
use kubectl_dynamo_core::top::RequestTotals;
use serde_json::{Value, json};

/// A value that no process exports.
pub(crate) const ABSENT: &str = "–";

/// A rate per second: `0`, `0.25`, `4.2`, `117`, `12.3k`.
pub(crate) fn rate(value: Option<f64>) -> String {
    match value {
        None => ABSENT.to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) if value < 1.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) if value < 10_000.0 => format!("{value:.0}"),
        Some(value) if value < 1e6 => format!("{:.1}k", value / 1e3),
        Some(value) => format!("{:.1}M", value / 1e6),
    }
}

/// A whole number.
pub(crate) fn count(value: Option<f64>) -> String {
    value.map_or_else(|| ABSENT.to_owned(), |value| format!("{value:.0}"))
}

/// A count as a whole number, which Prometheus does not have.
pub(crate) fn whole(count: Option<f64>) -> Option<u64> {
    count.map(|count| count.max(0.0) as u64)
}

/// A share from 0 to 1 as a percentage.
pub(crate) fn percent(share: Option<f64>) -> String {
    match share {
        None => ABSENT.to_owned(),
        Some(share) if share > 0.0 && share < 0.01 => "<1%".to_owned(),
        Some(share) => format!("{:.0}%", share * 100.0),
    }
}

/// An estimated latency: `≈5.3 ms`, `≈34 ms`, `≈1.2 s`; `>80 s` if it is above all buckets.
pub(crate) fn latency(quantile: Option<Quantile>) -> String {
    let Some(Quantile { value, upper, .. }) = quantile else { return ABSENT.to_owned() };
    let mark = if upper.is_finite() { '≈' } else { '>' };
    match value * 1000.0 {
        milliseconds if milliseconds < 10.0 => format!("{mark}{milliseconds:.1} ms"),
        milliseconds if milliseconds < 1000.0 => format!("{mark}{milliseconds:.0} ms"),
        _ if value < 10.0 => format!("{mark}{value:.1} s"),
        _ => format!("{mark}{value:.0} s"),
    }
}

/// A duration in one unit, as kubectl shows ages: `12s`, `5m`, `3h`.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds < 120 => format!("{seconds}s"),
        seconds if seconds < 7200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3600),
    }
}

/// The requests of a deployment in one line.
pub(crate) fn requests(totals: &RequestTotals) -> String {
    format!(
        "{} in flight, {} queued; {} finished since the start, {} failed; {} of input cached",
        count(totals.in_flight),
        count(totals.queued),
        count(totals.finished),
        count(totals.failed),
        percent(totals.cached_share),
    )
}

/// The requests of a deployment as JSON.
pub(crate) fn requests_json(totals: &RequestTotals) -> Value {
    json!({
        "inFlight": whole(totals.in_flight), "queued": whole(totals.queued), "finished": whole(totals.finished),
        "failed": whole(totals.failed), "cachedShare": totals.cached_share,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_differ_from_zero() {
        assert_eq!((rate(None), count(None), percent(None), latency(None)), {
            let absent = || ABSENT.to_owned();
            (absent(), absent(), absent(), absent())
        });
        assert_eq!(
            (rate(Some(0.0)), count(Some(0.0)), percent(Some(0.0))),
            ("0".into(), "0".into(), "0%".into())
        );
    }

    #[test]
    fn requests_are_one_line() {
        let totals = RequestTotals {
            in_flight: Some(3.0),
            queued: Some(0.0),
            finished: Some(1204.0),
            failed: Some(2.0),
            cached_share: None,
        };
        assert_eq!(
            requests(&totals),
            "3 in flight, 0 queued; 1204 finished since the start, 2 failed; – of input cached"
        );
    }

    #[test]
    fn numbers_have_a_suitable_precision() {
        for (value, text) in
            [(0.25, "0.25"), (4.25, "4.2"), (117.4, "117"), (12_345.0, "12.3k"), (2_500_000.0, "2.5M")]
        {
            assert_eq!(rate(Some(value)), text);
        }
        for (share, text) in [(0.0003, "<1%"), (0.638, "64%"), (1.0, "100%")] {
            assert_eq!(percent(Some(share)), text);
        }
        for (value, upper, text) in [
            (0.0053, 1.0, "≈5.3 ms"),
            (0.0344, 1.0, "≈34 ms"),
            (1.23, 2.0, "≈1.2 s"),
            (34.4, 50.0, "≈34 s"),
            (80.0, f64::INFINITY, ">80 s"),
        ] {
            assert_eq!(latency(Some(Quantile { value, lower: 0.0, upper })), text);
        }
        for (seconds, text) in [(12, "12s"), (300, "5m"), (10_800, "3h")] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
    }
}
