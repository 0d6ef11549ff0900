//! What one request through a gateway proves. LiteLLM names the base URL that it used in a header, and the frontends of
//! the deployment count their requests. An answer alone can come from anywhere.

use super::{failed, new_entries};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME};
use crate::finding::CheckResult;
use crate::gateway::{GatewayAddress, RoutedDeployment};
use crate::probe::AnswerFailure;

/// How a request asks for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    Unary,
    Streamed,
}

impl RequestKind {
    /// The name of its finding.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Streamed => "stream",
        }
    }
}

/// An answer of a gateway, and what its headers tell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteAnswer {
    /// The base URL that the gateway sent the request to.
    pub api_base: Option<String>,
    pub completion_tokens: Option<u64>,
    pub milliseconds: u64,
}

/// One request through a gateway, and what the deployment observed meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutedRequest {
    pub kind: RequestKind,
    pub answer: Result<RouteAnswer, AnswerFailure>,
    /// How many such requests the frontends of the deployment counted; `None` if they do not export their metrics.
    pub counted: Option<u64>,
    /// How the deployment itself answers the same request, which is only sent after a failure.
    pub direct: Option<Result<(), AnswerFailure>>,
}

/// Judges a request.
pub fn judge_request(request: &RoutedRequest, deployment: &RoutedDeployment) -> CheckResult {
    match &request.answer {
        Ok(answer) => judge_answer(request, answer, deployment),
        Err(failure) => judge_failure(request, failure, deployment),
    }
}

fn judge_answer(request: &RoutedRequest, answer: &RouteAnswer, deployment: &RoutedDeployment) -> CheckResult {
    let expected = GatewayAddress::parse(&deployment.base_url);
    let used = answer.api_base.as_deref().and_then(GatewayAddress::parse);
    let is_expected = match (&used, &expected) {
        (Some(used), Some(expected)) => Some(used.is_same_server(expected)),
        _ => None,
    };
    let used = answer.api_base.as_deref().unwrap_or("an address that the gateway does not name");
    let elsewhere =
        |text: String| failed(MessageCode::GatewayRequestElsewhere, text, new_entries(deployment));
    let tokens = answer.completion_tokens.map(|tokens| format!(" with {tokens} tokens")).unwrap_or_default();
    let answered = format!("answered by {used} in {} ms{tokens}", answer.milliseconds);
    let requests = |count| if count == 1 { "1 request".to_owned() } else { format!("{count} requests") };
    match (is_expected, request.counted) {
        (_, Some(0)) => elsewhere(format!(
            "answered by {used}, but the frontends of the deployment did not count the request"
        )),
        // Another name of the server, such as that of an Ingress, is not known here.
        (_, Some(counted)) => {
            CheckResult::Passed(format!("{answered}; the frontends counted {}", requests(counted)))
        }
        (Some(true), None) => {
            CheckResult::Passed(format!("{answered}; the frontends do not export their counters"))
        }
        (_, None) => elsewhere(format!(
            "answered by {used}, which is not {}, and the frontends do not export their counters",
            deployment.base_url
        )),
    }
}

fn judge_failure(
    request: &RoutedRequest,
    failure: &AnswerFailure,
    deployment: &RoutedDeployment,
) -> CheckResult {
    let direct = match &request.direct {
        Some(Err(direct)) => format!("; the deployment itself fails too: {direct}"),
        Some(Ok(())) => "; the deployment itself answers".to_owned(),
        None => String::new(),
    };
    let fails_itself = matches!(request.direct, Some(Err(_)));
    let text = format!("{failure}{direct}");
    let AnswerFailure::Rejected { status, message } = failure else {
        let code = match failure {
            AnswerFailure::Unreachable { .. } => MessageCode::GatewayUnreachable,
            _ => MessageCode::GatewayRequestFailed,
        };
        return failed(code, text, diagnose(deployment));
    };
    let contains = |part: &str| message.contains(part);
    match status {
        _ if fails_itself => failed(MessageCode::GatewayRequestFailed, text, diagnose(deployment)),
        401 | 403 => failed(MessageCode::GatewayKeyRejected, text, key_hint()),
        400 if contains("No connected db") => failed(MessageCode::GatewayKeyRejected, text, key_hint()),
        404 if contains("Route not found") => {
            failed(MessageCode::GatewayBasePathWrong, text, new_entries(deployment))
        }
        404 if contains("Model not found") => {
            failed(MessageCode::GatewayServedNameWrong, text, new_entries(deployment))
        }
        400 if contains("Invalid model name") || contains("no healthy deployments") => {
            failed(MessageCode::GatewayEntryMissing, text, new_entries(deployment))
        }
        500 if contains("Cannot connect to host") => {
            let text = format!("the gateway cannot connect to {}: {text}", deployment.base_url);
            failed(MessageCode::GatewayCannotConnect, text, network_hint(deployment))
        }
        // The first failure of a lone entry hides the cause from the next requests.
        429 if contains("cooldown") => failed(
            MessageCode::GatewayRequestFailed,
            text,
            "wait 10 s and run the test again: LiteLLM stops sending requests to an entry for some seconds after a failure",
        ),
        _ => failed(MessageCode::GatewayRequestFailed, text, diagnose(deployment)),
    }
}

fn key_hint() -> Fix {
    "specify a key that may use the model: --api-key-env LITELLM_MASTER_KEY, or --api-key-secret NAME/KEY"
        .into()
}

fn network_hint(deployment: &RoutedDeployment) -> Fix {
    match &deployment.owner.namespace {
        Some(namespace) => SuggestedCommand::kubectl("get networkpolicy")
            .in_namespace(namespace)
            .after("run the gateway where it reaches the Service, and check the policies of the namespace: "),
        None => "run the gateway on this machine: a local deployment listens on 127.0.0.1 only".into(),
    }
}

fn diagnose(deployment: &RoutedDeployment) -> Fix {
    let name = &deployment.owner.name;
    match &deployment.owner.namespace {
        Some(namespace) => {
            SuggestedCommand::plugin("test").operand(name, UNKNOWN_NAME).in_namespace(namespace).into()
        }
        None => SuggestedCommand::plugin("test").operand(name, UNKNOWN_NAME).flag("--local").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::entry::tests::deployment;

    fn request(answer: Result<RouteAnswer, AnswerFailure>, counted: Option<u64>) -> RoutedRequest {
        RoutedRequest { kind: RequestKind::Unary, answer, counted, direct: None }
    }

    fn code(result: CheckResult) -> Option<MessageCode> {
        match result {
            CheckResult::Passed(_) => None,
            CheckResult::Failed(problem) => Some(problem.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn answer_must_be_counted_by_the_deployment() {
        let own = deployment("tiny", "m");
        let by = |base: &str| Ok(RouteAnswer { api_base: Some(base.into()), ..RouteAnswer::default() });
        let elsewhere = Some(MessageCode::GatewayRequestElsewhere);
        for (base, counted, expected) in [
            ("http://tiny-frontend.serving.svc:8000/v1", Some(1), None),
            ("http://tiny-frontend.serving.svc.cluster.local:8000/v1", Some(2), None),
            ("http://tiny-frontend.serving.svc:8000/v1", None, None),
            ("http://tiny-frontend.serving.svc:8000/v1", Some(0), elsewhere),
            ("https://llm.example.com/v1", Some(1), None),
            ("https://llm.example.com/v1", None, elsewhere),
            ("https://llm.example.com/v1", Some(0), elsewhere),
        ] {
            assert_eq!(
                code(judge_request(&request(by(base), counted), &own)),
                expected,
                "{base} {counted:?}"
            );
        }
        let nameless = request(Ok(RouteAnswer::default()), None);
        assert_eq!(code(judge_request(&nameless, &own)), elsewhere);
    }

    #[test]
    fn each_failure_of_litellm_has_its_code() {
        let own = deployment("tiny", "m");
        // Messages of LiteLLM's proxy.
        for (status, message, expected) in [
            (400, "No connected db.", MessageCode::GatewayKeyRejected),
            (
                401,
                "Authentication Error, Invalid proxy server token passed.",
                MessageCode::GatewayKeyRejected,
            ),
            (
                404,
                "Hosted_vllmException - {\"message\": \"Route not found: POST /chat/completions\"}",
                MessageCode::GatewayBasePathWrong,
            ),
            (
                404,
                "Hosted_vllmException - {\"message\": \"Model not found: other\"}",
                MessageCode::GatewayServedNameWrong,
            ),
            (
                400,
                "/chat/completions: Invalid model name passed in model=nope.",
                MessageCode::GatewayEntryMissing,
            ),
            (
                500,
                "Hosted_vllmException - Cannot connect to host REDACTED:18009",
                MessageCode::GatewayCannotConnect,
            ),
            (429, "All deployments for selected model are in cooldown.", MessageCode::GatewayRequestFailed),
            (503, "no workers", MessageCode::GatewayRequestFailed),
        ] {
            let failure = AnswerFailure::Rejected { status, message: message.into() };
            assert_eq!(
                code(judge_request(&request(Err(failure), Some(0)), &own)),
                Some(expected),
                "{message}"
            );
        }
        let unreachable = AnswerFailure::Unreachable { cause: "refused".into() };
        assert_eq!(
            code(judge_request(&request(Err(unreachable), None), &own)),
            Some(MessageCode::GatewayUnreachable)
        );
    }

    #[test]
    fn failure_of_the_deployment_itself_is_not_blamed_on_the_entry() {
        let rejected = |message: &str| AnswerFailure::Rejected { status: 404, message: message.into() };
        let failed = RoutedRequest {
            direct: Some(Err(rejected("Model not found: m"))),
            ..request(Err(rejected("Model not found: m")), Some(0))
        };
        match judge_request(&failed, &deployment("tiny", "m")) {
            CheckResult::Failed(problem) => {
                assert_eq!(problem.code, MessageCode::GatewayRequestFailed);
                assert!(
                    problem.text.contains("the deployment itself fails too: HTTP 404"),
                    "{}",
                    problem.text
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
