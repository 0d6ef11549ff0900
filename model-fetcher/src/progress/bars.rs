//! A few lines on a terminal: a bar for each file that is on its way, one for all, and what is waited for.

use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{bytes, duration, words};
use crate::contract::{FileProgress, ProgressEvent, WaitReason};

/// More files than this are only counted.
const MOST_FILES: usize = 4;
const NAME_WIDTH: usize = 32;
const FILE: &str = "{prefix:32!} {wide_bar} {msg:>22!}";
const ALL: &str = "{prefix} {wide_bar} {msg}";
const STATUS: &str = "{wide_msg}";

/// What is on the screen.
pub struct Bars {
    screen: MultiProgress,
    files: HashMap<String, ProgressBar>,
    all: ProgressBar,
    status: ProgressBar,
}

impl Bars {
    pub fn new(target: ProgressDrawTarget) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        let all = screen.add(bar(ALL));
        let status = screen.add(bar(STATUS));
        Self { screen, files: HashMap::new(), all, status }
    }

    pub(super) fn show(&mut self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Progress { fetching, retries, .. } => {
                self.show_all(event);
                self.show_files(fetching);
                self.status.set_message(status(*retries, fetching.len()));
            }
            ProgressEvent::Waiting { reason, detail, seconds } => {
                self.status.set_message(waiting(*reason, detail, *seconds));
            }
            ProgressEvent::FileVerified { path, .. } => self.forget(path),
            ProgressEvent::Complete { .. } | ProgressEvent::Failed { .. } | ProgressEvent::Removed { .. } => {
                self.clear();
                self.print(event);
            }
            ProgressEvent::Started { .. } | ProgressEvent::Planned { .. } | ProgressEvent::Warning { .. } => {
                self.print(event);
            }
        }
    }

    /// A line that stays, above the bars.
    fn print(&self, event: &ProgressEvent) {
        self.screen.suspend(|| super::write_line(&words(event).unwrap_or_default()));
    }

    fn show_all(&self, event: &ProgressEvent) {
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
        self.all.set_length(*bytes_total);
        self.all.set_position(*bytes_done);
        self.all.set_prefix(format!("{files_done} of {files_total} files"));
        let left = eta_seconds.map(|seconds| format!(" {} left", duration(seconds))).unwrap_or_default();
        let (done, total) = (bytes(*bytes_done), bytes(*bytes_total));
        self.all.set_message(format!("{done} of {total} {}/s{left}", bytes(*bytes_per_second)));
    }

    /// The first files get a bar each; one that is no longer worked on loses its bar.
    fn show_files(&mut self, fetching: &[FileProgress]) {
        let shown = &fetching[..fetching.len().min(MOST_FILES)];
        let gone: Vec<String> =
            self.files.keys().filter(|path| !shown.iter().any(|file| file.path == **path)).cloned().collect();
        gone.iter().for_each(|path| self.forget(path));
        for file in shown {
            let (screen, all) = (&self.screen, &self.all);
            let line = self.files.entry(file.path.clone()).or_insert_with(|| {
                let line = screen.insert_before(all, bar(FILE));
                line.set_prefix(shortened(&file.path));
                line
            });
            line.set_length(file.bytes_total);
            line.set_position(file.bytes_done);
            line.set_message(format!("{} of {}", bytes(file.bytes_done), bytes(file.bytes_total)));
        }
    }

    fn forget(&mut self, path: &str) {
        if let Some(line) = self.files.remove(path) {
            line.finish_and_clear();
            self.screen.remove(&line);
        }
    }

    fn clear(&mut self) {
        self.files.drain().for_each(|(_, line)| line.finish_and_clear());
        self.all.finish_and_clear();
        self.status.finish_and_clear();
    }
}

fn bar(template: &str) -> ProgressBar {
    // A template that cannot be read leaves the default one.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length().with_style(style)
}

/// The end of a path says more than its beginning.
fn shortened(path: &str) -> String {
    let length = path.chars().count();
    if length <= NAME_WIDTH {
        return path.to_owned();
    }
    std::iter::once('…').chain(path.chars().skip(length - NAME_WIDTH + 1)).collect()
}

fn status(retries: u64, fetching: usize) -> String {
    let more = match fetching.saturating_sub(MOST_FILES) {
        0 => String::new(),
        more => format!("and {more} more files; "),
    };
    let retries = match retries {
        0 => String::new(),
        1 => "1 retry".to_owned(),
        many => format!("{many} retries"),
    };
    format!("{more}{retries}").trim_end_matches("; ").to_owned()
}

fn waiting(reason: WaitReason, detail: &str, seconds: u64) -> String {
    match reason {
        WaitReason::Lock => format!("waiting since {seconds} s: {detail}"),
        WaitReason::RateLimit | WaitReason::Retry => format!("again in {seconds} s: {detail}"),
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
        let mut bars = Bars::new(ProgressDrawTarget::term_like(Box::new(screen.clone())));
        events.iter().for_each(|event| bars.show(event));
        screen.contents()
    }

    #[test]
    fn each_file_on_its_way_has_a_line_of_eighty_columns() {
        let shards =
            (1..=4).map(|shard| file(&format!("model-0000{shard}-of-00004.safetensors"), shard << 27));
        let screen = screen_after(&[progress(shards.collect(), 2)]);
        insta::assert_snapshot!(screen);
        assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    }

    #[test]
    fn more_files_are_counted_and_waits_are_said() {
        let many: Vec<FileProgress> = (0..7)
            .map(|index| file(&format!("a/very/long/folder/name/tokenizer-{index}.json"), 1 << 29))
            .collect();
        let waits = ProgressEvent::Waiting {
            reason: WaitReason::Retry,
            detail: "HTTP status 503".into(),
            seconds: 3,
        };
        insta::assert_snapshot!(screen_after(&[progress(many.clone(), 0)]));
        insta::assert_snapshot!(screen_after(&[progress(many, 0), waits]));
    }

    #[test]
    fn a_file_that_is_done_leaves_the_screen() {
        let both = progress(vec![file("a", 1), file("b", 1)], 0);
        let done = ProgressEvent::FileVerified { path: "a".into(), bytes: 1 << 30 };
        let screen = screen_after(&[both, done]);
        assert!(screen.contains("\nb ") || screen.starts_with("b "), "{screen}");
        assert!(!screen.contains("\na ") && !screen.starts_with("a "), "{screen}");
    }
}
