//! The verdicts over answers and metrics of real frontends 1.6.1 with two mockers.

use super::*;
use crate::probe::{AnswerTokens, AnswerWorkers};

fn place() -> ProbePlace {
    ProbePlace::Cluster { name: "tiny".into(), namespace: "serving".into() }
}

fn answer(worker: &str, cached: u64, router_hit_rate: f64) -> ObservedAnswer {
    ObservedAnswer {
        tokens: Some(AnswerTokens { prompt: 464, completion: 1, cached: Some(cached) }),
        workers: Some(AnswerWorkers { prefill: None, decode: worker.into() }),
        router_hit_rate: Some(router_hit_rate),
        ..ObservedAnswer::default()
    }
}

/// The series of a router with events: batches that arrived, applied events, and workers that do not publish.
fn with_events(batches: u32, applied: u32, mismatched: u32) -> MetricSamples {
    MetricSamples::parse(&format!(
        "{APPLIED_EVENTS}{{event_type=\"stored\",status=\"ok\"}} {applied}\n\
         {MISMATCHED_WORKERS}{{model=\"tiny\",worker_type=\"decode\"}} {mismatched}\n\
         {EVENT_BATCHES}{{dynamo_component=\"backend\"}} {batches}\n"
    ))
}

/// The series of a router that predicts.
fn predicting(applied: u32) -> MetricSamples {
    MetricSamples::parse(&format!("{APPLIED_EVENTS}{{event_type=\"stored\",status=\"ok\"}} {applied}\n"))
}

/// A router with events that works.
fn recorded() -> KvRoutingEvidence {
    KvRoutingEvidence {
        first: Ok(answer("a", 0, 0.0)),
        repeated: Ok(answer("a", 448, 0.965)),
        different: Ok(answer("b", 16, 0.034)),
        pinned: None,
        before: with_events(3, 3, 0),
        after: with_events(5, 5, 0),
        workers: 2,
        events_requested: Some(true),
    }
}

fn problem_of(evidence: &KvRoutingEvidence) -> (MessageCode, String) {
    let result = judge_kv_routing(evidence, &place());
    let problem = result.problem().unwrap_or_else(|| panic!("{result:?} is not a problem"));
    (problem.code, format!("{} | {}", problem.text, problem.hint))
}

#[test]
fn applied_events_are_exact() {
    let CheckResult::Passed(text) = judge_kv_routing(&recorded(), &place()) else { panic!("it works") };
    assert_eq!(
        text,
        "exact, 2 batches of KV events arrived: worker a got the same prompt again, with 448 of 464 tokens in its \
         cache; 16 for another prompt"
    );
}

#[test]
fn prediction_fails_only_if_events_were_requested() {
    let mut evidence = KvRoutingEvidence { before: predicting(1), after: predicting(4), ..recorded() };
    let failed = judge_kv_routing(&evidence, &place());
    assert!(
        matches!(&failed, CheckResult::Failed(problem) if problem.code == MessageCode::KvRoutingApproximate)
    );
    for requested in [Some(false), None] {
        evidence.events_requested = requested;
        let result = judge_kv_routing(&evidence, &place());
        assert!(matches!(result, CheckResult::Warning(_)), "{result:?}");
        let (code, text) = problem_of(&evidence);
        assert_eq!(code, MessageCode::KvRoutingApproximate);
        assert!(text.contains("kubectl dynamo up tiny -n serving --router-kv-events=true"), "{text}");
    }
}

#[test]
fn routing_by_load_only_has_a_cause() {
    // The same worker by chance: the engine has the prompt in its cache, but the router does not know it.
    let by_chance = KvRoutingEvidence { repeated: Ok(answer("a", 448, 0.0)), ..recorded() };
    let caching = Some(answer("a", 448, 0.0));
    for (evidence, code, text) in [
        (
            KvRoutingEvidence {
                pinned: caching.clone(),
                before: with_events(0, 0, 0),
                after: with_events(0, 0, 0),
                ..by_chance.clone()
            },
            MessageCode::KvRoutingByLoadOnly,
            "none arrived at the router",
        ),
        (
            KvRoutingEvidence {
                pinned: caching.clone(),
                before: with_events(0, 0, 2),
                after: with_events(0, 0, 2),
                ..by_chance.clone()
            },
            MessageCode::KvRoutingByLoadOnly,
            "2 workers do not publish KV events",
        ),
        (
            KvRoutingEvidence {
                repeated: Ok(answer("b", 0, 0.0)),
                pinned: Some(answer("a", 0, 0.0)),
                before: with_events(0, 0, 2),
                after: with_events(0, 0, 2),
                ..recorded()
            },
            MessageCode::PrefixCachingOff,
            "prefix caching is off",
        ),
        // A router that predicts a cache that the engine does not have.
        (
            KvRoutingEvidence { repeated: Ok(answer("a", 0, 0.965)), after: predicting(9), ..recorded() },
            MessageCode::PrefixCachingOff,
            "prefix caching is off",
        ),
        // One of two workers publishes.
        (
            KvRoutingEvidence { after: with_events(5, 5, 1), ..recorded() },
            MessageCode::KvRoutingByLoadOnly,
            "1 worker does not publish KV events",
        ),
        (
            KvRoutingEvidence { repeated: Ok(answer("b", 0, 0.965)), ..recorded() },
            MessageCode::KvRoutingByLoadOnly,
            "chose another one",
        ),
        (
            KvRoutingEvidence { different: Ok(answer("b", 448, 0.965)), ..recorded() },
            MessageCode::KvRoutingByLoadOnly,
            "never sent",
        ),
        (
            KvRoutingEvidence { repeated: Err(AnswerFailure::Interrupted), ..recorded() },
            MessageCode::AnswerInterrupted,
            "the request with the same prompt failed",
        ),
    ] {
        let (found, message) = problem_of(&evidence);
        assert!(found == code && message.contains(text), "{found} {message}");
    }
}

#[test]
fn one_worker_is_a_warning() {
    let (code, text) = problem_of(&KvRoutingEvidence { workers: 1, ..recorded() });
    assert_eq!(code, MessageCode::SingleWorkerForKvRouter);
    assert!(text.starts_with("the router has only one worker to choose from; exact, 2 batches"), "{text}");
}

#[test]
fn disaggregated_answers_are_judged_by_the_router() {
    let disaggregated = |cached, rate| {
        let workers = AnswerWorkers { prefill: Some("p".into()), decode: "d".into() };
        Ok(ObservedAnswer { workers: Some(workers), ..answer("d", cached, rate) })
    };
    let evidence = KvRoutingEvidence {
        first: disaggregated(0, 0.0),
        repeated: disaggregated(0, 0.875),
        different: disaggregated(0, 0.0),
        ..recorded()
    };
    let CheckResult::Passed(text) = judge_kv_routing(&evidence, &place()) else { panic!("it works") };
    assert!(text.contains("worker p got the same prompt again, with 406 of 464"), "{text}");
}

#[test]
fn a_release_without_these_series_passes_by_its_answers() {
    let none = MetricSamples::default;
    let old = |worker, cached| Ok(ObservedAnswer { router_hit_rate: None, ..answer(worker, cached, 0.0) });
    let evidence = KvRoutingEvidence {
        first: old("a", 0),
        repeated: old("a", 448),
        different: old("b", 0),
        before: none(),
        after: none(),
        ..recorded()
    };
    assert!(matches!(judge_kv_routing(&evidence, &place()), CheckResult::Passed(_)));
    assert_eq!(block_size(&none()), None);
    assert_eq!(block_size(&MetricSamples::parse(&format!("{BLOCK_SIZE}{{model=\"m\"}} 16"))), Some(16));
}
