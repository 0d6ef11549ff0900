//! Filters log lines and formats them with the pod name and an optional timestamp. It does not read or print
//! logs.

use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use regex::Regex;

use super::cursor::LogLine;
use crate::output::printable;

const COLORS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Yellow,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// The conditions that a line must meet, and whether to print timestamps.
#[derive(Debug, Default)]
pub(crate) struct LineFilter {
    /// If not empty, at least one must match.
    pub include: Vec<Regex>,
    /// None of these may match.
    pub exclude: Vec<Regex>,
    pub timestamps: bool,
}

/// The format of the lines of one pod.
#[derive(Debug, Clone)]
pub(super) struct LineFormat {
    prefix: String,
    filter: Arc<LineFilter>,
}

impl LineFormat {
    /// Creates the format for the pod with this index, which selects the color.
    pub(super) fn for_pod(pod: &str, index: usize, filter: Arc<LineFilter>) -> Self {
        let color: Style = COLORS[index % COLORS.len()].on_default();
        Self { prefix: format!("{color}{}{color:#} | ", printable(pod)), filter }
    }

    /// Returns the formatted line, or `None` if the filter rejects it.
    pub(super) fn format_line(&self, line: &LogLine<'_>) -> Option<String> {
        let matches = |expressions: &[Regex]| expressions.iter().any(|one| one.is_match(line.text));
        let filter = &*self.filter;
        if (!filter.include.is_empty() && !matches(&filter.include)) || matches(&filter.exclude) {
            return None;
        }
        let timestamp = if filter.timestamps && !line.timestamp.is_empty() { line.timestamp } else { "" };
        let separator = if timestamp.is_empty() { "" } else { " " };
        Some(format!("{}{timestamp}{separator}{}\n", self.prefix, printable(line.text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn include_and_exclude_expressions_filter_lines() {
        let expressions = |texts: &[&str]| texts.iter().filter_map(|text| Regex::new(text).ok()).collect();
        for (include, exclude, text, is_shown) in [
            (&[][..], &[][..], "GET /health 200", true),
            (&["GET", "POST"], &[], "POST /v1", true),
            (&["GET", "POST"], &[], "PUT /v1", false),
            (&["GET"], &["/health"], "GET /health 200", false),
            (&[], &["^$"], "", false),
            (&["(?i)error"], &[], "ERROR: no GPU", true),
        ] {
            let filter = LineFilter {
                include: expressions(include),
                exclude: expressions(exclude),
                timestamps: false,
            };
            let line = LogLine { timestamp: "2026-11-25T10:00:00Z", text };
            let formatted = LineFormat::for_pod("pod", 0, Arc::new(filter)).format_line(&line);
            assert_eq!(formatted.is_some(), is_shown, "{text}");
        }
    }

    #[test]
    fn escape_sequences_of_a_log_line_are_removed() {
        let line = LogLine { timestamp: "", text: "\u{1b}[32mINFO\u{1b}[0m \u{1b}]0;title\u{7}started" };
        let formatted = LineFormat::for_pod("pod", 0, Arc::default()).format_line(&line).unwrap_or_default();
        assert!(formatted.ends_with(" | INFO started\n"), "{formatted:?}");
    }

    #[test]
    fn timestamps_option_prefixes_each_line() {
        let line = LogLine { timestamp: "2026-11-25T10:00:00.1Z", text: "hello" };
        let formatted = |timestamps| {
            let filter = LineFilter { timestamps, ..LineFilter::default() };
            let line =
                LineFormat::for_pod("pod-0", 1, Arc::new(filter)).format_line(&line).unwrap_or_default();
            anstream::adapter::strip_str(&line).to_string()
        };
        assert_eq!(formatted(false), "pod-0 | hello\n");
        assert_eq!(formatted(true), "pod-0 | 2026-11-25T10:00:00.1Z hello\n");
    }
}
