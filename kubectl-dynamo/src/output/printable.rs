//! Makes text from elsewhere safe to print: from a model, an endpoint, a log, or an object in a cluster. Escape
//! sequences could move the cursor, change the title or the clipboard of the terminal, and hide or forge output.
//! The text is the same on a terminal and in a pipe, because the reader of a pipe is often a terminal, too.
//!
//! Removed are the control characters of C0 and C1 except tab and line feed, complete escape sequences, and the
//! characters that change the direction of the text after them (Unicode bidirectional embeddings, overrides, and
//! isolates).

use std::borrow::Cow;

/// Longest parameters of a control sequence and longest text of a control string, in characters. A terminal ignores
/// longer ones or waits for the end; here, the text after it stays visible.
const MAX_SEQUENCE: usize = 256;

/// The part of an escape sequence that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// After ESC, and intermediate characters.
    Escape,
    /// After CSI: parameters and intermediate characters, up to a final character.
    ControlSequence(usize),
    /// After OSC, DCS, SOS, PM, or APC: text up to BEL or ST.
    ControlString(usize),
    /// After ESC in a control string; `\` ends it.
    StringEscape(usize),
    /// After a carriage return; a line feed belongs to it.
    CarriageReturn,
}

/// Removes control characters and escape sequences from text that arrives in parts. A sequence can start in one part
/// and end in another.
#[derive(Debug, Default)]
pub(crate) struct PrintableText {
    state: State,
}

impl PrintableText {
    /// Returns the printable text of the next part.
    pub(crate) fn push(&mut self, part: &str) -> String {
        let mut text = String::with_capacity(part.len());
        for letter in part.chars() {
            self.push_letter(letter, &mut text);
        }
        text
    }

    fn push_letter(&mut self, letter: char, text: &mut String) {
        self.state = match (self.state, letter) {
            // A line feed ends every sequence, so that a sequence without an end hides at most one line.
            (_, '\n') => {
                text.push(letter);
                State::Text
            }
            (State::ControlString(_), '\u{7}' | '\u{9c}') | (State::StringEscape(_), '\\') => State::Text,
            (State::ControlString(read), '\u{1b}') => State::StringEscape(read),
            (State::ControlString(read) | State::StringEscape(read), _) if read < MAX_SEQUENCE => {
                State::ControlString(read + 1)
            }
            (State::ControlSequence(_), '\u{40}'..='\u{7e}') => State::Text,
            (State::ControlSequence(read), '\u{20}'..='\u{3f}') if read < MAX_SEQUENCE => {
                State::ControlSequence(read + 1)
            }
            (State::Escape, '[') | (_, '\u{9b}') => State::ControlSequence(0),
            (State::Escape, ']' | 'P' | 'X' | '^' | '_') => State::ControlString(0),
            (State::Escape, '\u{20}'..='\u{2f}') => State::Escape,
            (State::Escape, '\u{30}'..='\u{7e}') => State::Text,
            (_, '\u{1b}') => State::Escape,
            (_, '\u{9d}' | '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}') => State::ControlString(0),
            (State::CarriageReturn, letter) => {
                // The terminal would write over the line.
                text.push(' ');
                self.state = State::Text;
                return self.push_letter(letter, text);
            }
            (_, '\r') => State::CarriageReturn,
            (_, letter) => {
                if !is_removed(letter) {
                    text.push(letter);
                }
                State::Text
            }
        };
    }
}

/// Returns the printable text of a complete text.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_removed) { PrintableText::default().push(text).into() } else { text.into() }
}

/// Whether a character is never printed.
fn is_removed(letter: char) -> bool {
    (letter.is_control() && !matches!(letter, '\t' | '\n')) || is_direction_change(letter)
}

fn is_direction_change(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Returns the printable text of data for stdout. JSON keeps every character, as an escape.
pub(crate) fn printable_data(text: &str) -> Cow<'_, str> {
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    match text.chars().any(is_removed) {
        true if is_json() => escape_json(text),
        true => printable(text),
        false => text.into(),
    }
}

/// Escapes the characters in JSON text that are not printed otherwise. They can only be inside strings, so the value
/// of the JSON text does not change.
pub(crate) fn escape_json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_removed) {
        return text.into();
    }
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_removed(letter) {
            true => escaped += &format!("\\u{:04x}", u32::from(letter)),
            false => escaped.push(letter),
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_control_characters_and_escape_sequences() {
        for (text, printed) in [
            ("plain ä \u{1f600}\ttab\nline", "plain ä \u{1f600}\ttab\nline"),
            ("a\u{1b}[31mred\u{1b}[0m\u{1b}[2J\u{1b}[10;20Hb", "aredb"),
            ("a\u{1b}]0;title\u{7}b\u{1b}]52;c;aGk=\u{1b}\\c", "abc"),
            ("a\u{9b}2Jb\u{9d}0;title\u{9c}c\u{90}q\u{1b}\\d", "abcd"),
            ("a\u{1b}(Bb\u{1b}cc\u{1b}Pdcs\u{1b}\\d\u{1b}_apc\u{7}e", "abcde"),
            ("bell\u{7} back\u{8}space del\u{7f} nel\u{85} nul\0", "bell backspace del nel nul"),
            ("line\r\nover\rwritten\r", "line\nover written"),
            ("\u{202e}txt.exe\u{202c} \u{2066}a\u{2069}", "txt.exe a"),
            // Marks that do not reorder other text stay, as Arabic and Hebrew need them.
            ("\u{200e}a\u{200f}\u{200d}", "\u{200e}a\u{200f}\u{200d}"),
            // A sequence without an end does not hide the lines after it.
            ("a\u{1b}]0;hidden\nvisible", "a\nvisible"),
            ("a\u{1b}[31\nvisible", "a\nvisible"),
            ("a\u{1b}[3ä", "aä"),
        ] {
            assert_eq!(printable(text), printed, "{text:?}");
        }
        let endless = format!("\u{1b}]{}visible", "x".repeat(MAX_SEQUENCE));
        assert_eq!(printable(&endless), "visible");
    }

    #[test]
    fn parts_do_not_matter() {
        let text = "a\u{1b}[31mred\u{1b}]0;title\u{7}b\u{9b}2J\r\nc\rd\u{1b}P\u{1b}\\e";
        let letters: Vec<char> = text.chars().collect();
        for cut in 0..=letters.len() {
            let mut printer = PrintableText::default();
            let (start, end) = letters.split_at(cut);
            let printed = [start, end].map(|part| printer.push(&part.iter().collect::<String>())).concat();
            assert_eq!(printed, "aredb\nc de", "split at {cut}");
        }
    }

    #[test]
    fn json_is_escaped_and_not_changed() {
        let value = serde_json::json!({ "a": "\u{1b}[31m\u{9b}2J\u{202e}\u{7f} ä\r\n" });
        let text = format!("{value:#}\n");
        let escaped = escape_json(&text);
        assert!(!escaped.chars().any(is_removed), "{escaped}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).expect("JSON"), value);
        assert_eq!(printable_data(&text), escaped);
        assert_eq!(printable_data("{a} \u{9b}2J"), "{a} ");
    }
}
