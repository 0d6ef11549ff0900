//! What one scrape of a frontend or a worker contains, of the metrics that `top` shows.

use std::collections::BTreeMap;

use crate::prometheus::{Histogram, MetricSamples};
use crate::release::{Metric, Release};

/// The outcome of a request that succeeded. Other outcomes are Dynamo's error types.
pub(super) const SUCCESS: &str = "success";
/// The outcome of a failed request if the release does not name an error type.
const ERROR: &str = "error";
/// The endpoint at which workers receive requests; they have others for the router.
const GENERATE: &[(&str, &str)] = &[("dynamo_endpoint", "generate")];

/// Values that only grow while a process runs.
pub(super) trait Counters: Clone {
    /// What was added since `before`. Values below those before were counted by a new process.
    fn since(&self, before: &Self) -> Self;

    /// Adds what another period or process counted.
    fn add(&mut self, other: &Self);
}

/// The metrics of a frontend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FrontendMetrics {
    pub(super) counters: FrontendCounters,
    pub(super) in_flight: Option<f64>,
    pub(super) queued: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct FrontendCounters {
    /// Finished requests by outcome.
    pub(super) requests: BTreeMap<String, f64>,
    pub(super) time_to_first_token: Option<Histogram>,
    pub(super) inter_token_latency: Option<Histogram>,
    pub(super) input_tokens: Option<f64>,
    pub(super) output_tokens: Option<f64>,
    pub(super) cached_tokens: Option<f64>,
}

/// The metrics of a worker.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkerMetrics {
    pub(super) counters: WorkerCounters,
    pub(super) running: Option<f64>,
    pub(super) waiting: Option<f64>,
    pub(super) kv_cache_use: Option<f64>,
    /// Preemptions since the worker started.
    pub(super) preemptions: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct WorkerCounters {
    pub(super) requests: Option<f64>,
    pub(super) errors: Option<f64>,
}

impl FrontendMetrics {
    /// Reads the body of a frontend's `/metrics` response.
    pub fn read(text: &str, release: &Release) -> Self {
        let scrape = NamedSamples::read(
            text,
            release,
            &[
                Metric::FrontendRequests,
                Metric::InFlightRequests,
                Metric::QueuedRequests,
                Metric::TimeToFirstToken,
                Metric::InterTokenLatency,
                Metric::InputTokens,
                Metric::OutputTokens,
                Metric::CachedTokens,
            ],
        );
        Self {
            counters: FrontendCounters {
                requests: scrape.requests_by_outcome(),
                time_to_first_token: scrape.histogram(Metric::TimeToFirstToken),
                inter_token_latency: scrape.histogram(Metric::InterTokenLatency),
                input_tokens: scrape.histogram_sum(Metric::InputTokens),
                output_tokens: scrape.sum(Metric::OutputTokens),
                cached_tokens: scrape.histogram_sum(Metric::CachedTokens),
            },
            in_flight: scrape.sum(Metric::InFlightRequests),
            queued: scrape.sum(Metric::QueuedRequests),
        }
    }
}

impl WorkerMetrics {
    /// Reads the body of a worker's `/metrics` response.
    pub fn read(text: &str, release: &Release) -> Self {
        let scrape = NamedSamples::read(
            text,
            release,
            &[
                Metric::WorkerRequests,
                Metric::WorkerErrors,
                Metric::RunningRequests,
                Metric::WaitingRequests,
                Metric::KvCacheUse,
                Metric::Preemptions,
            ],
        );
        Self {
            counters: WorkerCounters {
                requests: scrape.sum_with(Metric::WorkerRequests, GENERATE),
                errors: scrape.sum_with(Metric::WorkerErrors, GENERATE),
            },
            running: scrape.sum(Metric::RunningRequests),
            waiting: scrape.sum(Metric::WaitingRequests),
            kv_cache_use: scrape.mean(Metric::KvCacheUse),
            preemptions: scrape.sum(Metric::Preemptions),
        }
    }
}

/// The samples of a scrape by metric.
struct NamedSamples<'a> {
    samples: MetricSamples,
    release: &'a Release,
}

impl<'a> NamedSamples<'a> {
    fn read(text: &str, release: &'a Release, metrics: &[Metric]) -> Self {
        let names: Vec<&str> = metrics.iter().filter_map(|metric| release.metric_name(*metric)).collect();
        Self { samples: MetricSamples::parse_only(text, &names), release }
    }

    fn sum(&self, metric: Metric) -> Option<f64> {
        self.sum_with(metric, &[])
    }

    fn sum_with(&self, metric: Metric, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples.sum(self.release.metric_name(metric)?, labels)
    }

    /// The mean over the engines of a worker, which has one for each data-parallel rank.
    fn mean(&self, metric: Metric) -> Option<f64> {
        let name = self.release.metric_name(metric)?;
        Some(self.samples.sum(name, &[])? / self.samples.series(name).count() as f64)
    }

    fn histogram(&self, metric: Metric) -> Option<Histogram> {
        self.samples.histogram(self.release.metric_name(metric)?)
    }

    fn histogram_sum(&self, metric: Metric) -> Option<f64> {
        self.samples.sum(&format!("{}_sum", self.release.metric_name(metric)?), &[])
    }

    fn requests_by_outcome(&self) -> BTreeMap<String, f64> {
        let mut requests = BTreeMap::new();
        let name = self.release.metric_name(Metric::FrontendRequests).unwrap_or_default();
        for series in self.samples.series(name) {
            let outcome = match series.label("status") {
                Some(SUCCESS) => SUCCESS,
                _ => series.label("error_type").filter(|text| !text.is_empty()).unwrap_or(ERROR),
            };
            *requests.entry(outcome.to_owned()).or_default() += series.value;
        }
        requests
    }
}

impl Counters for FrontendCounters {
    fn since(&self, before: &Self) -> Self {
        let requests = self.requests.iter().map(|(outcome, count)| {
            let before = before.requests.get(outcome).copied();
            (outcome.clone(), added_count(*count, before))
        });
        Self {
            requests: requests.collect(),
            time_to_first_token: added_histogram(&self.time_to_first_token, &before.time_to_first_token),
            inter_token_latency: added_histogram(&self.inter_token_latency, &before.inter_token_latency),
            input_tokens: added(self.input_tokens, before.input_tokens),
            output_tokens: added(self.output_tokens, before.output_tokens),
            cached_tokens: added(self.cached_tokens, before.cached_tokens),
        }
    }

    fn add(&mut self, other: &Self) {
        for (outcome, count) in &other.requests {
            *self.requests.entry(outcome.clone()).or_default() += count;
        }
        add_histogram(&mut self.time_to_first_token, &other.time_to_first_token);
        add_histogram(&mut self.inter_token_latency, &other.inter_token_latency);
        self.input_tokens = sum(self.input_tokens, other.input_tokens);
        self.output_tokens = sum(self.output_tokens, other.output_tokens);
        self.cached_tokens = sum(self.cached_tokens, other.cached_tokens);
    }
}

impl Counters for WorkerCounters {
    fn since(&self, before: &Self) -> Self {
        Self { requests: added(self.requests, before.requests), errors: added(self.errors, before.errors) }
    }

    fn add(&mut self, other: &Self) {
        self.requests = sum(self.requests, other.requests);
        self.errors = sum(self.errors, other.errors);
    }
}

/// What was counted between two scrapes of a process. A series that did not exist before began at 0.
fn added(now: Option<f64>, before: Option<f64>) -> Option<f64> {
    now.map(|now| added_count(now, before))
}

fn added_count(now: f64, before: Option<f64>) -> f64 {
    match before {
        Some(before) if before <= now => now - before,
        _ => now,
    }
}

fn added_histogram(now: &Option<Histogram>, before: &Option<Histogram>) -> Option<Histogram> {
    let now = now.as_ref()?;
    Some(before.as_ref().map_or_else(|| now.clone(), |before| now.since(before)))
}

fn add_histogram(total: &mut Option<Histogram>, other: &Option<Histogram>) {
    if let Some(other) = other {
        total.get_or_insert_default().add(other);
    }
}

/// The sum of the values that exist; `None` if none exists.
pub(super) fn sum(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    one.into_iter().chain(other).reduce(|sum, value| sum + value)
}
