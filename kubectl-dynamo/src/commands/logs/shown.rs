//! Which lines are shown, and how.

use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use regex::Regex;

use super::position::Line;

const COLOURS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Yellow,
    AnsiColor::Blue,
    AnsiColor::BrightRed,
];

/// What is asked of every line.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// One of these must match, where there are any.
    pub include: Vec<Regex>,
    /// None of these may match.
    pub exclude: Vec<Regex>,
    pub timestamps: bool,
}

/// How the lines of one pod are shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    head: String,
    wanted: Arc<Wanted>,
}

impl Shown {
    /// Of the pod that was the `number`th to be met.
    pub(super) fn of(pod: &str, number: usize, wanted: Arc<Wanted>) -> Self {
        let colour: Style = COLOURS[number % COLOURS.len()].on_default();
        Self { head: format!("{colour}{pod}{colour:#} | "), wanted }
    }

    /// The line as it is printed; none when it is not wanted.
    pub(super) fn line(&self, line: &Line<'_>) -> Option<String> {
        let matches = |expressions: &[Regex]| expressions.iter().any(|one| one.is_match(line.text));
        let wanted = &*self.wanted;
        if (!wanted.include.is_empty() && !matches(&wanted.include)) || matches(&wanted.exclude) {
            return None;
        }
        let stamp = if wanted.timestamps && !line.written.is_empty() { line.written } else { "" };
        let blank = if stamp.is_empty() { "" } else { " " };
        Some(format!("{}{stamp}{blank}{}\n", self.head, line.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_must_be_included_and_not_excluded() {
        let expressions = |texts: &[&str]| texts.iter().filter_map(|text| Regex::new(text).ok()).collect();
        for (include, exclude, text, shown) in [
            (&[][..], &[][..], "GET /health 200", true),
            (&["GET", "POST"], &[], "POST /v1", true),
            (&["GET", "POST"], &[], "PUT /v1", false),
            (&["GET"], &["/health"], "GET /health 200", false),
            (&[], &["^$"], "", false),
            (&["(?i)error"], &[], "ERROR: no GPU", true),
        ] {
            let wanted =
                Wanted { include: expressions(include), exclude: expressions(exclude), timestamps: false };
            let line = Line { written: "2026-11-25T10:00:00Z", text };
            let printed = Shown::of("pod", 0, Arc::new(wanted)).line(&line);
            assert_eq!(printed.is_some(), shown, "{text}");
        }
    }

    #[test]
    fn times_are_shown_when_they_are_asked_for() {
        let line = Line { written: "2026-11-25T10:00:00.1Z", text: "hello" };
        let shown = |timestamps| {
            let wanted = Wanted { timestamps, ..Wanted::default() };
            let line = Shown::of("pod-0", 1, Arc::new(wanted)).line(&line).unwrap_or_default();
            anstream::adapter::strip_str(&line).to_string()
        };
        assert_eq!(shown(false), "pod-0 | hello\n");
        assert_eq!(shown(true), "pod-0 | 2026-11-25T10:00:00.1Z hello\n");
    }
}
