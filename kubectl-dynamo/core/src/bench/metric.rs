//! The metrics that tables, comparisons, and limits name, and where their values come from.

use crate::nearest_name::nearest_name;

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    Higher,
    Lower,
    /// Neither: it explains other values.
    Neither,
}

/// A metric with one value for each level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadlineMetric {
    /// The name in documents and in `--fail-if`.
    pub name: &'static str,
    /// AIPerf's metric and its statistic.
    pub source: (&'static str, &'static str),
    pub unit: &'static str,
    pub better: Better,
}

const fn metric(
    name: &'static str,
    source: (&'static str, &'static str),
    unit: &'static str,
    better: Better,
) -> HeadlineMetric {
    HeadlineMetric { name, source, unit, better }
}

/// All of them, in the order of the tables.
pub const HEADLINE_METRICS: &[HeadlineMetric] = &[
    metric("requests_per_second", ("request_throughput", "avg"), "req/s", Better::Higher),
    metric("output_tokens_per_second", ("output_token_throughput", "avg"), "tok/s", Better::Higher),
    metric(
        "output_tokens_per_second_per_user",
        ("output_token_throughput_per_user", "avg"),
        "tok/s",
        Better::Higher,
    ),
    metric("ttft_avg", ("time_to_first_token", "avg"), "ms", Better::Lower),
    metric("ttft_p50", ("time_to_first_token", "p50"), "ms", Better::Lower),
    metric("ttft_p95", ("time_to_first_token", "p95"), "ms", Better::Lower),
    metric("ttft_p99", ("time_to_first_token", "p99"), "ms", Better::Lower),
    metric("itl_avg", ("inter_token_latency", "avg"), "ms", Better::Lower),
    metric("itl_p50", ("inter_token_latency", "p50"), "ms", Better::Lower),
    metric("itl_p95", ("inter_token_latency", "p95"), "ms", Better::Lower),
    metric("itl_p99", ("inter_token_latency", "p99"), "ms", Better::Lower),
    metric("latency_avg", ("request_latency", "avg"), "ms", Better::Lower),
    metric("latency_p50", ("request_latency", "p50"), "ms", Better::Lower),
    metric("latency_p95", ("request_latency", "p95"), "ms", Better::Lower),
    metric("latency_p99", ("request_latency", "p99"), "ms", Better::Lower),
    metric("goodput", ("goodput", "avg"), "req/s", Better::Higher),
    metric("cached_percent", ("overall_usage_prompt_cache_read_pct", "avg"), "%", Better::Neither),
    metric("effective_concurrency", ("effective_concurrency", "avg"), "requests", Better::Neither),
];

impl HeadlineMetric {
    /// Finds a metric by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        HEADLINE_METRICS.iter().find(|metric| metric.name == name)
    }

    /// The name that is most like the given one.
    pub fn nearest(name: &str) -> Option<&'static str> {
        nearest_name(name, HEADLINE_METRICS.iter().map(|metric| metric.name))
    }
}
