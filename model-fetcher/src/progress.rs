//! Events to what a person or a program reads on stderr: bars on a terminal, lines in a log, JSON for the plugin.
//!
//! Only this and what is below it use indicatif.

mod bars;

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use bars::Bars;
use indicatif::ProgressDrawTarget;

use crate::arguments::ProgressMode;
use crate::contract::ProgressEvent;

const LINE_EVERY: Duration = Duration::from_secs(10);
const LINE_EVERY_PERCENT: u64 = 5;

/// A reader of events.
pub enum Progress {
    Bars(Bars),
    Lines(Lines),
    Json,
    Silent,
}

/// When the last line about bytes was written, and at what percentage.
#[derive(Default)]
pub struct Lines {
    last: Option<(Instant, u64)>,
}

impl Progress {
    pub fn new(mode: ProgressMode) -> Self {
        match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => Self::new(ProgressMode::Tty),
            ProgressMode::Auto | ProgressMode::Plain => Progress::Lines(Lines::default()),
            ProgressMode::Tty => Progress::Bars(Bars::new(ProgressDrawTarget::stderr())),
            ProgressMode::Json => Progress::Json,
            ProgressMode::None => Progress::Silent,
        }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &ProgressEvent) {
        match self {
            Progress::Bars(bars) => bars.show(event),
            Progress::Lines(lines) => {
                if let Some(line) = lines.line(event, Instant::now()) {
                    write_line(&line);
                }
            }
            Progress::Json => write_line(&serde_json::to_string(event).unwrap_or_default()),
            // An error is never silent: there is no other place for it.
            Progress::Silent => {
                if let (ProgressEvent::Failed { .. }, Some(line)) = (event, words(event)) {
                    write_line(&line);
                }
            }
        }
    }
}

fn write_line(line: &str) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Lines {
    /// The line for an event, if it is worth one now.
    fn line(&mut self, event: &ProgressEvent, now: Instant) -> Option<String> {
        if let ProgressEvent::Progress { bytes_done, bytes_total, .. } = event {
            let percent = bytes_done * 100 / (*bytes_total).max(1);
            let due = match self.last {
                None => true,
                Some((at, last)) => {
                    now.duration_since(at) >= LINE_EVERY || percent >= last + LINE_EVERY_PERCENT
                }
            };
            if !due {
                return None;
            }
            self.last = Some((now, percent));
        }
        words(event)
    }
}

/// One event in words.
pub(crate) fn words(event: &ProgressEvent) -> Option<String> {
    let line = match event {
        ProgressEvent::Started { repository, revision, folder } => {
            format!("fetching {repository} at {revision} into {}", folder.display())
        }
        ProgressEvent::Planned { commit, files, bytes: total, files_to_fetch, bytes_present } => format!(
            "commit {}: {files} files, {}; {files_to_fetch} to fetch, {} present",
            &commit[..commit.len().min(12)],
            bytes(*total),
            bytes(*bytes_present)
        ),
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
            let left = eta_seconds.map(|seconds| format!(", {} left", duration(seconds))).unwrap_or_default();
            let retries = if *retries > 0 { format!(", {retries} retries") } else { String::new() };
            format!(
                "{}% {} of {}, {files_done} of {files_total} files, {}/s{left}{retries}",
                bytes_done * 100 / (*bytes_total).max(1),
                bytes(*bytes_done),
                bytes(*bytes_total),
                bytes(*bytes_per_second)
            )
        }
        ProgressEvent::FileVerified { .. } => return None,
        ProgressEvent::Removed { folder, was_there: true } => format!("removed: {}", folder.display()),
        ProgressEvent::Removed { folder, was_there: false } => {
            format!("nothing to remove: {} is not there", folder.display())
        }
        ProgressEvent::Waiting { detail, seconds, .. } => format!("waiting ({seconds} s): {detail}"),
        ProgressEvent::Warning { text } => format!("warning: {text}"),
        ProgressEvent::Complete { folder, commit, files, bytes: total, bytes_fetched, seconds } => format!(
            "complete: {} at {}, {files} files, {}; {} fetched in {seconds:.1} s",
            folder.display(),
            &commit[..commit.len().min(12)],
            bytes(*total),
            bytes(*bytes_fetched)
        ),
        ProgressEvent::Failed { error, hint, .. } => match hint {
            Some(hint) => format!("error: {error}\n  hint: {hint}"),
            None => format!("error: {error}"),
        },
    };
    Some(line)
}

/// A size in words.
fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

fn duration(seconds: u64) -> String {
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
    fn a_log_gets_a_line_each_ten_seconds_or_five_percent() {
        let start = Instant::now();
        let mut lines = Lines::default();
        assert!(lines.line(&progress(0), start).is_some());
        assert!(lines.line(&progress(1 << 20), start + Duration::from_secs(1)).is_none());
        assert!(lines.line(&progress(60 << 20), start + Duration::from_secs(2)).is_some());
        assert!(lines.line(&progress(61 << 20), start + Duration::from_secs(12)).is_some());
    }

    #[test]
    fn a_line_says_what_moves_and_how_fast() {
        insta::assert_snapshot!(
            words(&progress(512 << 20)).unwrap(),
            @"50% 512.00 MiB of 1.00 GiB, 3 of 14 files, 100.00 MiB/s, 9 seconds left, 2 retries"
        );
    }
}
