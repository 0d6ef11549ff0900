//! Draws progress bars on a terminal: one for each file in transfer, one for the total, and a line for waits.
//! It must not print to stdout.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{event_text, format_bytes, format_duration};
use model_fetcher_contract::{FileProgress, ProgressEvent, WaitReason, printable_name};

/// Files above this number are only counted.
const MAX_FILE_BARS: usize = 4;
const NAME_WIDTH: usize = 32;
const FILE_TEMPLATE: &str = "{prefix:32!} {wide_bar} {msg:>22!}";
const TOTAL_TEMPLATE: &str = "{prefix} {wide_bar} {msg}";
const STATUS_TEMPLATE: &str = "{wide_msg}";

/// The bars on the screen.
pub struct ProgressBars {
    screen: MultiProgress,
    file_bars: HashMap<String, ProgressBar>,
    total: ProgressBar,
    status: ProgressBar,
}

impl ProgressBars {
    pub fn new(target: ProgressDrawTarget) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        let total = screen.add(new_bar(TOTAL_TEMPLATE));
        let status = screen.add(new_bar(STATUS_TEMPLATE));
        Self { screen, file_bars: HashMap::new(), total, status }
    }

    pub(super) fn show(&mut self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Progress { fetching, retries, .. } => {
                self.show_total(event);
                self.show_files(fetching);
                self.status.set_message(status_text(*retries, fetching.len()));
            }
            ProgressEvent::Waiting { reason, detail, seconds } => {
                self.status.set_message(waiting_text(*reason, &printable_name(detail), *seconds));
            }
            ProgressEvent::FileVerified { path, .. } => self.remove_file_bar(path),
            ProgressEvent::Complete { .. } | ProgressEvent::Failed { .. } | ProgressEvent::Removed { .. } => {
                self.clear();
                self.print(event);
            }
            ProgressEvent::Started { .. } | ProgressEvent::Planned { .. } | ProgressEvent::Warning { .. } => {
                self.print(event);
            }
        }
    }

    /// Prints a permanent line above the bars.
    fn print(&self, event: &ProgressEvent) {
        self.screen.suspend(|| super::write_line(&event_text(event).unwrap_or_default()));
    }

    fn show_total(&self, event: &ProgressEvent) {
        let ProgressEvent::Progress {
            bytes_done,
            bytes_total,
            files_done,
            files_total,
            bytes_per_second,
            eta_seconds,
            ..
        } = event
        else {
            return;
        };
        self.total.set_length(*bytes_total);
        self.total.set_position(*bytes_done);
        self.total.set_prefix(format!("{files_done} of {files_total} files"));
        let remaining =
            eta_seconds.map(|seconds| format!(" {} left", format_duration(seconds))).unwrap_or_default();
        let (done, total) = (format_bytes(*bytes_done), format_bytes(*bytes_total));
        self.total.set_message(format!("{done} of {total} {}/s{remaining}", format_bytes(*bytes_per_second)));
    }

    /// Shows a bar for each of the first files and removes the bars of finished files.
    fn show_files(&mut self, fetching: &[FileProgress]) {
        let visible = &fetching[..fetching.len().min(MAX_FILE_BARS)];
        let finished: Vec<String> = self
            .file_bars
            .keys()
            .filter(|path| !visible.iter().any(|file| file.path == **path))
            .cloned()
            .collect();
        finished.iter().for_each(|path| self.remove_file_bar(path));
        for file in visible {
            let (screen, total) = (&self.screen, &self.total);
            let line = self.file_bars.entry(file.path.clone()).or_insert_with(|| {
                let line = screen.insert_before(total, new_bar(FILE_TEMPLATE));
                line.set_prefix(shorten_path(&printable_name(&file.path)));
                line
            });
            line.set_length(file.bytes_total);
            line.set_position(file.bytes_done);
            line.set_message(format!(
                "{} of {}",
                format_bytes(file.bytes_done),
                format_bytes(file.bytes_total)
            ));
        }
    }

    fn remove_file_bar(&mut self, path: &str) {
        if let Some(line) = self.file_bars.remove(path) {
            line.finish_and_clear();
            self.screen.remove(&line);
        }
    }

    fn clear(&mut self) {
        self.file_bars.drain().for_each(|(_, line)| line.finish_and_clear());
        self.total.finish_and_clear();
        self.status.finish_and_clear();
    }
}

fn new_bar(template: &str) -> ProgressBar {
    // An invalid template falls back to the default style.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}

/// Shortens a path at its start, because its end identifies the file.
fn shorten_path(path: &str) -> String {
    let length = path.chars().count();
    if length <= NAME_WIDTH {
        return path.to_owned();
    }
    std::iter::once('…').chain(path.chars().skip(length - NAME_WIDTH + 1)).collect()
}

fn status_text(retries: u64, fetching: usize) -> String {
    let hidden = match fetching.saturating_sub(MAX_FILE_BARS) {
        0 => String::new(),
        hidden => format!("and {hidden} more files; "),
    };
    let retries = match retries {
        0 => String::new(),
        1 => "1 retry".to_owned(),
        count => format!("{count} retries"),
    };
    format!("{hidden}{retries}").trim_end_matches("; ").to_owned()
}

fn waiting_text(reason: WaitReason, detail: &str, seconds: u64) -> String {
    match reason {
        WaitReason::Lock => format!("waiting for {seconds} s: {detail}"),
        WaitReason::RateLimit | WaitReason::Retry => format!("retrying in {seconds} s: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;

    use super::*;

    fn file(path: &str, bytes_done: u64) -> FileProgress {
        FileProgress { path: path.into(), bytes_done, bytes_total: 1 << 30 }
    }

    fn progress(fetching: Vec<FileProgress>, retries: u64) -> ProgressEvent {
        ProgressEvent::Progress {
            bytes_done: 3 << 29,
            bytes_total: 4 << 30,
            bytes_verified: 1 << 30,
            files_done: 10,
            files_total: 14,
            bytes_per_second: 412 << 20,
            eta_seconds: Some(6),
            retries,
            connections: 8,
            fetching,
        }
    }

    fn screen_after(events: &[ProgressEvent]) -> String {
        let screen = InMemoryTerm::new(20, 80);
        let mut bars = ProgressBars::new(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        events.iter().for_each(|event| bars.show(event));
        screen.contents()
    }

    #[test]
    fn each_active_file_has_a_line_within_80_columns() {
        let shards =
            (1..=4).map(|shard| file(&format!("model-0000{shard}-of-00004.safetensors"), shard << 27));
        let screen = screen_after(&[progress(shards.collect(), 2)]);
        insta::assert_snapshot!(screen);
        assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    }

    #[test]
    fn shows_hidden_file_count_and_retry_wait() {
        let many_files: Vec<FileProgress> = (0..7)
            .map(|index| file(&format!("a/very/long/folder/name/tokenizer-{index}.json"), 1 << 29))
            .collect();
        let waits = ProgressEvent::Waiting {
            reason: WaitReason::Retry,
            detail: "HTTP status 503".into(),
            seconds: 3,
        };
        insta::assert_snapshot!(screen_after(&[progress(many_files.clone(), 0)]));
        insta::assert_snapshot!(screen_after(&[progress(many_files, 0), waits]));
    }

    #[test]
    fn verified_file_is_removed_from_screen() {
        let both = progress(vec![file("a", 1), file("b", 1)], 0);
        let done = ProgressEvent::FileVerified { path: "a".into(), bytes: 1 << 30 };
        let screen = screen_after(&[both, done]);
        assert!(screen.contains("\nb ") || screen.starts_with("b "), "{screen}");
        assert!(!screen.contains("\na ") && !screen.starts_with("a "), "{screen}");
    }
}
