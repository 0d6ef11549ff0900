//! Events with printable texts. The texts can come from a cluster, an endpoint, or a log, and the renderers add colors,
//! so control characters are removed before.

use super::{Event, PodLine};
use crate::output::printable;

impl Event {
    /// The event for a reader: its texts do not contain control characters or escape sequences.
    pub(super) fn printable(&self) -> Self {
        match self.clone() {
            Self::Plan { lines } => Self::Plan { lines: texts(lines) },
            Self::Summary { lines } => Self::Summary { lines: texts(lines) },
            Self::Waiting { stage, waits_for } => Self::Waiting { stage, waits_for: text(waits_for) },
            Self::Transfer { stage, done, total, bytes_per_second, eta_seconds, note } => {
                Self::Transfer { stage, done, total, bytes_per_second, eta_seconds, note: text(note) }
            }
            Self::Load { stage, level, done, total, requests_per_second, eta_seconds } => {
                Self::Load { stage, level: text(level), done, total, requests_per_second, eta_seconds }
            }
            Self::Hint { stage, next, on_interrupt } => {
                Self::Hint { stage, next: next.map(text), on_interrupt: text(on_interrupt) }
            }
            Self::Pods { stage, pods } => Self::Pods { stage, pods: pods.into_iter().map(pod).collect() },
            Self::Done { stage, text: result } => Self::Done { stage, text: text(result) },
            Self::Info { text: info } => Self::Info { text: text(info) },
            Self::Log { source, line } => Self::Log { source: text(source), line: text(line) },
            Self::Warning { code, text: warning, hint } => {
                Self::Warning { code, text: text(warning), hint: hint.map(text) }
            }
            Self::Failed { code, text: error, hint, exit } => {
                Self::Failed { code, text: text(error), hint: hint.map(text), exit }
            }
        }
    }
}

fn text(text: String) -> String {
    printable(&text).into_owned()
}

fn texts(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(text).collect()
}

fn pod(line: PodLine) -> PodLine {
    PodLine {
        component: text(line.component),
        pod: text(line.pod),
        short_name: text(line.short_name),
        status_text: text(line.status_text),
        node: line.node.map(text),
        note: line.note.map(text),
        ..line
    }
}
