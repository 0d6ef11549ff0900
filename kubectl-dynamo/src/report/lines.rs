//! Renderers for logs and programs: plain lines, printed only on change, and JSON lines.
//! They never redraw and never use colors.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use super::units::{bytes, clock};
use super::{Event, PodLine, Stage};
use crate::output::escape_json;
use kubectl_dynamo_core::code::MessageCode;

/// Writes one line to stderr, which must be printable except for colors. A closed stderr is ignored.
pub(super) fn write_line(line: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Formats an error or warning, with its code before the text and its hint on a second line.
pub(super) fn format_message(
    kind: &str,
    code: Option<MessageCode>,
    text: &str,
    hint: Option<&str>,
) -> String {
    let code = code.map(|code| format!(" [{code}]")).unwrap_or_default();
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("{kind}{code}: {text}{hint}")
}

/// Formats transfer progress: `21.3 GiB of 32.9 GiB at 412.0 MiB/s, 0:29 left, 3/19 files`. Sizes are in
/// bytes.
pub(super) fn format_transfer(
    done: u64,
    total: u64,
    bytes_per_second: u64,
    eta_seconds: Option<u64>,
    note: &str,
) -> String {
    let remaining = eta_seconds.map(|seconds| format!(", {} left", clock(Duration::from_secs(seconds))));
    format!(
        "{} of {} at {}/s{}, {note}",
        bytes(done),
        bytes(total),
        bytes(bytes_per_second),
        remaining.unwrap_or_default()
    )
}

/// Formats the progress of a benchmark: `level 8 (2 of 7): 34 of 80 requests, 27.1/s, 0:02 left`.
pub(super) fn format_load(
    level: &str,
    done: u64,
    total: Option<u64>,
    requests_per_second: f64,
    eta_seconds: Option<u64>,
) -> String {
    let total = total.map(|total| format!(" of {total}")).unwrap_or_default();
    let rate =
        if requests_per_second > 0.0 { format!(", {requests_per_second:.1}/s") } else { String::new() };
    let remaining = eta_seconds.map(|seconds| format!(", {} left", clock(Duration::from_secs(seconds))));
    format!("level {level}: {done}{total} requests{rate}{}", remaining.unwrap_or_default())
}

/// Plain lines for logs and screen readers.
#[derive(Default)]
pub(super) struct PlainLines {
    last_wait: Option<(Stage, String)>,
    last_tenth: u64,
    last_load: (String, u64),
    /// The last status of each pod, without digits, so that counters do not cause new lines.
    pods: BTreeMap<String, String>,
}

impl PlainLines {
    /// Prints a line for each pod whose status has changed.
    fn show_pods(&mut self, stage: Stage, pods: &[PodLine]) {
        for pod in pods {
            let activity: String =
                pod.status_text.chars().filter(|letter| !letter.is_ascii_digit()).collect();
            if self.pods.get(&pod.pod) == Some(&activity) {
                continue;
            }
            self.pods.insert(pod.pod.clone(), activity);
            let node = pod.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
            let note = pod.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            write_line(&format!(
                "{}: {} {}{node}: {}{note}",
                stage.title(),
                pod.component,
                pod.pod,
                pod.status_text
            ));
        }
    }
}

impl super::EventRenderer for PlainLines {
    fn show(&mut self, event: &Event) {
        match event {
            Event::Plan { lines } | Event::Summary { lines } => {
                for line in lines {
                    write_line(line);
                }
            }
            Event::Waiting { stage, waits_for } => {
                let now = (*stage, waits_for.clone());
                if self.last_wait.as_ref() != Some(&now) {
                    write_line(&format!("{}: waiting for {waits_for}", stage.title()));
                    self.last_wait = Some(now);
                }
            }
            Event::Transfer { stage, done, total, bytes_per_second, eta_seconds, note } => {
                let tenth = (done * 10).checked_div(*total).unwrap_or(0);
                if tenth != self.last_tenth {
                    self.last_tenth = tenth;
                    write_line(&format!(
                        "{}: {}",
                        stage.title(),
                        format_transfer(*done, *total, *bytes_per_second, *eta_seconds, note)
                    ));
                }
            }
            Event::Load { stage, level, done, total, requests_per_second, eta_seconds } => {
                // Tenths of a level with a number of requests, and hundreds of others.
                let part = match total {
                    Some(total) => (done * 10).checked_div(*total).unwrap_or(0),
                    None => done / 100,
                };
                let now = (level.clone(), part);
                if self.last_load != now {
                    self.last_load = now;
                    write_line(&format!(
                        "{}: {}",
                        stage.title(),
                        format_load(level, *done, *total, *requests_per_second, *eta_seconds)
                    ));
                }
            }
            Event::Hint { .. } => {}
            Event::Pods { stage, pods } => self.show_pods(*stage, pods),
            Event::Done { stage, text } => {
                self.last_wait = None;
                write_line(&format!("{}: done: {text}", stage.title()));
            }
            Event::Info { text } => write_line(&format!("  {text}")),
            Event::Log { source, line } => write_line(&format!("{source} | {line}")),
            Event::Warning { code, text, hint } => {
                write_line(&format_message("warning", *code, text, hint.as_deref()));
            }
            Event::Failed { code, text, hint, .. } => {
                write_line(&format_message("error", *code, text, hint.as_deref()));
            }
        }
    }
}

/// Writes one JSON object per line.
#[derive(Default)]
pub(super) struct JsonLines {
    pods: Vec<PodLine>,
}

impl super::EventRenderer for JsonLines {
    fn show(&mut self, event: &Event) {
        // Pods are evaluated on each watch event; only changes are reported.
        if let Event::Pods { pods, .. } = event {
            if *pods == self.pods {
                return;
            }
            self.pods.clone_from(pods);
        }
        if let Ok(line) = serde_json::to_string(event) {
            write_line(&escape_json(&line));
        }
    }
}

/// Prints only the final error.
pub(super) struct ErrorsOnly;

impl super::EventRenderer for ErrorsOnly {
    fn show(&mut self, event: &Event) {
        if matches!(event, Event::Failed { .. }) {
            PlainLines::default().show(event);
        }
    }
}
