//! Where a log was left, so that it can be read on without a line lost or shown twice.
//!
//! A server resumes at a whole second only: it is asked for the second of the newest line, and sends again those of
//! that second that were read before, in the same order.

use jiff::Timestamp;

/// How far a log was read.
#[derive(Debug, Default)]
pub(super) struct Position {
    newest: Option<Timestamp>,
    /// Lines read of the newest line's second, and of later ones that came before it.
    of_second: usize,
    /// How many of those are still to come again.
    again: usize,
    lines: u64,
}

/// A line and when it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub written: &'a str,
    pub text: &'a str,
}

impl Position {
    /// How many lines were taken.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// From when on to ask; nothing before the first line.
    pub(super) fn resume(&mut self) -> Option<Timestamp> {
        self.again = self.of_second;
        self.newest.and_then(second)
    }

    /// Takes a line as the server sends it, with its time before it; none when it was read before.
    pub(super) fn take<'a>(&mut self, line: &'a str) -> Option<Line<'a>> {
        let (written, text) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(time) = written.parse::<Timestamp>() else {
            // The server's own words, such as why it stops.
            return Some(Line { written: "", text: line });
        };
        if self.again > 0 && Some(time) <= self.newest {
            self.again -= 1;
            return None;
        }
        self.again = 0;
        self.lines += 1;
        match self.newest.and_then(second) {
            Some(newest) if time < newest => {}
            newest if newest == second(time) => self.of_second += 1,
            _ => self.of_second = 1,
        }
        self.newest = self.newest.max(Some(time));
        Some(Line { written, text })
    }
}

/// Its second, without what is below.
fn second(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of these lines when the stream is cut after so many, and the server then sends what a server
    /// does: every line of the second it is asked for and later.
    fn shown(log: &[&str], cut: usize) -> Vec<String> {
        let mut position = Position::default();
        let mut shown = Vec::new();
        let mut read = |position: &mut Position, line: &str| {
            shown.extend(position.take(line).map(|line| line.text.to_owned()));
        };
        for line in &log[..cut] {
            read(&mut position, line);
        }
        let since = position.resume();
        for line in log {
            let time: Timestamp = line.split(' ').next().and_then(|time| time.parse().ok()).expect("a time");
            if since.is_none_or(|since| time >= since) {
                read(&mut position, line);
            }
        }
        shown
    }

    #[test]
    fn a_cut_anywhere_loses_and_repeats_nothing() {
        let log = [
            "2026-11-25T10:00:00.1Z a",
            "2026-11-25T10:00:00.999999999Z b",
            "2026-11-25T10:00:01Z c",
            "2026-11-25T10:00:01.5Z d",
            // Two streams of one container may overtake each other.
            "2026-11-25T10:00:01.4Z e",
            "2026-11-25T10:00:01.3Z f",
            "2026-11-25T10:00:01.5Z g",
            "2026-11-25T12:00:02.5+02:00 h",
            "2026-11-25T10:00:09.7Z i",
        ];
        for cut in 0..=log.len() {
            let all: Vec<String> = "abcdefghi".chars().map(String::from).collect();
            assert_eq!(shown(&log, cut), all, "cut after {cut}");
        }
    }

    #[test]
    fn a_line_keeps_its_blanks_and_may_be_empty() {
        let mut position = Position::default();
        let written = "2026-11-25T10:00:00.1Z";
        assert_eq!(
            position.take("2026-11-25T10:00:00.1Z   three  blanks "),
            Some(Line { written, text: "  three  blanks " })
        );
        assert_eq!(position.take(&format!("{written} ")), Some(Line { written, text: "" }));
        let words = "failed to create fsnotify watcher: too many open files";
        assert_eq!(position.take(words), Some(Line { written: "", text: words }));
    }
}
