//! Readers for logs and programs: plain lines that come only on change, and JSON lines.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::units::{bytes, clock};
use super::{Event, PodLine, Stage};

/// One line on stderr; a closed stderr is nobody's reason to fail.
pub(super) fn write_line(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// The text of an error or warning, with its code in front and its hint below.
pub(super) fn message(kind: &str, code: Option<&str>, text: &str, hint: Option<&str>) -> String {
    let code = code.map(|code| format!(" [{code}]")).unwrap_or_default();
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{kind}{code}: {text}{hint}")
}

/// `21.3 GiB of 32.9 GiB at 412.0 MiB/s, 0:29 left, 3/19 files`.
pub(super) fn transfer(
    done: u64,
    total: u64,
    bytes_per_second: u64,
    eta_seconds: Option<u64>,
    note: &str,
) -> String {
    let left = eta_seconds.map(|seconds| format!(", {} left", clock(Duration::from_secs(seconds))));
    format!(
        "{} of {} at {}/s{}, {note}",
        bytes(done),
        bytes(total),
        bytes(bytes_per_second),
        left.unwrap_or_default()
    )
}

/// Plain lines for logs and screen readers.
#[derive(Default)]
pub(super) struct Plain {
    last: Option<(Stage, String)>,
    last_tenth: u64,
    /// What each pod did, without the numbers that go up.
    pods: BTreeMap<String, String>,
}

impl Plain {
    /// A line for each pod that does something else than before.
    fn show_pods(&mut self, stage: Stage, pods: &[PodLine]) {
        for pod in pods {
            let what: String = pod.doing.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            if self.pods.get(&pod.pod) == Some(&what) {
                continue;
            }
            self.pods.insert(pod.pod.clone(), what);
            let node = pod.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
            let note = pod.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            write_line(&format!(
                "{}: {} {}{node}: {}{note}",
                stage.title(),
                pod.component,
                pod.pod,
                pod.doing
            ));
        }
    }
}

impl super::Reader for Plain {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Plan { lines } | Event::Closing { lines } => {
                for line in lines {
                    write_line(line);
                }
            }
            Event::Waiting { stage, waits_for } => {
                let now = (*stage, waits_for.clone());
                if self.last.as_ref() != Some(&now) {
                    write_line(&format!("{}: waiting for {waits_for}", stage.title()));
                    self.last = Some(now);
                }
            }
            Event::Transfer { stage, done, total, bytes_per_second, eta_seconds, note } => {
                let tenth = (done * 10).checked_div(*total).unwrap_or(0);
                if tenth != self.last_tenth {
                    self.last_tenth = tenth;
                    write_line(&format!(
                        "{}: {}",
                        stage.title(),
                        transfer(*done, *total, *bytes_per_second, *eta_seconds, note)
                    ));
                }
            }
            Event::Outlook { .. } => {}
            Event::Pods { stage, pods } => self.show_pods(*stage, pods),
            Event::Done { stage, text } => {
                self.last = None;
                write_line(&format!("{}: done: {text}", stage.title()));
            }
            Event::Detail { text } => write_line(&format!("  {text}")),
            Event::Log { source, line } => write_line(&format!("{source} | {line}")),
            Event::Warning { code, text, hint } => {
                write_line(&message("warning", *code, text, hint.as_deref()));
            }
            Event::Failed { code, text, hint, .. } => {
                write_line(&message("error", *code, text, hint.as_deref()));
            }
        }
    }
}

/// One JSON object a line.
#[derive(Default)]
pub(super) struct Json {
    pods: Vec<PodLine>,
}

impl super::Reader for Json {
    fn show(&mut self, event: &Event) {
        // Pods are looked at again with each event of the cluster; only a change is one for readers.
        if let Event::Pods { pods, .. } = event {
            if *pods == self.pods {
                return;
            }
            self.pods.clone_from(pods);
        }
        if let Ok(line) = serde_json::to_string(event) {
            write_line(&line);
        }
    }
}

/// Nothing but the error that ends the program.
pub(super) struct ErrorsOnly;

impl super::Reader for ErrorsOnly {
    fn show(&mut self, event: &Event) {
        if matches!(event, Event::Failed { .. }) {
            Plain::default().show(event);
        }
    }
}
