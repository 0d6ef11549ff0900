//! The Prometheus metrics that `top` reads, by release. `tests/metric-names` extracts the committed table from the
//! wheels. This module must not read values.

use std::sync::LazyLock;

use super::Release;

/// One row per metric, one letter per release: `x` exported, `-` unknown.
const TABLE: &str = include_str!("metric_names.txt");

/// A value that frontends or workers export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Finished requests, with the labels `status` and `error_type`.
    FrontendRequests,
    InFlightRequests,
    QueuedRequests,
    TimeToFirstToken,
    InterTokenLatency,
    InputTokens,
    /// Generated tokens, counted while an answer is generated.
    OutputTokens,
    /// Prompt tokens that were read from a KV cache.
    CachedTokens,
    /// Requests that a worker received, by endpoint.
    WorkerRequests,
    WorkerErrors,
    RunningRequests,
    WaitingRequests,
    /// The used share of the KV cache, from 0 to 1.
    KvCacheUse,
    Preemptions,
}

impl Metric {
    /// All metrics.
    pub const ALL: &'static [Self] = &[
        Self::FrontendRequests,
        Self::InFlightRequests,
        Self::QueuedRequests,
        Self::TimeToFirstToken,
        Self::InterTokenLatency,
        Self::InputTokens,
        Self::OutputTokens,
        Self::CachedTokens,
        Self::WorkerRequests,
        Self::WorkerErrors,
        Self::RunningRequests,
        Self::WaitingRequests,
        Self::KvCacheUse,
        Self::Preemptions,
    ];

    /// Its names, the newest first.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::FrontendRequests => &["dynamo_frontend_requests_total"],
            Self::InFlightRequests => &["dynamo_frontend_inflight_requests"],
            Self::QueuedRequests => &["dynamo_frontend_queued_requests"],
            Self::TimeToFirstToken => &["dynamo_frontend_time_to_first_token_seconds"],
            Self::InterTokenLatency => &["dynamo_frontend_inter_token_latency_seconds"],
            Self::InputTokens => &["dynamo_frontend_input_sequence_tokens"],
            Self::OutputTokens => &["dynamo_frontend_output_tokens_total"],
            Self::CachedTokens => &["dynamo_frontend_cached_tokens"],
            Self::WorkerRequests => &["dynamo_component_requests_total"],
            Self::WorkerErrors => &["dynamo_component_errors_total"],
            Self::RunningRequests => &["vllm:num_requests_running"],
            Self::WaitingRequests => &["vllm:num_requests_waiting"],
            Self::KvCacheUse => &["vllm:kv_cache_usage_perc"],
            Self::Preemptions => &["vllm:num_preemptions_total"],
        }
    }
}

struct MetricTable {
    releases: Vec<&'static str>,
    rows: Vec<(&'static str, &'static [u8])>,
}

static METRIC_TABLE: LazyLock<MetricTable> = LazyLock::new(|| {
    let releases = TABLE.lines().find_map(|line| line.strip_prefix("releases "));
    let rows = TABLE.lines().filter(|line| line.ends_with(['x', '-']) && !line.starts_with('#'));
    let rows = rows.filter_map(|line| line.split_once(' '));
    MetricTable {
        releases: releases.map(|list| list.split(' ').collect()).unwrap_or_default(),
        rows: rows.map(|(name, letters)| (name, letters.as_bytes())).collect(),
    }
});

impl Release {
    /// The name of a metric in this release; `None` if the release does not export it.
    pub fn metric_name(&self, metric: Metric) -> Option<&'static str> {
        let column = METRIC_TABLE.releases.iter().position(|release| *release == self.version)?;
        let is_exported = |name: &str| {
            METRIC_TABLE
                .rows
                .iter()
                .any(|(known, letters)| *known == name && letters.get(column) == Some(&b'x'))
        };
        metric.names().iter().copied().find(|name| is_exported(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::CATALOG;

    #[test]
    fn table_has_a_column_for_every_catalog_release_and_a_row_for_every_metric() {
        let versions: Vec<&str> = CATALOG.iter().map(|release| release.version).collect();
        assert_eq!(METRIC_TABLE.releases, versions);
        assert!(METRIC_TABLE.rows.iter().all(|(_, letters)| letters.len() == CATALOG.len()));
        let known = |name: &&str| METRIC_TABLE.rows.iter().any(|(row, _)| row == name);
        for metric in Metric::ALL {
            assert!(metric.names().iter().all(known), "{metric:?}");
        }
    }

    #[test]
    fn metrics_have_the_names_of_their_release() {
        for release in CATALOG {
            let name = release.metric_name(Metric::TimeToFirstToken);
            assert_eq!(name, Some("dynamo_frontend_time_to_first_token_seconds"), "{}", release.version);
        }
    }
}
