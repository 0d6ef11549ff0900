//! The causes this program knows, as data: where a message is found, how it reads, and what mends it.
//! What is not in the tables keeps its own words and the general code of its place.

mod cluster;
mod engine;
#[cfg(test)]
pub(super) mod met;

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{Cause, Subject};
use crate::error::Exit;

/// Where a message is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The scheduler's message on a pod.
    Scheduling,
    /// Why an image was not pulled.
    Image,
    /// Why a container was not made.
    Container,
    /// How a container ended: reason, exit code and its last message.
    Exit,
    /// Why no pod may be made.
    Replicas,
    /// Events about a pod that waits for its volumes.
    Mount,
    /// The operator's conditions on the graph or a component.
    Operator,
    /// A line of a container's log.
    Log,
}

/// One known cause.
#[derive(Debug)]
struct Known {
    code: &'static str,
    place: Place,
    /// A regular expression; the first row that matches wins.
    pattern: &'static str,
    /// What is wrong, with the pattern's groups as `$1`.
    says: &'static str,
    /// What to do, with groups and the words of `Subject::fill`.
    fix: &'static str,
    exit: Exit,
}

static TABLE: LazyLock<Vec<(Regex, &'static Known)>> = LazyLock::new(|| {
    let compiled = |known: &'static Known| {
        (Regex::new(known.pattern).expect("the patterns are constants, and a test compiles them"), known)
    };
    cluster::KNOWN.iter().chain(engine::KNOWN).map(compiled).collect()
});

/// The codes of the tables.
pub fn codes() -> Vec<&'static str> {
    let mut codes: Vec<&str> = TABLE.iter().map(|(_, known)| known.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// What a message of a place means for the subject, if the tables know it.
pub(super) fn find(place: Place, message: &str, subject: &Subject) -> Option<Cause> {
    let mut rows = TABLE.iter().filter(|(_, known)| known.place == place);
    rows.find_map(|(pattern, known)| Some(cause(known, &pattern.captures(message)?, subject)))
}

/// What a log means for the subject: of all lines the one that the earliest row matches, since what is listed first
/// explains what follows it.
pub(super) fn find_in_log(lines: &[String], subject: &Subject) -> Option<Cause> {
    find(Place::Log, telling_line(lines)?, subject)
}

/// The line that [`find_in_log`] goes by.
pub(super) fn telling_line(lines: &[String]) -> Option<&str> {
    let mut rows = TABLE.iter().filter(|(_, known)| known.place == Place::Log);
    rows.find_map(|(pattern, _)| lines.iter().rev().find(|line| pattern.is_match(line))).map(String::as_str)
}

fn cause(known: &Known, captures: &Captures, subject: &Subject) -> Cause {
    let filled = |template: &str| {
        let mut text = String::new();
        captures.expand(template, &mut text);
        subject.fill(&text)
    };
    Cause {
        code: known.code,
        text: filled(known.says).trim_end_matches([' ', ':']).to_owned(),
        fix: filled(known.fix),
        exit: known.exit,
        place: subject.place(),
    }
}

#[cfg(test)]
mod tests {
    use super::met::MET;
    use super::*;

    fn subject() -> Subject {
        Subject {
            name: "tiny".into(),
            namespace: "serving".into(),
            pod: Some("tiny-decode-0".into()),
            role: "decode".into(),
        }
    }

    #[test]
    fn every_known_cause_is_told_from_a_message() {
        for (code, place, message, says) in MET {
            let lines = [String::from("an unknown line before"), (*message).to_owned()];
            let cause = match place {
                Place::Log => find_in_log(&lines, &subject()),
                place => find(*place, message, &subject()),
            };
            let Some(cause) = cause else { panic!("{code} is not told from {message}") };
            assert_eq!(cause.code, *code, "{message}");
            assert!(cause.text.contains(says), "{code}: {}", cause.text);
            assert!(!cause.fix.is_empty() && !cause.fix.contains(['{', '$']), "{code}: {}", cause.fix);
        }
    }

    #[test]
    fn what_the_engine_suggests_is_the_fix() {
        let line = MET.iter().find(|(code, ..)| *code == "KD0604").map(|(_, _, line, _)| (*line).to_owned());
        let cause = find_in_log(&[line.unwrap_or_default()], &subject()).expect("the row is met");
        assert_eq!(cause.fix, "kubectl dynamo up tiny -n serving --decode-arg=--max-model-len=968000");
    }

    #[test]
    fn every_row_is_met() {
        for (pattern, known) in TABLE.iter() {
            let met = MET.iter().any(|(code, place, message, _)| {
                *code == known.code && *place == known.place && pattern.is_match(message)
            });
            assert!(met, "no message is met by {} {}", known.code, known.pattern);
        }
    }

    #[test]
    fn an_unknown_line_is_no_cause() {
        assert!(find_in_log(&["INFO all is well".to_owned()], &subject()).is_none());
        assert!(find(Place::Scheduling, "something new", &subject()).is_none());
    }
}
