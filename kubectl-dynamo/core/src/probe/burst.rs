//! The probe of concurrent streams: twice as many as workers, and all must complete.

use super::{AnswerFailure, ObservedAnswer, ProbePlace, failed};
use crate::code::MessageCode;
use crate::finding::CheckResult;

/// The token limit of each stream.
pub const BURST_TOKENS: u64 = 16;

/// Judges whether all streams completed.
pub fn judge_burst(answers: &[Result<ObservedAnswer, AnswerFailure>], place: &ProbePlace) -> CheckResult {
    let mut workers: Vec<&str> = answers.iter().flatten().filter_map(|answer| answer.last_worker()).collect();
    workers.sort_unstable();
    workers.dedup();
    let on_workers = match workers.len() {
        0 => String::new(),
        1 => format!(" on worker {}", workers[0]),
        several => format!(" on {several} workers"),
    };
    let total = answers.len();
    let complete = answers.iter().flatten().count();
    let Some(failure) = answers.iter().find_map(|answer| answer.as_ref().err()) else {
        let tokens: u64 =
            answers.iter().flatten().filter_map(|answer| answer.tokens).map(|tokens| tokens.completion).sum();
        return CheckResult::Passed(format!(
            "{total} concurrent streams completed{on_workers}, {tokens} tokens in total"
        ));
    };
    let text = format!(
        "{} of {total} concurrent streams failed, the first with: {failure}; {complete} completed{on_workers}",
        total - complete
    );
    failed(MessageCode::ConcurrentStreamsFailed, text, place.diagnose_command())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{AnswerTokens, AnswerWorkers};

    #[test]
    fn every_stream_must_complete() {
        let place = ProbePlace::Local { name: "tiny".into() };
        let answer = |worker: &str| {
            Ok(ObservedAnswer {
                tokens: Some(AnswerTokens { prompt: 5, completion: 16, cached: None }),
                workers: Some(AnswerWorkers { prefill: Some("p".into()), decode: worker.into() }),
                ..ObservedAnswer::default()
            })
        };
        assert_eq!(
            judge_burst(&[answer("a"), answer("b"), answer("a"), answer("b")], &place),
            CheckResult::Passed("4 concurrent streams completed on 2 workers, 64 tokens in total".into())
        );
        let result = judge_burst(&[answer("a"), Err(AnswerFailure::Interrupted)], &place);
        let problem = result.problem().expect("a stream failed");
        assert_eq!(problem.code, MessageCode::ConcurrentStreamsFailed);
        assert_eq!(
            problem.text,
            "1 of 2 concurrent streams failed, the first with: the answer ended early; 1 completed on worker a"
        );
    }
}
