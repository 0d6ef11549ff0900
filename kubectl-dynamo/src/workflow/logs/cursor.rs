//! A cursor in a container log, so that reading resumes without lost or repeated lines.
//!
//! The API server resumes only at a whole second. The cursor requests the second of the newest line and skips
//! the lines of that second that were already read, which the server sends again in the same order.

use jiff::Timestamp;

/// The position up to which a log was read.
#[derive(Debug, Default)]
pub(super) struct LogCursor {
    newest_timestamp: Option<Timestamp>,
    /// Lines read in the second of the newest line, including out-of-order lines of earlier seconds.
    lines_in_newest_second: usize,
    /// Number of those lines that the server will send again.
    expected_repeats: usize,
    line_count: u64,
}

/// A log line and its timestamp.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogLine<'a> {
    pub timestamp: &'a str,
    pub text: &'a str,
}

impl LogCursor {
    /// Returns the number of accepted lines.
    pub(super) fn line_count(&self) -> u64 {
        self.line_count
    }

    /// Returns the time from which to resume; `None` before the first line.
    pub(super) fn resume(&mut self) -> Option<Timestamp> {
        self.expected_repeats = self.lines_in_newest_second;
        self.newest_timestamp.and_then(truncate_to_second)
    }

    /// Parses a line as the server sends it, with a leading timestamp. Returns `None` if it was already read.
    pub(super) fn accept<'a>(&mut self, line: &'a str) -> Option<LogLine<'a>> {
        let (timestamp, text) = line.split_once(' ').unwrap_or((line, ""));
        let Ok(time) = timestamp.parse::<Timestamp>() else {
            // A message of the server, such as the reason why it stops.
            return Some(LogLine { timestamp: "", text: line });
        };
        if self.expected_repeats > 0 && Some(time) <= self.newest_timestamp {
            self.expected_repeats -= 1;
            return None;
        }
        self.expected_repeats = 0;
        self.line_count += 1;
        match self.newest_timestamp.and_then(truncate_to_second) {
            Some(newest) if time < newest => {}
            newest if newest == truncate_to_second(time) => self.lines_in_newest_second += 1,
            _ => self.lines_in_newest_second = 1,
        }
        self.newest_timestamp = self.newest_timestamp.max(Some(time));
        Some(LogLine { timestamp, text })
    }
}

/// Truncates a timestamp to whole seconds.
fn truncate_to_second(time: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the accepted lines if the stream is interrupted after `cut` lines and the server then sends
    /// every line from the requested second on.
    fn read_with_cut(log: &[&str], read_before_cut: usize) -> Vec<String> {
        let mut cursor = LogCursor::default();
        let mut lines = Vec::new();
        let mut read = |cursor: &mut LogCursor, line: &str| {
            lines.extend(cursor.accept(line).map(|line| line.text.to_owned()));
        };
        for line in &log[..read_before_cut] {
            read(&mut cursor, line);
        }
        let since = cursor.resume();
        for line in log {
            let time: Timestamp =
                line.split(' ').next().and_then(|time| time.parse().ok()).expect("a timestamp");
            if since.is_none_or(|since| time >= since) {
                read(&mut cursor, line);
            }
        }
        lines
    }

    #[test]
    fn interrupted_stream_resumes_without_loss_or_duplicates() {
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
            let expected: Vec<String> = "abcdefghi".chars().map(String::from).collect();
            assert_eq!(read_with_cut(&log, cut), expected, "cut after {cut}");
        }
    }

    #[test]
    fn preserves_whitespace_and_empty_lines() {
        let mut cursor = LogCursor::default();
        let timestamp = "2026-11-25T10:00:00.1Z";
        assert_eq!(
            cursor.accept("2026-11-25T10:00:00.1Z   three  blanks "),
            Some(LogLine { timestamp, text: "  three  blanks " })
        );
        assert_eq!(cursor.accept(&format!("{timestamp} ")), Some(LogLine { timestamp, text: "" }));
        let message = "failed to create fsnotify watcher: too many open files";
        assert_eq!(cursor.accept(message), Some(LogLine { timestamp: "", text: message }));
    }
}
