//! The probe of the registered workers: each must answer a request that is sent to it.

use super::{AnswerFailure, ObservedAnswer, ProbePlace, failed};
use crate::code::MessageCode;
use crate::finding::CheckResult;

/// The answer to a request that names its worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerAnswer {
    /// The worker in messages: its pod if known, and its ID.
    pub worker: String,
    /// The ID in hexadecimal.
    pub id: String,
    /// `worker`, `prefill`, or `decode`.
    pub role: &'static str,
    pub answer: Result<ObservedAnswer, AnswerFailure>,
}

/// Judges whether every registered worker answers. `expected` is the number of workers that the deployment should
/// have, if it is known.
pub fn judge_workers(answers: &[WorkerAnswer], expected: Option<usize>, place: &ProbePlace) -> CheckResult {
    if answers.is_empty() {
        return CheckResult::Skipped("this release does not list its workers".into());
    }
    for one in answers {
        let problem = match &one.answer {
            Err(failure) => format!("{failure}"),
            Ok(answer) if answer.is_from(&one.id) => continue,
            // The release ignores the request to use this worker.
            Ok(answer) if answer.workers.is_none() => {
                return CheckResult::Skipped("this release does not report which worker answers".into());
            }
            Ok(_) => "another worker answered".into(),
        };
        let text = format!(
            "{} of {} registered workers answer; {} {} does not: {problem}",
            answers.iter().filter(|one| one.is_answered()).count(),
            answers.len(),
            one.role,
            one.worker
        );
        return failed(MessageCode::WorkerDoesNotAnswer, text, place.logs_command(one.role));
    }
    match expected.filter(|expected| *expected > answers.len()) {
        Some(expected) => failed(
            MessageCode::WorkerDoesNotAnswer,
            format!("only {} of {expected} workers are registered, and each answers", answers.len()),
            place.diagnose_command(),
        ),
        None => CheckResult::Passed(match answers.len() {
            1 => "the registered worker answers a request".into(),
            several => format!("each of {several} registered workers answers a request"),
        }),
    }
}

impl WorkerAnswer {
    fn is_answered(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| answer.is_from(&self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::AnswerWorkers;

    fn answered_by(asked: &str, prefill: Option<&str>, decode: &str) -> WorkerAnswer {
        let workers = AnswerWorkers { prefill: prefill.map(Into::into), decode: decode.into() };
        WorkerAnswer {
            worker: format!("tiny-worker-{asked}"),
            id: asked.into(),
            role: "worker",
            answer: Ok(ObservedAnswer { workers: Some(workers), ..ObservedAnswer::default() }),
        }
    }

    #[test]
    fn every_registered_worker_must_answer() {
        let place = ProbePlace::Local { name: "tiny".into() };
        let judge = |answers: &[WorkerAnswer], expected| judge_workers(answers, expected, &place);
        let healthy = [answered_by("a", None, "a"), answered_by("b", Some("b"), "c")];
        assert_eq!(
            judge(&healthy, Some(2)),
            CheckResult::Passed("each of 2 registered workers answers a request".into())
        );
        let silent = WorkerAnswer {
            answer: Err(AnswerFailure::Rejected { status: 500, message: "no".into() }),
            ..answered_by("b", None, "b")
        };
        let failing = judge(&[healthy[0].clone(), silent], None);
        let problem = failing.problem().expect("a worker is silent");
        assert_eq!(problem.code, MessageCode::WorkerDoesNotAnswer);
        assert_eq!(
            problem.text,
            "1 of 2 registered workers answer; worker tiny-worker-b does not: HTTP 500, no"
        );
        let too_few = judge(&healthy, Some(3));
        assert_eq!(too_few.problem().map(|one| one.code), Some(MessageCode::WorkerDoesNotAnswer));
        let elsewhere = judge(&[answered_by("a", None, "b")], None);
        assert!(elsewhere.problem().is_some_and(|one| one.text.ends_with("another worker answered")));
        assert!(matches!(judge(&[], Some(1)), CheckResult::Skipped(_)));
        let silent_release =
            WorkerAnswer { answer: Ok(ObservedAnswer::default()), ..answered_by("a", None, "a") };
        assert!(matches!(judge(&[silent_release], None), CheckResult::Skipped(_)));
    }
}
