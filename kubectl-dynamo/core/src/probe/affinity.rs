//! The probe of session affinity: the turns of a session stay on one worker, whichever frontend receives them.

use super::{AnswerFailure, ObservedAnswer, ProbeSubject, failed, warning};
use crate::code::MessageCode;
use crate::command::Fix;
use crate::finding::CheckResult;
use crate::intent::ServingIntent;
use crate::release::SessionAffinity;

/// The header with the ID of a session.
pub const SESSION_HEADER: &str = "x-dynamo-session-id";
/// The variable of the frontends that enables affinity. Its value is how many seconds a session stays on its worker.
const AFFINITY_VARIABLE: &str = "DYN_ROUTER_SESSION_AFFINITY_TTL_SECS";

/// One request of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionTurn {
    /// The frontend that received it.
    pub frontend: String,
    pub answer: Result<ObservedAnswer, AnswerFailure>,
}

/// The turns of several sessions through every frontend.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AffinityEvidence {
    pub sessions: Vec<Vec<SessionTurn>>,
    pub frontends: usize,
}

/// Why affinity cannot be tested, from the release and the request; `None` if it can.
pub(super) fn affinity_skip_reason(subject: &ProbeSubject) -> Option<String> {
    if let Some(release) = subject.release
        && release.session_affinity == SessionAffinity::None
    {
        return Some(format!("Dynamo {} does not have session affinity", release.version));
    }
    let intent = subject.intent.as_ref()?;
    (!has_affinity(intent) && intent.frontend_replicas == 1)
        .then(|| format!("the deployment does not set {AFFINITY_VARIABLE}"))
}

/// Whether the deployment enables affinity.
fn has_affinity(intent: &ServingIntent) -> bool {
    intent.placement.env.iter().any(|(name, _)| name == AFFINITY_VARIABLE)
}

/// Judges whether every session stayed on one worker.
pub fn judge_affinity(evidence: &AffinityEvidence, subject: &ProbeSubject) -> CheckResult {
    let place = &subject.place;
    let mut turns = 0;
    for session in &evidence.sessions {
        let mut workers = Vec::new();
        for turn in session {
            let answer = match &turn.answer {
                Ok(answer) => answer,
                Err(failure) => return failure.result(&format!("a turn through {}", turn.frontend), place),
            };
            let Some(worker) = answer.last_worker() else {
                return CheckResult::Skipped("this release does not report which worker answers".into());
            };
            workers.push((turn.frontend.as_str(), worker));
        }
        if workers.iter().any(|(_, worker)| Some(*worker) != workers.first().map(|first| first.1)) {
            return scattered(&workers, evidence.frontends, subject);
        }
        turns = turns.max(workers.len());
    }
    let frontends = frontend_count(evidence.frontends);
    CheckResult::Passed(format!(
        "the {turns} turns of each of {} sessions through {frontends} stay on one worker",
        evidence.sessions.len()
    ))
}

fn frontend_count(count: usize) -> String {
    if count == 1 { "1 frontend".into() } else { format!("{count} frontends") }
}

/// The problem of a session whose turns went to several workers.
fn scattered(workers: &[(&str, &str)], frontends: usize, subject: &ProbeSubject) -> CheckResult {
    let path: Vec<String> =
        workers.iter().map(|(frontend, worker)| format!("{frontend} → {worker}")).collect();
    let text = format!(
        "the turns of a session through {} go to several workers: {}",
        frontend_count(frontends),
        path.join(", ")
    );
    let code = MessageCode::SessionScattered;
    let is_configured = subject.intent.as_ref().is_some_and(has_affinity);
    match (is_configured, subject.release.map(|release| release.session_affinity)) {
        (false, _) => {
            let setting = format!("--env {AFFINITY_VARIABLE}=600");
            let hint = Fix::from("if clients send sessions, keep each on its worker for 600 s: ")
                .then(subject.place.change_command(&setting));
            warning(code, text, hint)
        }
        (true, Some(SessionAffinity::EachFrontend)) if frontends > 1 => {
            let text = format!("{text}; the frontends of this release do not share their sessions");
            let hint = Fix::from("use one frontend, or a newer release: ")
                .then(subject.place.change_command("--frontend-replicas 1"));
            failed(code, text, hint)
        }
        (true, _) => {
            let hint = Fix::from(
                "the frontends share sessions over the event plane: let them connect to each other (network policies, \
                 DYN_EVENT_PLANE_HOST), and see ",
            )
            .then(subject.place.logs_command("frontend"));
            failed(code, text, hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::request::{MergedSettings, SettingSource, SettingsLayer};
    use crate::intent::{Backend, Fallback, resolve};
    use crate::probe::{AnswerWorkers, ProbePlace};
    use crate::release::Release;

    fn evidence(workers: &[&str]) -> AffinityEvidence {
        let turn = |(at, worker): (usize, &&str)| {
            let workers = AnswerWorkers { prefill: None, decode: (*worker).into() };
            let answer = ObservedAnswer { workers: Some(workers), ..ObservedAnswer::default() };
            SessionTurn { frontend: format!("frontend-{}", at % 2 + 1), answer: Ok(answer) }
        };
        AffinityEvidence { sessions: vec![workers.iter().enumerate().map(turn).collect()], frontends: 2 }
    }

    fn subject(version: &str, fields: &[&str]) -> ProbeSubject {
        let mut layer = SettingsLayer::new(SettingSource::Flag);
        for field in ["model=acme/tiny"].iter().chain(fields) {
            layer.set(field).expect("a valid setting");
        }
        let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length: 40 };
        let intent = resolve(&MergedSettings::from_layers([layer]), &fallback).expect("a complete request");
        ProbeSubject {
            place: ProbePlace::Cluster { name: "tiny".into(), namespace: "serving".into() },
            intent: Some(intent),
            release: Some(Release::find(version).expect("a known release")),
            model: "tiny".into(),
        }
    }

    const TWO: &str = "frontend.replicas=2";
    const ENABLED: &str = "env.DYN_ROUTER_SESSION_AFFINITY_TTL_SECS=60";

    #[test]
    fn sessions_on_one_worker_pass() {
        let evidence = evidence(&["a", "a", "a", "a"]);
        assert_eq!(
            judge_affinity(&evidence, &subject("1.6.1", &[TWO, ENABLED])),
            CheckResult::Passed(
                "the 4 turns of each of 1 sessions through 2 frontends stay on one worker".into()
            )
        );
    }

    #[test]
    fn scattered_turns_fail_if_affinity_is_enabled_and_warn_otherwise() {
        let scattered = evidence(&["a", "b", "a", "a"]);
        for (version, fields, is_failure, text) in [
            ("1.6.1", &[TWO, ENABLED][..], true, "DYN_EVENT_PLANE_HOST"),
            ("1.3.1", &[TWO, ENABLED][..], true, "--frontend-replicas 1"),
            ("1.6.1", &[TWO][..], false, "--env DYN_ROUTER_SESSION_AFFINITY_TTL_SECS=600"),
        ] {
            let result = judge_affinity(&scattered, &subject(version, fields));
            let problem = result.problem().expect("the turns are scattered");
            assert_eq!(problem.code, MessageCode::SessionScattered);
            assert!(
                problem.text.ends_with("frontend-1 → a, frontend-2 → b, frontend-1 → a, frontend-2 → a")
                    || problem.text.ends_with("do not share their sessions"),
                "{}",
                problem.text
            );
            assert!(problem.hint.to_string().contains(text), "{}", problem.hint);
            assert_eq!(matches!(result, CheckResult::Failed(_)), is_failure);
        }
        let mut broken = evidence(&["a"]);
        broken.sessions[0][0].answer = Err(AnswerFailure::Interrupted);
        let result = judge_affinity(&broken, &subject("1.6.1", &[TWO]));
        assert!(
            result
                .problem()
                .is_some_and(|problem| problem.text.starts_with("a turn through frontend-1 failed"))
        );
    }

    #[test]
    fn affinity_is_skipped_where_it_cannot_work() {
        let reason = |version: &str, fields: &[&str]| affinity_skip_reason(&subject(version, fields));
        assert_eq!(reason("1.2.1", &[TWO]).as_deref(), Some("Dynamo 1.2.1 does not have session affinity"));
        assert!(
            reason("1.6.1", &[]).is_some_and(|reason| reason.contains("does not set DYN_ROUTER_SESSION"))
        );
        assert_eq!((reason("1.6.1", &[ENABLED]), reason("1.3.1", &[TWO])), (None, None));
    }
}
