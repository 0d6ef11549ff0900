//! The requests of the probe of session affinity.

use std::time::Duration;

use super::client::ProbeClient;
use super::prompts::NewPrompts;
use super::request::RequestedWorkers;
use kubectl_dynamo_core::finding::CheckResult;
use kubectl_dynamo_core::intent::RouterMode;
use kubectl_dynamo_core::probe::{
    AffinityEvidence, AnswerFailure, ObservedAnswer, RegisteredWorker, SessionTurn, judge_affinity,
};

const SESSIONS: usize = 3;
/// Turns of a session through each frontend, and of a session in total at least.
const TURNS_PER_FRONTEND: usize = 2;
const MIN_TURNS: usize = 4;
/// More frontends are not tested, because each needs several requests.
const MAX_FRONTENDS: usize = 4;
const PROMPT_WORDS: u64 = 64;
/// How long KV events may need until they arrive at the routers.
const EVENT_DELAY: Duration = Duration::from_millis(500);

/// Sends the turns of several sessions through the frontends in turn.
pub(super) async fn probe_affinity(client: &ProbeClient<'_>) -> CheckResult {
    let workers = client.workers().await.unwrap_or_default();
    if workers.iter().filter(|worker| !worker.is_prefill).count() == 1 {
        return CheckResult::Skipped("there is only one worker for all sessions".into());
    }
    let mut evidence = AffinityEvidence {
        frontends: client.target.frontends.len().min(MAX_FRONTENDS),
        ..AffinityEvidence::default()
    };
    for number in 0..SESSIONS {
        evidence.sessions.push(run_session(number, &workers, client).await);
        // Without it, frontends that use the workers in turn would send the sessions to the same worker by chance.
        let _ = client.ask("hello", None).await;
    }
    judge_affinity(&evidence, client.subject())
}

async fn run_session(
    number: usize,
    workers: &[RegisteredWorker],
    client: &ProbeClient<'_>,
) -> Vec<SessionTurn> {
    let frontends = &client.target.frontends[..client.target.frontends.len().min(MAX_FRONTENDS)];
    let prompts = NewPrompts::new();
    let session = prompts.prompt("session", 0).trim().replace(' ', "-");
    let mut prompt = prompts.prompt("first turn", PROMPT_WORDS);
    let mut turns: Vec<SessionTurn> = Vec::new();
    for turn in 0..(frontends.len() * TURNS_PER_FRONTEND).max(MIN_TURNS) {
        let frontend = &frontends[(number + turn) % frontends.len()];
        let answer = client.ask_in_session(&frontend.endpoint, &session, &prompt).await;
        if turn == 0 {
            prompt = prompts.prompt("later turn", PROMPT_WORDS);
            send_elsewhere(&answer, &prompt, workers, client).await;
        }
        turns.push(SessionTurn { frontend: frontend.name.clone(), answer });
    }
    turns
}

/// Sends the prompt to another worker than the one of the session. A KV router prefers that worker from now on, so only
/// affinity keeps the session where it is.
async fn send_elsewhere(
    first: &Result<ObservedAnswer, AnswerFailure>,
    prompt: &str,
    workers: &[RegisteredWorker],
    client: &ProbeClient<'_>,
) {
    let mode = client.subject().intent.as_ref().map(|intent| intent.router.mode);
    let worker = first.as_ref().ok().and_then(ObservedAnswer::last_worker);
    if mode != Some(RouterMode::Kv) || workers.iter().any(|worker| worker.is_prefill) {
        return;
    }
    if let Some(other) = workers.iter().find(|other| Some(other.hex_id().as_str()) != worker) {
        let _ = client.ask(prompt, Some(RequestedWorkers::One { backend_instance_id: other.id })).await;
        tokio::time::sleep(EVENT_DELAY).await;
    }
}
