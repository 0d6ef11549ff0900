//! Prints events on stderr: bars on a terminal, lines in a log, JSON for the plugin.
//!
//! Only this module and its submodules use indicatif.

mod bars;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use bars::ProgressBars;
use indicatif::ProgressDrawTarget;

use crate::arguments::ProgressFormat;
use model_fetcher_contract::{ProgressEvent, printable_text};

const LINE_INTERVAL: Duration = Duration::from_secs(10);
const LINE_PERCENT_STEP: u64 = 5;

/// Prints events in one format.
pub enum ProgressPrinter {
    Bars(ProgressBars),
    Lines(ProgressLines),
    Json,
    Silent,
}

/// When the last progress line was printed, and at what percentage.
#[derive(Default)]
pub struct ProgressLines {
    last: Option<(Instant, u64)>,
}

impl ProgressPrinter {
    pub fn new(mode: ProgressFormat) -> Self {
        match mode {
            ProgressFormat::Auto if std::io::stderr().is_terminal() => Self::new(ProgressFormat::Tty),
            ProgressFormat::Auto | ProgressFormat::Plain => ProgressPrinter::Lines(ProgressLines::default()),
            ProgressFormat::Tty => ProgressPrinter::Bars(ProgressBars::new(ProgressDrawTarget::stderr())),
            ProgressFormat::Json => ProgressPrinter::Json,
            ProgressFormat::None => ProgressPrinter::Silent,
        }
    }

    /// Prints one event.
    pub fn show(&mut self, event: &ProgressEvent) {
        match self {
            ProgressPrinter::Bars(bars) => bars.show(event),
            ProgressPrinter::Lines(lines) => {
                if let Some(line) = lines.line_for(event, Instant::now()) {
                    write_line(&line);
                }
            }
            ProgressPrinter::Json => write_line(&serde_json::to_string(event).unwrap_or_default()),
            // Errors are printed in every format.
            ProgressPrinter::Silent => {
                if let (ProgressEvent::Failed { .. }, Some(line)) = (event, event_text(event)) {
                    write_line(&line);
                }
            }
        }
    }
}

fn write_line(line: &str) {
    // Errors are ignored: stderr may be closed.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl ProgressLines {
    /// Returns the line for an event if it is due.
    fn line_for(&mut self, event: &ProgressEvent, now: Instant) -> Option<String> {
        if let ProgressEvent::Progress { bytes_done, bytes_total, .. } = event {
            let percent = bytes_done * 100 / (*bytes_total).max(1);
            let is_due = match self.last {
                None => true,
                Some((at, last)) => {
                    now.duration_since(at) >= LINE_INTERVAL || percent >= last + LINE_PERCENT_STEP
                }
            };
            if !is_due {
                return None;
            }
            self.last = Some((now, percent));
        }
        event_text(event)
    }
}

/// Formats one event as text.
pub(crate) fn event_text(event: &ProgressEvent) -> Option<String> {
    let line = match event {
        ProgressEvent::Started { repository, revision, folder } => {
            format!("fetching {repository} at {revision} into {}", folder.display())
        }
        ProgressEvent::Planned { commit, files, bytes: total_bytes, files_to_fetch, bytes_present } => {
            format!(
                "commit {}: {files} files, {}; {files_to_fetch} to fetch, {} present",
                &commit[..commit.len().min(12)],
                format_bytes(*total_bytes),
                format_bytes(*bytes_present)
            )
        }
        ProgressEvent::Progress {
            bytes_done,
            bytes_total,
            files_done,
            files_total,
            bytes_per_second,
            eta_seconds,
            retries,
            ..
        } => {
            let remaining =
                eta_seconds.map(|seconds| format!(", {} left", format_duration(seconds))).unwrap_or_default();
            let retries = if *retries > 0 { format!(", {retries} retries") } else { String::new() };
            format!(
                "{}% {} of {}, {files_done} of {files_total} files, {}/s{remaining}{retries}",
                bytes_done * 100 / (*bytes_total).max(1),
                format_bytes(*bytes_done),
                format_bytes(*bytes_total),
                format_bytes(*bytes_per_second)
            )
        }
        ProgressEvent::FileVerified { .. } => return None,
        ProgressEvent::Removed { folder, existed: true } => format!("removed: {}", folder.display()),
        ProgressEvent::Removed { folder, existed: false } => {
            format!("nothing to remove: {} does not exist", folder.display())
        }
        ProgressEvent::Waiting { detail, seconds, .. } => format!("waiting ({seconds} s): {detail}"),
        ProgressEvent::Warning { text } => format!("warning: {text}"),
        ProgressEvent::Complete { folder, commit, files, bytes: total_bytes, bytes_fetched, seconds } => {
            format!(
                "complete: {} at {}, {files} files, {}; {} fetched in {seconds:.1} s",
                folder.display(),
                &commit[..commit.len().min(12)],
                format_bytes(*total_bytes),
                format_bytes(*bytes_fetched)
            )
        }
        ProgressEvent::Failed { error, hint, .. } => match hint {
            Some(hint) => format!("error: {error}\n  hint: {hint}"),
            None => format!("error: {error}"),
        },
    };
    Some(printable_text(&line))
}

/// Formats a size.
fn format_bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

fn format_duration(seconds: u64) -> String {
    indicatif::HumanDuration(Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(bytes_done: u64) -> ProgressEvent {
        ProgressEvent::Progress {
            bytes_done,
            bytes_total: 1 << 30,
            bytes_verified: 0,
            files_done: 3,
            files_total: 14,
            bytes_per_second: 100 << 20,
            eta_seconds: Some(9),
            retries: 2,
            connections: 8,
            fetching: Vec::new(),
        }
    }

    #[test]
    fn prints_line_every_10_seconds_or_5_percent() {
        let start = Instant::now();
        let mut lines = ProgressLines::default();
        assert!(lines.line_for(&progress(0), start).is_some());
        assert!(lines.line_for(&progress(1 << 20), start + Duration::from_secs(1)).is_none());
        assert!(lines.line_for(&progress(60 << 20), start + Duration::from_secs(2)).is_some());
        assert!(lines.line_for(&progress(61 << 20), start + Duration::from_secs(12)).is_some());
    }

    #[test]
    fn names_of_a_repository_cannot_control_the_terminal() {
        let text = "Icon\r is fetched again\u{1b}[2J".to_owned();
        assert_eq!(
            event_text(&ProgressEvent::Warning { text }).unwrap(),
            "warning: Icon\\r is fetched again\\u{1b}[2J"
        );
    }

    #[test]
    fn progress_line_shows_bytes_files_and_rate() {
        insta::assert_snapshot!(
            event_text(&progress(512 << 20)).unwrap(),
            @"50% 512.00 MiB of 1.00 GiB, 3 of 14 files, 100.00 MiB/s, 9 seconds left, 2 retries"
        );
    }
}
