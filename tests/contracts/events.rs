//! Line-based protocols: `--progress json`, the supervisor's notices, and the answers to shell completion.

use kubectl_dynamo::local::supervisor::SupervisorEvent;
use kubectl_dynamo::report::{Event, PodLine, PodMark, ProgressMode, Stage};
use kubectl_dynamo_tests::outline::outline;
use serde_json::Value;

use crate::{Home, frozen};

const STAGES: [Stage; 10] = [
    Stage::Preflight,
    Stage::Runtime,
    Stage::Apply,
    Stage::ModelFetch,
    Stage::ModelCache,
    Stage::Deploy,
    Stage::Ready,
    Stage::SmokeTest,
    Stage::Benchmark,
    Stage::Prediction,
];

/// Returns every event, with every optional field set once and unset once.
fn every_event() -> Vec<Event> {
    let text = || "text".to_owned();
    let mut events = Vec::new();
    for stage in STAGES {
        events.push(Event::Waiting { stage, waits_for: text() });
    }
    let pods = [PodMark::Ready, PodMark::Starting, PodMark::Failing].map(|mark| PodLine {
        component: text(),
        ready: 1,
        desired: 1,
        pod: text(),
        short_name: text(),
        mark,
        status_text: text(),
        node: (mark == PodMark::Ready).then(text),
        note: (mark == PodMark::Ready).then(text),
        ready_after_seconds: (mark == PodMark::Ready).then_some(1),
    });
    events.push(Event::Pods { stage: Stage::Deploy, pods: pods.to_vec() });
    events.push(Event::Plan { lines: vec![text()] });
    events.push(Event::Done { stage: Stage::Ready, text: text() });
    events.push(Event::Info { text: text() });
    events.push(Event::Log { source: text(), line: text() });
    events.push(Event::Summary { lines: vec![text()] });
    for optional in [None, Some(text())] {
        let (stage, set) = (Stage::ModelFetch, optional.is_some());
        let code = set.then_some(kubectl_dynamo_core::code::MessageCode::InvalidCommandLine);
        let hint = optional.clone();
        events.push(Event::Transfer {
            stage,
            done: 1,
            total: 1,
            bytes_per_second: 1,
            eta_seconds: set.then_some(1),
            note: text(),
        });
        events.push(Event::Load {
            stage: Stage::Benchmark,
            level: text(),
            done: 1,
            total: set.then_some(1),
            requests_per_second: 1.5,
            eta_seconds: set.then_some(1),
        });
        events.push(Event::Hint { stage, next: optional, on_interrupt: text() });
        events.push(Event::Warning { code, text: text(), hint: hint.clone() });
        events.push(Event::Failed { code, text: text(), hint, exit: 1 });
    }
    events
}

/// Does not compile if `every_event` misses a new event.
fn name(event: &Event) -> &'static str {
    match event {
        Event::Plan { .. } => "plan",
        Event::Waiting { .. } => "waiting",
        Event::Transfer { .. } => "transfer",
        Event::Load { .. } => "load",
        Event::Hint { .. } => "hint",
        Event::Pods { .. } => "pods",
        Event::Done { .. } => "done",
        Event::Info { .. } => "info",
        Event::Warning { .. } => "warning",
        Event::Log { .. } => "log",
        Event::Summary { .. } => "summary",
        Event::Failed { .. } => "failed",
    }
}

#[test]
fn progress_events_of_the_plugin() {
    let events = every_event();
    let mut names: Vec<&str> = events.iter().map(name).collect();
    names.sort_unstable();
    names.dedup();
    let mut text = String::new();
    for kind in &names {
        let of_kind: Vec<Value> = events
            .iter()
            .filter(|event| name(event) == *kind)
            .map(|event| serde_json::to_value(event).unwrap())
            .collect();
        text += &outline(&of_kind, &["event", "stage", "mark"]);
        text.push('\n');
    }
    assert_eq!(names.len(), 12);
    frozen!("progress-events-of-the-plugin", text);
}

#[test]
fn values_of_the_progress_flag() {
    use kubectl_dynamo_core::intent::StringEnum;
    let values: Vec<&str> = ProgressMode::ALL.iter().map(|mode| mode.as_str()).collect();
    assert_eq!(values, ["auto", "tty", "plain", "json", "none"]);
}

#[test]
fn an_error_as_an_event() {
    let output = Home::new().run(&["render", "a/b/c", "--progress=json"]);
    let event: Value = serde_json::from_slice(&output.stderr).unwrap();
    frozen!("progress-event-of-an-error", outline([&event], &["event", "code"]));
}

#[test]
fn notices_of_the_supervisor() {
    let text = || "text".to_owned();
    let notices = [
        SupervisorEvent::Started,
        SupervisorEvent::StartFailed { process: text(), reason: text() },
        SupervisorEvent::ProcessExited { process: text(), exit_status: text() },
        SupervisorEvent::Stopping,
    ];
    let lines: String = notices.iter().map(|notice| serde_json::to_string(notice).unwrap() + "\n").collect();
    frozen!("notices-of-the-supervisor", lines);
}

/// kubectl runs `__complete` and reads one candidate per line, then a directive.
#[test]
fn answers_to_kubectls_completion() {
    let home = Home::new();
    let mut text = String::new();
    for typed in [
        &[""][..],
        &["rollout", ""],
        &["up", "--router-m"],
        &["up", "--router-mode", ""],
        &["list", "-o", ""],
        &["list", "-o", "jsonp"],
    ] {
        text += &format!("$ __complete {typed:?}\n");
        text += &home.stdout(&[&["__complete"], typed].concat(), 0);
    }
    frozen!("completion", text);
}
