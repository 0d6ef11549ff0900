//! The probes of the OpenAI endpoint: the listed models, and the shape of answers.

use super::{AnswerFailure, ObservedAnswer, Probe, ProbePlace, failed};
use crate::code::MessageCode;
use crate::finding::CheckResult;

/// The token limit of the requests whose shape is compared.
pub const MAX_TOKENS: u64 = 8;

/// Stop sequences of the request that tests them. Text in any language and the mocker's text contain one early.
pub const STOP_SEQUENCES: &[&str] = &[" ", "e", "a"];

/// The models that one frontend lists, or why it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontendModels {
    /// The pod, the process, or the URL.
    pub frontend: String,
    pub models: Result<Vec<String>, AnswerFailure>,
}

/// Judges whether every frontend lists the same models.
pub fn judge_models(frontends: &[FrontendModels], place: &ProbePlace) -> CheckResult {
    let mut lists = Vec::new();
    for one in frontends {
        match &one.models {
            Err(failure) => return failure.result(&format!("listing the models of {}", one.frontend), place),
            Ok(models) if models.is_empty() => {
                let text = format!("{} does not list a model", one.frontend);
                return failed(MessageCode::ModelNotListed, text, place.diagnose_command());
            }
            Ok(models) => {
                let mut models = models.clone();
                models.sort_unstable();
                lists.push((one.frontend.as_str(), models.join(", ")));
            }
        }
    }
    let Some((first, expected)) = lists.first() else {
        return failed(MessageCode::ModelNotListed, "there is no ready frontend", place.diagnose_command());
    };
    if let Some((other, models)) = lists.iter().find(|(_, models)| models != expected) {
        let text = format!("{first} lists {expected}, but {other} lists {models}");
        return failed(MessageCode::FrontendsDiffer, text, place.logs_command("frontend"));
    }
    let count = match lists.len() {
        1 => "1 frontend lists".to_owned(),
        several => format!("{several} frontends list"),
    };
    CheckResult::Passed(format!("{count} {expected}"))
}

/// The answers to the requests of one API whose shape is compared. All have the same prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct ShapeAnswers {
    /// One object, limited to [`MAX_TOKENS`].
    pub unary: Result<ObservedAnswer, AnswerFailure>,
    /// A stream with usage, limited to [`MAX_TOKENS`].
    pub streamed: Result<ObservedAnswer, AnswerFailure>,
    /// One object, with [`STOP_SEQUENCES`].
    pub stopped: Result<ObservedAnswer, AnswerFailure>,
    /// A request whose prompt has the wrong type.
    pub invalid: Result<ObservedAnswer, AnswerFailure>,
}

/// Judges whether unary and streamed answers agree in shape, and an invalid request is rejected with a message.
pub fn judge_shape(probe: Probe, answers: &ShapeAnswers, place: &ProbePlace) -> CheckResult {
    shape_evidence(probe, answers, place).map_or_else(|failure| failure, CheckResult::Passed)
}

/// The evidence of equal shapes, or the failed result.
fn shape_evidence(probe: Probe, answers: &ShapeAnswers, place: &ProbePlace) -> Result<String, CheckResult> {
    let answer = |request: &str, result: &Result<ObservedAnswer, AnswerFailure>| {
        result.clone().map_err(|failure| failure.result(request, place))
    };
    let unary = answer("the unary request", &answers.unary)?;
    let streamed = answer("the streamed request", &answers.streamed)?;
    let stopped = answer("the request with stop sequences", &answers.stopped)?;
    let difference = shape_problem("the unary answer", &unary)
        .or_else(|| shape_problem("the stream", &streamed))
        .or_else(|| stream_problem(&unary, &streamed))
        .or_else(|| stop_problem(&stopped));
    if let Some(text) = difference {
        return Err(failed(MessageCode::AnswerShapeDiffers, text, place.logs_command("frontend")));
    }
    let status = rejection_status(&answers.invalid, place)?;
    let tokens = |answer: &ObservedAnswer| answer.tokens.map_or(0, |tokens| tokens.completion);
    Ok(format!(
        "unary and streamed {} agree ({} and {} of at most {MAX_TOKENS} tokens, [DONE]), a stop sequence ends an \
         answer, an invalid request is HTTP {status}",
        if probe == Probe::Completions { "completions" } else { "chat answers" },
        tokens(&unary),
        tokens(&streamed),
    ))
}

/// What one answer lacks.
fn shape_problem(name: &str, answer: &ObservedAnswer) -> Option<String> {
    if answer.finish_reason.is_none() {
        return Some(format!("{name} does not have a finish reason"));
    }
    let Some(tokens) = answer.tokens else { return Some(format!("{name} does not report its usage")) };
    if tokens.completion > MAX_TOKENS {
        return Some(format!("{name} has {} tokens, although max_tokens is {MAX_TOKENS}", tokens.completion));
    }
    (tokens.completion == 0).then(|| format!("{name} does not have a token"))
}

/// How the stream differs from the unary answer to the same prompt.
fn stream_problem(unary: &ObservedAnswer, streamed: &ObservedAnswer) -> Option<String> {
    if !streamed.has_done_marker {
        return Some("the stream does not end with [DONE]".into());
    }
    let (unary, streamed) = (unary.tokens?.prompt, streamed.tokens?.prompt);
    (unary != streamed).then(|| {
        format!("the same prompt has {unary} tokens in the unary answer and {streamed} in the stream")
    })
}

fn stop_problem(stopped: &ObservedAnswer) -> Option<String> {
    // The first token can begin with a space that the engine keeps.
    let text = stopped.text.trim_start();
    let kept = STOP_SEQUENCES.iter().find(|stop| text.contains(**stop))?;
    Some(format!("an answer with the stop sequence {kept:?} contains it"))
}

/// The status of a rejected request, or the failed result if it was not properly rejected.
fn rejection_status(
    invalid: &Result<ObservedAnswer, AnswerFailure>,
    place: &ProbePlace,
) -> Result<u16, CheckResult> {
    let text = match invalid {
        Err(AnswerFailure::Rejected { status: status @ 400..500, message }) if !message.trim().is_empty() => {
            return Ok(*status);
        }
        Err(AnswerFailure::Rejected { status: status @ 400..500, .. }) => {
            format!("an invalid request is rejected with HTTP {status} without a message")
        }
        Err(failure) => format!("an invalid request is not rejected with a 4xx status: {failure}"),
        Ok(_) => "an invalid request is answered as if it were valid".into(),
    };
    Err(failed(MessageCode::InvalidRequestNotRejected, text, place.logs_command("frontend")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::AnswerTokens;

    fn place() -> ProbePlace {
        ProbePlace::Local { name: "tiny".into() }
    }

    fn lists(frontend: &str, models: &[&str]) -> FrontendModels {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        FrontendModels { frontend: frontend.into(), models: Ok(models) }
    }

    /// The answers of a frontend 1.6.1 with a mocker.
    fn recorded() -> ShapeAnswers {
        let answer = |completion, reason: &str, is_streamed, text: &str| {
            Ok(ObservedAnswer {
                text: text.into(),
                finish_reason: Some(reason.into()),
                tokens: Some(AnswerTokens { prompt: 21, completion, cached: Some(16) }),
                has_done_marker: is_streamed,
                ..ObservedAnswer::default()
            })
        };
        ShapeAnswers {
            unary: answer(8, "length", false, " tuto tule miro dere"),
            streamed: answer(8, "length", true, " mole vube sisa monu"),
            stopped: answer(1, "stop", false, ""),
            invalid: Err(AnswerFailure::Rejected {
                status: 400,
                message: "Failed to deserialize the JSON body into the target type".into(),
            }),
        }
    }

    fn code(result: &CheckResult) -> Option<MessageCode> {
        result.problem().map(|problem| problem.code)
    }

    #[test]
    fn every_frontend_must_list_the_same_models() {
        for (frontends, expected) in [
            (vec![lists("a", &["m", "n"]), lists("b", &["n", "m"])], None),
            (vec![lists("a", &["m"]), lists("b", &["n"])], Some(MessageCode::FrontendsDiffer)),
            (vec![lists("a", &["m"]), lists("b", &[])], Some(MessageCode::ModelNotListed)),
            (vec![], Some(MessageCode::ModelNotListed)),
            (
                vec![FrontendModels {
                    frontend: "a".into(),
                    models: Err(AnswerFailure::Unreachable { cause: "refused".into() }),
                }],
                Some(MessageCode::EndpointUnreachable),
            ),
        ] {
            assert_eq!(code(&judge_models(&frontends, &place())), expected, "{frontends:?}");
        }
        let differ = judge_models(&[lists("a", &["m"]), lists("b", &["n"])], &place());
        assert_eq!(differ.problem().map(ToString::to_string).as_deref(), Some("a lists m, but b lists n"));
    }

    #[test]
    fn answers_of_the_same_shape_pass() {
        let CheckResult::Passed(text) = judge_shape(Probe::Chat, &recorded(), &place()) else {
            panic!("the answers agree")
        };
        assert!(
            text.starts_with("unary and streamed chat answers agree (8 and 8 of at most 8 tokens"),
            "{text}"
        );
        assert!(text.ends_with("HTTP 400"), "{text}");
    }

    #[test]
    fn each_deviation_of_an_answer_has_a_code() {
        type Change = fn(&mut ShapeAnswers);
        let cases: &[(Change, MessageCode, &str)] = &[
            (
                |all| all.streamed = Err(AnswerFailure::Interrupted),
                MessageCode::AnswerInterrupted,
                "the streamed request failed: the answer ended early",
            ),
            (
                |all| all.streamed = Err(AnswerFailure::ErrorInAnswer { message: "gone".into() }),
                MessageCode::AnswerFailed,
                "an error in the answer: gone",
            ),
            (
                |all| all.streamed.as_mut().expect("an answer").has_done_marker = false,
                MessageCode::AnswerShapeDiffers,
                "[DONE]",
            ),
            (
                |all| all.unary.as_mut().expect("an answer").tokens = None,
                MessageCode::AnswerShapeDiffers,
                "usage",
            ),
            (
                |all| all.unary.as_mut().expect("an answer").finish_reason = None,
                MessageCode::AnswerShapeDiffers,
                "finish reason",
            ),
            (
                |all| {
                    let tokens = all.streamed.as_mut().expect("an answer").tokens.as_mut();
                    tokens.expect("usage").completion = 9;
                },
                MessageCode::AnswerShapeDiffers,
                "9 tokens, although max_tokens is 8",
            ),
            (
                |all| all.streamed.as_mut().expect("an answer").tokens.as_mut().expect("usage").prompt = 22,
                MessageCode::AnswerShapeDiffers,
                "21 tokens in the unary answer and 22",
            ),
            (
                |all| all.stopped.as_mut().expect("an answer").text = " one two".into(),
                MessageCode::AnswerShapeDiffers,
                "the stop sequence \" \"",
            ),
            (
                |all| all.invalid = Ok(ObservedAnswer::default()),
                MessageCode::InvalidRequestNotRejected,
                "as if it were valid",
            ),
            (
                |all| all.invalid = Err(AnswerFailure::Rejected { status: 500, message: "x".into() }),
                MessageCode::InvalidRequestNotRejected,
                "not rejected with a 4xx status: HTTP 500, x",
            ),
            (
                |all| all.invalid = Err(AnswerFailure::Rejected { status: 400, message: String::new() }),
                MessageCode::InvalidRequestNotRejected,
                "without a message",
            ),
        ];
        for (change, expected, text) in cases {
            let mut answers = recorded();
            change(&mut answers);
            let result = judge_shape(Probe::Chat, &answers, &place());
            let problem = result.problem().expect("the answers deviate");
            assert_eq!((problem.code, problem.exit), (*expected, crate::error::Exit::SmokeTest));
            assert!(problem.text.contains(text), "{}", problem.text);
        }
    }
}
