//! Compares the scrapes of a deployment's processes and derives rates over the last seconds.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::load::{
    DeploymentLoad, GpuUse, LatencyQuantiles, ProcessCount, RequestRates, TopReport, WorkerLoad,
};
use super::sample::{
    Counters, FrontendCounters, FrontendMetrics, SUCCESS, WorkerCounters, WorkerMetrics, sum,
};
use crate::intent::WorkerRole;
use crate::prometheus::Histogram;

/// One process and what its scrape contains.
#[derive(Debug, Clone, PartialEq)]
pub struct ScrapedProcess<I, M> {
    /// What identifies the process.
    pub identity: I,
    /// When it answered, since any fixed moment.
    pub at: Duration,
    /// `None` if it did not answer.
    pub metrics: Option<M>,
}

/// A worker, as the cluster or this machine describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerIdentity {
    /// Name of the pod or the process.
    pub name: String,
    pub role: WorkerRole,
    /// Name of the node in a cluster.
    pub node: Option<String>,
    pub gpus: u64,
}

/// One scrape of all processes of a deployment. Frontends are identified by their name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeploymentScrape {
    pub frontends: Vec<ScrapedProcess<String, FrontendMetrics>>,
    pub workers: Vec<ScrapedProcess<WorkerIdentity, WorkerMetrics>>,
}

/// What a process counted in the last periods.
#[derive(Debug, Clone)]
struct CounterWindow<C> {
    last: (Duration, C),
    /// The length of each period and what was counted in it, oldest first.
    periods: VecDeque<(Duration, C)>,
}

impl<C: Counters> CounterWindow<C> {
    fn push(&mut self, at: Duration, counters: &C, longest: Duration) {
        let period = at.saturating_sub(self.last.0);
        if period.is_zero() {
            return;
        }
        self.periods.push_back((period, counters.since(&self.last.1)));
        self.last = (at, counters.clone());
        while self.periods.len() > 1 && self.length() > longest {
            self.periods.pop_front();
        }
    }

    fn length(&self) -> Duration {
        self.periods.iter().map(|(period, _)| *period).sum()
    }

    /// What was counted in all periods; `None` before the second scrape.
    fn total(&self) -> Option<C> {
        let mut periods = self.periods.iter().map(|(_, counters)| counters);
        let mut total = periods.next()?.clone();
        periods.for_each(|counters| total.add(counters));
        Some(total)
    }

    fn per_second(&self, count: f64) -> f64 {
        count / self.length().as_secs_f64()
    }
}

/// Follows one deployment from scrape to scrape.
#[derive(Debug)]
pub struct TopTracker {
    window: Duration,
    started: Option<Duration>,
    frontends: BTreeMap<String, CounterWindow<FrontendCounters>>,
    workers: BTreeMap<String, CounterWindow<WorkerCounters>>,
    last_activity: BTreeMap<String, Duration>,
    last: DeploymentScrape,
}

impl TopTracker {
    /// Creates a tracker whose rates cover at most `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            started: None,
            frontends: BTreeMap::new(),
            workers: BTreeMap::new(),
            last_activity: BTreeMap::new(),
            last: DeploymentScrape::default(),
        }
    }

    /// Adds a scrape. Processes that it does not contain are forgotten.
    pub fn observe(&mut self, scrape: DeploymentScrape) {
        let started =
            scrape.frontends.iter().map(|one| one.at).chain(scrape.workers.iter().map(|one| one.at)).min();
        self.started = self.started.or(started);
        let frontends = scrape.frontends.iter().map(|one| {
            (one.identity.as_str(), one.at, one.metrics.as_ref().map(|metrics| &metrics.counters))
        });
        advance(&mut self.frontends, frontends, self.window);
        let workers = scrape.workers.iter().map(|one| {
            (one.identity.name.as_str(), one.at, one.metrics.as_ref().map(|metrics| &metrics.counters))
        });
        advance(&mut self.workers, workers, self.window);
        for worker in &scrape.workers {
            let name = &worker.identity.name;
            let counted = self.workers.get(name).and_then(|window| window.periods.back());
            let has_received = counted.is_some_and(|(_, counters)| counters.requests > Some(0.0));
            let is_running = worker.metrics.as_ref().is_some_and(|metrics| metrics.running > Some(0.0));
            if worker.metrics.is_some() && (has_received || is_running) {
                self.last_activity.insert(name.clone(), worker.at);
            }
        }
        self.last = scrape;
    }

    /// The numbers of the last scrapes.
    pub fn report(&self) -> TopReport {
        let workers: Vec<WorkerLoad> =
            self.last.workers.iter().map(|worker| self.worker_load(worker)).collect();
        let windows = self.frontends.values().map(CounterWindow::length);
        let windows = windows.chain(self.workers.values().map(CounterWindow::length));
        TopReport { period: windows.max().unwrap_or_default(), load: self.deployment_load(&workers), workers }
    }

    fn worker_load(&self, worker: &ScrapedProcess<WorkerIdentity, WorkerMetrics>) -> WorkerLoad {
        let WorkerIdentity { name, role, node, gpus } = worker.identity.clone();
        let window = self.workers.get(&name);
        let total = window.and_then(CounterWindow::total).unwrap_or_default();
        let rate = |count: Option<f64>| Some(window?.per_second(count?));
        let metrics = worker.metrics.as_ref();
        let last_activity = self.last_activity.get(&name).copied();
        let idle_since = last_activity.or(self.started);
        WorkerLoad {
            role,
            node,
            gpus,
            is_answering: metrics.is_some(),
            requests: rate(total.requests),
            errors: rate(total.errors),
            running: metrics.and_then(|metrics| metrics.running),
            waiting: metrics.and_then(|metrics| metrics.waiting),
            kv_cache_use: metrics.and_then(|metrics| metrics.kv_cache_use),
            preemptions: metrics.and_then(|metrics| metrics.preemptions),
            idle: metrics.and_then(|_| Some(worker.at.saturating_sub(idle_since?))),
            was_active: last_activity.is_some(),
            name,
        }
    }

    fn deployment_load(&self, workers: &[WorkerLoad]) -> DeploymentLoad {
        let mut load = DeploymentLoad {
            frontends: ProcessCount {
                total: self.last.frontends.len(),
                answering: self.last.frontends.iter().filter(|one| one.metrics.is_some()).count(),
            },
            workers: ProcessCount {
                total: workers.len(),
                answering: workers.iter().filter(|one| one.is_answering).count(),
            },
            kv_cache_use: mean(workers.iter().filter_map(|worker| worker.kv_cache_use)),
            gpus: gpu_use(workers),
            ..DeploymentLoad::default()
        };
        for metrics in self.last.frontends.iter().filter_map(|one| one.metrics.as_ref()) {
            load.in_flight = sum(load.in_flight, metrics.in_flight);
            load.queued = sum(load.queued, metrics.queued);
        }
        let mut all = FrontendCounters::default();
        for window in self.frontends.values() {
            let Some(total) = window.total() else { continue };
            let rate = |count: Option<f64>| count.map(|count| window.per_second(count));
            for (outcome, count) in &total.requests {
                add_requests(load.requests.get_or_insert_default(), outcome, window.per_second(*count));
            }
            load.input_tokens = sum(load.input_tokens, rate(total.input_tokens));
            load.output_tokens = sum(load.output_tokens, rate(total.output_tokens));
            all.add(&total);
            let Some((period, latest)) = window.periods.back() else { continue };
            let rate = |count: f64| count / period.as_secs_f64();
            let requests = latest.requests.values().copied().reduce(|sum, count| sum + count);
            load.latest_requests = sum(load.latest_requests, requests.map(rate));
            load.latest_output_tokens = sum(load.latest_output_tokens, latest.output_tokens.map(rate));
        }
        load.time_to_first_token = all.time_to_first_token.as_ref().and_then(quantiles);
        load.inter_token_latency = all.inter_token_latency.as_ref().and_then(quantiles);
        load.cached_share = share(all.cached_tokens, all.input_tokens);
        load
    }
}

/// Adds the counters of each process, and removes processes that do not exist any more.
fn advance<'a, C: Counters + 'a>(
    windows: &mut BTreeMap<String, CounterWindow<C>>,
    scraped: impl Iterator<Item = (&'a str, Duration, Option<&'a C>)>,
    longest: Duration,
) {
    let mut previous = std::mem::take(windows);
    for (name, at, counters) in scraped {
        let window = match (previous.remove(name), counters) {
            (Some(mut window), Some(counters)) => {
                window.push(at, counters, longest);
                window
            }
            (None, Some(counters)) => {
                CounterWindow { last: (at, counters.clone()), periods: VecDeque::new() }
            }
            // Its rates are not known until it answers again, and then they cover the gap.
            (Some(window), None) => CounterWindow { periods: VecDeque::new(), ..window },
            (None, None) => continue,
        };
        windows.insert(name.to_owned(), window);
    }
}

fn add_requests(rates: &mut RequestRates, outcome: &str, rate: f64) {
    match outcome {
        SUCCESS => rates.success += rate,
        _ => *rates.errors.entry(outcome.to_owned()).or_default() += rate,
    }
}

fn quantiles(histogram: &Histogram) -> Option<LatencyQuantiles> {
    Some(LatencyQuantiles { p50: histogram.quantile(0.5)?, p99: histogram.quantile(0.99)? })
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    (count > 0.0).then_some(sum / count)
}

/// A part of a whole; `None` if there is no whole.
pub(super) fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let (part, whole) = (part?, whole.filter(|whole| *whole > 0.0)?);
    Some((part / whole).clamp(0.0, 1.0))
}

fn gpu_use(workers: &[WorkerLoad]) -> GpuUse {
    let idle = |worker: &WorkerLoad| match worker.was_active {
        true => Some(0),
        false => worker.idle.map(|_| worker.gpus),
    };
    GpuUse { allocated: workers.iter().map(|worker| worker.gpus).sum(), idle: workers.iter().map(idle).sum() }
}
