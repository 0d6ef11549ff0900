//! Reports over scrapes that a real frontend 1.6.1 and its mockers answered, disaggregated, with six answered requests, two
//! rejected ones, and one that is being answered.

use std::time::Duration;

use super::*;
use crate::intent::WorkerRole;
use crate::release::{DEFAULT_RELEASE, Release};

const FRONTEND_BEFORE: &str = include_str!("recorded/frontend-before.txt");
const FRONTEND_AFTER: &str = include_str!("recorded/frontend-after.txt");
const DECODE_BEFORE: &str = include_str!("recorded/decode-before.txt");
const DECODE_AFTER: &str = include_str!("recorded/decode-after.txt");
const PREFILL_AFTER: &str = include_str!("recorded/prefill-after.txt");

fn release() -> &'static Release {
    Release::find(DEFAULT_RELEASE).expect("a known release")
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn frontend(name: &str, at: u64, text: Option<&str>) -> ScrapedProcess<String, FrontendMetrics> {
    let metrics = text.map(|text| FrontendMetrics::read(text, release()));
    ScrapedProcess { identity: name.into(), at: seconds(at), metrics }
}

fn worker(role: WorkerRole, at: u64, text: Option<&str>) -> ScrapedProcess<WorkerIdentity, WorkerMetrics> {
    let identity = WorkerIdentity { name: role.component_name().into(), role, node: None, gpus: 2 };
    let metrics = text.map(|text| WorkerMetrics::read(text, release()));
    ScrapedProcess { identity, at: seconds(at), metrics }
}

fn tracker(scrapes: impl IntoIterator<Item = DeploymentScrape>) -> TopTracker {
    let mut tracker = TopTracker::new(seconds(10));
    scrapes.into_iter().for_each(|scrape| tracker.observe(scrape));
    tracker
}

fn of_frontends(frontends: Vec<ScrapedProcess<String, FrontendMetrics>>) -> DeploymentScrape {
    DeploymentScrape { frontends, workers: Vec::new() }
}

fn of_workers(workers: Vec<ScrapedProcess<WorkerIdentity, WorkerMetrics>>) -> DeploymentScrape {
    DeploymentScrape { frontends: Vec::new(), workers }
}

#[test]
fn rates_and_quantiles_come_from_the_difference_of_two_scrapes() {
    let scrapes = [(1, FRONTEND_BEFORE), (3, FRONTEND_AFTER)];
    let report =
        tracker(scrapes.map(|(at, text)| of_frontends(vec![frontend("f", at, Some(text))]))).report();
    let load = report.load;
    assert_eq!((report.period, load.in_flight, load.queued), (seconds(2), Some(1.0), Some(0.0)));
    let requests = load.requests.expect("requests");
    assert_eq!((requests.success, requests.failed(), requests.total()), (3.0, 1.0, 4.0));
    let errors: Vec<_> = requests.errors.iter().map(|(outcome, rate)| (outcome.as_str(), *rate)).collect();
    assert_eq!(errors, [("not_found", 0.5), ("validation", 0.5)]);
    assert_eq!((load.input_tokens, load.output_tokens), (Some(276.0), Some(39.5)));
    assert_eq!(load.cached_share, Some(352.0 / 552.0));
    let bucket = |quantile: crate::prometheus::Quantile| (quantile.lower, quantile.upper);
    let first = load.time_to_first_token.expect("answers");
    assert_eq!((bucket(first.p50), bucket(first.p99)), ((0.022, 0.047), (0.022, 0.047)));
    assert_eq!((load.latest_requests, load.latest_output_tokens), (Some(4.0), Some(39.5)));
    let inter = load.inter_token_latency.expect("answers");
    assert_eq!((bucket(inter.p50), bucket(inter.p99)), ((0.0033, 0.0059), (0.011, 0.02)));
}

#[test]
fn one_scrape_has_gauges_and_no_rates() {
    let load = tracker([of_frontends(vec![frontend("f", 1, Some(FRONTEND_AFTER))])]).report().load;
    assert_eq!((load.in_flight, load.requests, load.time_to_first_token), (Some(1.0), None, None));
    assert_eq!((load.input_tokens, load.cached_share, load.kv_cache_use), (None, None, None));
}

#[test]
fn absent_series_are_not_zero() {
    let scrapes = [1, 3].map(|at| of_frontends(vec![frontend("f", at, Some(FRONTEND_BEFORE))]));
    let load = tracker(scrapes).report().load;
    assert_eq!((load.requests, load.in_flight, load.output_tokens), (None, None, None));
    let scrapes = [1, 3].map(|at| of_workers(vec![worker(WorkerRole::Prefill, at, Some(PREFILL_AFTER))]));
    let prefill = &tracker(scrapes).report().workers[0];
    assert_eq!((prefill.requests, prefill.running, prefill.kv_cache_use), (Some(0.0), None, None));
}

#[test]
fn workers_have_their_own_rates_and_idle_time() {
    let decode = |at, text| worker(WorkerRole::Decode, at, Some(text));
    let prefill = |at| worker(WorkerRole::Prefill, at, Some(PREFILL_AFTER));
    let report = tracker([
        of_workers(vec![decode(1, DECODE_BEFORE), prefill(1)]),
        of_workers(vec![decode(3, DECODE_AFTER), prefill(3)]),
    ])
    .report();
    let (decode, prefill) = (&report.workers[0], &report.workers[1]);
    assert_eq!((decode.requests, decode.running, decode.waiting), (Some(3.5), Some(1.0), Some(0.0)));
    assert_eq!((decode.preemptions, decode.kv_cache_use), (Some(0.0), Some(0.000_305_175_781_25)));
    assert_eq!((decode.idle, decode.was_active), (Some(Duration::ZERO), true));
    assert_eq!((prefill.idle, prefill.was_active), (Some(seconds(2)), false));
    let gpus = report.load.gpus;
    assert_eq!((gpus.allocated, gpus.idle), (4, Some(2)), "the prefill worker did not receive a request");
}

#[test]
fn restarted_process_counts_from_zero() {
    let scrapes = [(1, FRONTEND_AFTER), (3, FRONTEND_BEFORE), (5, FRONTEND_AFTER)];
    let load =
        tracker(scrapes.map(|(at, text)| of_frontends(vec![frontend("f", at, Some(text))]))).report().load;
    assert_eq!(load.requests.map(|requests| requests.success), Some(6.0 / 4.0));
    let lower = FRONTEND_AFTER.replace("status=\"success\"} 4", "status=\"success\"} 1");
    let scrapes = [(1, FRONTEND_AFTER), (2, lower.as_str())];
    let load =
        tracker(scrapes.map(|(at, text)| of_frontends(vec![frontend("f", at, Some(text))]))).report().load;
    assert_eq!(load.requests.map(|requests| requests.success), Some(3.0));
}

#[test]
fn frontends_add_up_and_a_silent_one_is_counted() {
    let scrape =
        |at, text, second| of_frontends(vec![frontend("a", at, Some(text)), frontend("b", at, second)]);
    let both = tracker([
        scrape(1, FRONTEND_BEFORE, Some(FRONTEND_BEFORE)),
        scrape(3, FRONTEND_AFTER, Some(FRONTEND_AFTER)),
    ]);
    let load = both.report().load;
    assert_eq!(load.requests.map(|requests| requests.success), Some(6.0));
    assert_eq!((load.frontends.total, load.frontends.answering, load.in_flight), (2, 2, Some(2.0)));
    let silent =
        tracker([scrape(1, FRONTEND_BEFORE, Some(FRONTEND_BEFORE)), scrape(3, FRONTEND_AFTER, None)]);
    let load = silent.report().load;
    assert_eq!(load.requests.map(|requests| requests.success), Some(3.0));
    assert_eq!((load.frontends.total, load.frontends.answering, load.in_flight), (2, 1, Some(1.0)));
}

#[test]
fn gap_without_an_answer_is_part_of_the_period() {
    let scrapes = [(1, Some(FRONTEND_BEFORE)), (3, None), (5, Some(FRONTEND_AFTER))];
    let load = tracker(scrapes.map(|(at, text)| of_frontends(vec![frontend("f", at, text)]))).report().load;
    assert_eq!(load.requests.map(|requests| requests.success), Some(1.5));
}

#[test]
fn rates_cover_the_last_seconds_only() {
    let scrapes = [(0, FRONTEND_BEFORE), (2, FRONTEND_AFTER), (6, FRONTEND_AFTER), (12, FRONTEND_AFTER)];
    let report =
        tracker(scrapes.map(|(at, text)| of_frontends(vec![frontend("f", at, Some(text))]))).report();
    assert_eq!(report.period, seconds(10));
    assert_eq!(report.load.requests.map(|requests| requests.success), Some(0.0));
    assert_eq!((report.load.latest_requests, report.load.latest_output_tokens), (Some(0.0), Some(0.0)));
    assert_eq!(report.load.time_to_first_token, None, "no request got its first token");
}

#[test]
fn new_and_removed_processes_do_not_change_the_rates_of_others() {
    let report = tracker([
        of_frontends(vec![frontend("old", 1, Some(FRONTEND_AFTER)), frontend("f", 1, Some(FRONTEND_BEFORE))]),
        of_frontends(vec![frontend("f", 3, Some(FRONTEND_AFTER)), frontend("new", 3, Some(FRONTEND_AFTER))]),
    ])
    .report();
    assert_eq!(report.load.requests.map(|requests| requests.success), Some(3.0));
    assert_eq!(report.load.frontends.total, 2);
}

#[test]
fn idle_gpus_are_not_known_while_a_worker_does_not_answer() {
    let scrapes = [1, 3].map(|at| of_workers(vec![worker(WorkerRole::Decode, at, None)]));
    let report = tracker(scrapes).report();
    assert_eq!((report.load.gpus.allocated, report.load.gpus.idle), (2, None));
    assert_eq!((report.workers[0].is_answering, report.workers[0].idle), (false, None));
}

/// The recorded frontend has answered six requests, rejected two, and answers one.
#[test]
fn totals_add_up_the_frontends() {
    let frontend = FrontendMetrics::read(FRONTEND_AFTER, release());
    let one = RequestTotals::from_frontends(std::slice::from_ref(&frontend));
    assert_eq!(
        (one.finished, one.failed, one.in_flight, one.queued),
        (Some(8.0), Some(2.0), Some(1.0), Some(0.0))
    );
    let share = one.cached_share.expect("a share");
    let two = RequestTotals::from_frontends(&[frontend.clone(), frontend]);
    assert_eq!((two.finished, two.failed, two.in_flight), (Some(16.0), Some(4.0), Some(2.0)));
    assert!((0.0..=1.0).contains(&share) && two.cached_share == Some(share), "{share}");
    assert_eq!(RequestTotals::from_frontends(&[]), RequestTotals::default());
}
