//! Draws a question with a line editor and passes each key to it. The editor exists only while a question waits, and
//! leaves SIGINT to `signals`. It must not decide what a key does.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::{Hint, Hinter};
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Context, Editor, Event, EventContext, EventHandler, Helper,
    Movement, RepeatCount,
};

use super::key_handling::{ChoiceKeys, KeyEffect, KeyHandler, SecretKeys, TextKeys, YesNoKeys};
use super::{AnswerCheck, ChoiceQuestion, TextQuestion, YesNoQuestion, label, or_default, yes_no_label};
use crate::output::printable;
use kubectl_dynamo_core::error::Result;

/// How long the editor waits for the rest of an escape sequence before it takes the key for Esc, in milliseconds.
const ESCAPE_TIMEOUT: u16 = 100;
const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

pub(super) fn text(question: &TextQuestion) -> Result<Option<String>> {
    let prompt = label(&question.text, &question.default);
    let answered = ask(&prompt, "", TextKeys::new(question.clone()))?;
    Ok(answered.map(|(line, _)| or_default(&line, &question.default)))
}

pub(super) fn choice(question: &ChoiceQuestion) -> Result<Option<usize>> {
    let keys = ChoiceKeys::new(question.clone());
    let answered = ask(&label(&question.text, ""), keys.value(), keys)?;
    Ok(answered.map(|(_, keys)| keys.selected()))
}

pub(super) fn yes_or_no(question: &YesNoQuestion) -> Result<Option<bool>> {
    let answered = ask(&yes_no_label(&question.text), "", YesNoKeys::new(question.other_keys))?;
    Ok(answered.and_then(|(_, keys)| keys.answer()))
}

pub(super) fn secret(text: &str, check: AnswerCheck) -> Result<Option<String>> {
    let answered = ask(&label(text, ""), "", SecretKeys::new(check))?;
    Ok(answered.map(|(_, keys)| keys.into_secret()))
}

/// Asks until the question accepts an answer. Returns the line and the question, or `None` if the user cancels.
fn ask<K: KeyHandler + 'static>(prompt: &str, line: &str, keys: K) -> Result<Option<(String, K)>> {
    let shared = SharedKeys(Arc::new(Mutex::new(keys)));
    let config = Config::builder().behavior(Behavior::PreferTerm).keyseq_timeout(Some(ESCAPE_TIMEOUT));
    let editor = Editor::with_history(config.build(), MemHistory::new());
    let mut editor: Editor<QuestionHelper<K>, MemHistory> = editor.map_err(std::io::Error::other)?;
    editor.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(shared.clone())));
    editor.set_helper(Some(QuestionHelper(shared.clone())));
    let answered = editor.readline_with_initial(printable(prompt).as_ref(), (line, ""));
    drop(editor);
    match answered {
        Ok(line) => {
            let keys = Arc::into_inner(shared.0).expect("the editor, which held the others, is dropped");
            Ok(Some((line, keys.into_inner().unwrap_or_else(PoisonError::into_inner))))
        }
        Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
        // The terminal was closed.
        Err(ReadlineError::Io(error)) if error.raw_os_error() == Some(EIO) => Ok(None),
        Err(error) => Err(std::io::Error::other(error).into()),
    }
}

/// A question that the editor and its key bindings share.
struct SharedKeys<K>(Arc<Mutex<K>>);

impl<K> Clone for SharedKeys<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> SharedKeys<K> {
    fn lock(&self) -> MutexGuard<'_, K> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: KeyHandler> ConditionalEventHandler for SharedKeys<K> {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let key = *event.get(0)?;
        let line = context.line();
        match self.lock().press(key, line) {
            KeyEffect::Edit => None,
            KeyEffect::Ignore => Some(Cmd::Noop),
            KeyEffect::ReplaceLine(text) if text == line => Some(Cmd::Repaint),
            KeyEffect::ReplaceLine(text) if text.is_empty() => Some(Cmd::Kill(Movement::WholeBuffer)),
            KeyEffect::ReplaceLine(text) => Some(Cmd::Replace(Movement::WholeBuffer, Some(text))),
            KeyEffect::Redraw => Some(Cmd::Repaint),
            KeyEffect::Accept => Some(Cmd::AcceptLine),
            KeyEffect::Cancel => Some(Cmd::Interrupt),
        }
    }
}

/// Shows the lines below a question, and its final text.
struct QuestionHelper<K>(SharedKeys<K>);

/// Lines that are shown but are not completed.
struct LinesBelow(String);

impl Hint for LinesBelow {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

impl<K: KeyHandler> Hinter for QuestionHelper<K> {
    type Hint = LinesBelow;

    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<LinesBelow> {
        let width = screen_width();
        let lines = self.0.lock().lines_below(line);
        let lines = lines.iter().flat_map(|line| wrap(&printable(line), width));
        let text: String = lines.map(|line| format!("\n{line}")).collect();
        (!text.is_empty()).then_some(LinesBelow(text))
    }
}

impl<K: KeyHandler> Highlighter for QuestionHelper<K> {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        match self.0.lock().final_text() {
            Some(text) => Cow::Owned(text.to_owned()),
            None => Cow::Borrowed(line),
        }
    }

    // The line is drawn again when the question ends, for its final text.
    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        true
    }
}

impl<K: KeyHandler> Helper for QuestionHelper<K> {}
impl<K: KeyHandler> Validator for QuestionHelper<K> {}
impl<K: KeyHandler> Completer for QuestionHelper<K> {
    type Candidate = String;
}

fn screen_width() -> usize {
    rustix::termios::tcgetwinsize(std::io::stderr()).map_or(80, |size| usize::from(size.ws_col).max(20))
}

/// Breaks a line at spaces; the following lines get the same indentation.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let indent = text.len() - text.trim_start().len();
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let line = lines.last_mut().expect("there is always a line");
        let is_full =
            console::measure_text_width(line) + console::measure_text_width(word.trim_end()) >= width;
        if is_full && line.len() > indent {
            lines.push(format!("{:indent$}{word}", ""));
        } else {
            line.push_str(word);
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_break_at_spaces_and_keep_their_indentation() {
        assert_eq!(wrap("  short", 80), ["  short"]);
        assert_eq!(wrap("  invalid answer: too many", 16), ["  invalid", "  answer: too", "  many"]);
        assert_eq!(wrap("  word/without/a/space", 10), ["  word/without/a/space"]);
    }
}
