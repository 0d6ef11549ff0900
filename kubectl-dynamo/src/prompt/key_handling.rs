//! What each key does to a question. It is pure: the line editor reads the keys and draws the result.

use rustyline::{KeyCode, KeyEvent, Modifiers};

use super::{
    AnswerCheck, ChoiceQuestion, InvalidAnswer, OtherKeys, TextQuestion, choice_with_prefix, or_default,
};

/// The effect of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyEffect {
    /// The line editor handles the key.
    Edit,
    Ignore,
    /// Only the lines below the question change.
    Redraw,
    ReplaceLine(String),
    Accept,
    Cancel,
}

/// A question that is answered with keys.
pub(super) trait KeyHandler: Send {
    /// Returns the effect of a key on a question with this line.
    fn press(&mut self, key: KeyEvent, line: &str) -> KeyEffect;

    /// Returns what is shown below the line.
    fn lines_below(&self, line: &str) -> Vec<String>;

    /// Returns the text that stays on the screen in place of the line, after the answer.
    fn final_text(&self) -> Option<&str> {
        None
    }
}

/// A key that has a meaning in each question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommonKey {
    Enter,
    Cancel,
    EndOfInput,
    /// Suspends the process or clears the screen.
    Terminal,
    Character(char),
    Erase,
    Other,
}

fn classify(KeyEvent(code, modifiers): KeyEvent) -> CommonKey {
    let is_control = modifiers == Modifiers::CTRL;
    match code {
        KeyCode::Enter | KeyCode::Char('J' | 'M') if is_control || code == KeyCode::Enter => CommonKey::Enter,
        KeyCode::Esc => CommonKey::Cancel,
        KeyCode::Char('C' | 'G') if is_control => CommonKey::Cancel,
        KeyCode::Char('D') if is_control => CommonKey::EndOfInput,
        KeyCode::Char('Z' | 'L') if is_control => CommonKey::Terminal,
        KeyCode::Char(letter) if modifiers.is_empty() => CommonKey::Character(letter),
        KeyCode::Backspace => CommonKey::Erase,
        _ => CommonKey::Other,
    }
}

/// A line of text.
pub(super) struct TextKeys {
    question: TextQuestion,
    /// Why the last answer was rejected, until the next one is typed.
    reason: Option<String>,
    has_accepted_default: bool,
}

impl TextKeys {
    pub(super) fn new(question: TextQuestion) -> Self {
        Self { question, reason: None, has_accepted_default: false }
    }
}

impl KeyHandler for TextKeys {
    fn press(&mut self, key: KeyEvent, line: &str) -> KeyEffect {
        match classify(key) {
            CommonKey::Enter => {
                match (self.question.check)(&or_default(line, &self.question.default)) {
                    Ok(()) => {
                        self.has_accepted_default = line.trim().is_empty();
                        KeyEffect::Accept
                    }
                    // The line is cleared: the next answer does not start with the rejected one.
                    Err(InvalidAnswer(reason)) => {
                        self.reason = Some(reason);
                        KeyEffect::ReplaceLine(String::new())
                    }
                }
            }
            CommonKey::Cancel => KeyEffect::Cancel,
            CommonKey::EndOfInput if line.is_empty() => KeyEffect::Cancel,
            CommonKey::Character(_) => {
                self.reason = None;
                KeyEffect::Edit
            }
            _ => KeyEffect::Edit,
        }
    }

    fn lines_below(&self, line: &str) -> Vec<String> {
        let answer = or_default(line, &self.question.default);
        let reason = self.reason.as_ref().map(|reason| format!("  invalid answer: {reason}"));
        let is_valid = (self.question.check)(&answer).is_ok();
        let preview = is_valid.then(|| (self.question.preview)(&answer)).filter(|text| !text.is_empty());
        reason.into_iter().chain(preview.map(|text| format!("  {text}"))).collect()
    }

    fn final_text(&self) -> Option<&str> {
        self.has_accepted_default.then_some(self.question.default.as_str())
    }
}

/// A closed set of choices. The line always contains one of them, so a word that is none of them never stays in it.
pub(super) struct ChoiceKeys {
    question: ChoiceQuestion,
    selected: usize,
    /// The start of a choice that the user typed.
    typed: String,
    reason: Option<String>,
}

impl ChoiceKeys {
    pub(super) fn new(question: ChoiceQuestion) -> Self {
        Self { question, selected: 0, typed: String::new(), reason: None }
    }

    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    pub(super) fn value(&self) -> &'static str {
        self.question.choices[self.selected].value
    }

    fn select(&mut self, index: usize) -> KeyEffect {
        self.selected = index;
        KeyEffect::ReplaceLine(self.value().into())
    }

    fn move_by(&mut self, offset: usize) -> KeyEffect {
        self.typed.clear();
        self.select((self.selected + offset) % self.question.choices.len())
    }

    fn press_character(&mut self, letter: char) -> KeyEffect {
        // A letter that does not continue the typed word starts a new one.
        for word in [format!("{}{letter}", self.typed), letter.to_string()] {
            if let Some(index) = choice_with_prefix(&self.question.choices, &word) {
                self.typed = word;
                return self.select(index);
            }
        }
        self.typed.clear();
        let values: Vec<&str> = self.question.choices.iter().map(|choice| choice.value).collect();
        self.reason = Some(format!("\"{letter}\" does not start any of {}", values.join(", ")));
        KeyEffect::Redraw
    }
}

impl KeyHandler for ChoiceKeys {
    fn press(&mut self, key: KeyEvent, _: &str) -> KeyEffect {
        self.reason = None;
        let last = self.question.choices.len() - 1;
        match (classify(key), key.0) {
            (CommonKey::Enter, _) => match (self.question.check)(self.value()) {
                Ok(()) => KeyEffect::Accept,
                Err(InvalidAnswer(reason)) => {
                    self.reason = Some(reason);
                    KeyEffect::Redraw
                }
            },
            (CommonKey::Cancel | CommonKey::EndOfInput, _) => KeyEffect::Cancel,
            (CommonKey::Terminal, _) => KeyEffect::Edit,
            (CommonKey::Character(letter), _) => self.press_character(letter),
            (CommonKey::Erase, _) => {
                self.typed.pop();
                KeyEffect::Redraw
            }
            (_, KeyCode::Down | KeyCode::Right | KeyCode::Tab) => self.move_by(1),
            (_, KeyCode::Char('N')) if key.1 == Modifiers::CTRL => self.move_by(1),
            (_, KeyCode::Up | KeyCode::Left | KeyCode::BackTab) => self.move_by(last),
            (_, KeyCode::Char('P')) if key.1 == Modifiers::CTRL => self.move_by(last),
            (_, KeyCode::Home) => self.select(0),
            (_, KeyCode::End) => self.select(last),
            _ => KeyEffect::Ignore,
        }
    }

    fn lines_below(&self, _: &str) -> Vec<String> {
        let choices = &self.question.choices;
        let width = choices.iter().map(|choice| choice.value.len()).max().unwrap_or_default();
        let lines = choices.iter().enumerate().map(|(index, choice)| {
            let mark = if index == self.selected { '>' } else { ' ' };
            format!("{mark} {:width$}  {}", choice.value, choice.description)
        });
        let last = match &self.reason {
            Some(reason) => format!("  invalid answer: {reason}"),
            None => "  Select with the arrow keys or the first letters, then press Enter.".into(),
        };
        lines.chain([last]).collect()
    }
}

/// Yes or no, with a single key.
pub(super) struct YesNoKeys {
    other_keys: OtherKeys,
    answer: Option<bool>,
    has_ignored_key: bool,
}

impl YesNoKeys {
    pub(super) fn new(other_keys: OtherKeys) -> Self {
        Self { other_keys, answer: None, has_ignored_key: false }
    }

    pub(super) fn answer(&self) -> Option<bool> {
        self.answer
    }

    fn accept_yes(&mut self) -> KeyEffect {
        self.answer = Some(true);
        KeyEffect::Accept
    }

    fn accept_no(&mut self) -> KeyEffect {
        self.answer = Some(false);
        KeyEffect::Accept
    }
}

impl KeyHandler for YesNoKeys {
    fn press(&mut self, key: KeyEvent, _: &str) -> KeyEffect {
        match classify(key) {
            CommonKey::Character('y' | 'Y') => self.accept_yes(),
            CommonKey::Character('n' | 'N') | CommonKey::Enter => self.accept_no(),
            CommonKey::Cancel | CommonKey::EndOfInput => KeyEffect::Cancel,
            CommonKey::Terminal => KeyEffect::Edit,
            CommonKey::Character(_) if self.other_keys == OtherKeys::MeanNo => self.accept_no(),
            _ if key.0 == KeyCode::BracketedPasteStart && self.other_keys == OtherKeys::MeanNo => {
                self.accept_no()
            }
            CommonKey::Character(_) => {
                self.has_ignored_key = true;
                KeyEffect::Redraw
            }
            _ => KeyEffect::Ignore,
        }
    }

    fn lines_below(&self, _: &str) -> Vec<String> {
        self.has_ignored_key.then(|| "  Press y for yes, or n or Enter for no.".into()).into_iter().collect()
    }

    fn final_text(&self) -> Option<&str> {
        self.answer.map(|answer| if answer { "yes" } else { "no" })
    }
}

/// A text that is not shown. Only its length is.
pub(super) struct SecretKeys {
    check: AnswerCheck,
    typed: String,
    reason: Option<String>,
}

impl SecretKeys {
    pub(super) fn new(check: AnswerCheck) -> Self {
        Self { check, typed: String::new(), reason: None }
    }

    pub(super) fn into_secret(self) -> String {
        self.typed.trim().to_owned()
    }
}

impl KeyHandler for SecretKeys {
    fn press(&mut self, key: KeyEvent, _: &str) -> KeyEffect {
        match classify(key) {
            CommonKey::Enter => match (self.check)(self.typed.trim()) {
                Ok(()) => KeyEffect::Accept,
                Err(InvalidAnswer(reason)) => {
                    self.typed.clear();
                    self.reason = Some(reason);
                    KeyEffect::Redraw
                }
            },
            CommonKey::Cancel => KeyEffect::Cancel,
            CommonKey::EndOfInput if self.typed.is_empty() => KeyEffect::Cancel,
            CommonKey::Terminal => KeyEffect::Edit,
            CommonKey::Character(letter) => {
                self.reason = None;
                self.typed.push(letter);
                KeyEffect::Redraw
            }
            CommonKey::Erase => {
                self.typed.pop();
                KeyEffect::Redraw
            }
            _ if key == KeyEvent(KeyCode::Char('U'), Modifiers::CTRL) => {
                self.typed.clear();
                KeyEffect::Redraw
            }
            _ => KeyEffect::Ignore,
        }
    }

    fn lines_below(&self, _: &str) -> Vec<String> {
        match (&self.reason, self.typed.chars().count()) {
            (Some(reason), _) => vec![format!("  invalid answer: {reason}")],
            (None, 0) => Vec::new(),
            (None, count) => vec![format!("  {count} characters")],
        }
    }
}

#[cfg(test)]
mod tests;
