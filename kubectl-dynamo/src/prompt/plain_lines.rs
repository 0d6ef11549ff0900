//! Questions as plain lines: for screen readers and terminals without cursor movement. Nothing is redrawn, and each
//! answer ends with Enter.

use std::io::{BufRead, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{
    AnswerCheck, ChoiceQuestion, InvalidAnswer, OtherKeys, TextQuestion, YesNoQuestion, choice_with_prefix,
    label, or_default, yes_no_label,
};
use crate::output::printable;
use kubectl_dynamo_core::error::Result;

pub(super) fn text(question: &TextQuestion) -> Result<Option<String>> {
    let answer = ask(&label(&question.text, &question.default), |line| {
        let answer = or_default(line, &question.default);
        (question.check)(&answer).map(|()| answer)
    })?;
    if let Some(answer) = &answer {
        let preview = (question.preview)(answer);
        if !preview.is_empty() {
            writeln!(std::io::stderr(), "  {}", printable(&preview))?;
        }
    }
    Ok(answer)
}

pub(super) fn choice(question: &ChoiceQuestion) -> Result<Option<usize>> {
    let values: Vec<&str> = question.choices.iter().map(|choice| choice.value).collect();
    let width = values.iter().map(|value| value.len()).max().unwrap_or_default();
    for choice in &question.choices {
        writeln!(std::io::stderr(), "  {:width$}  {}", choice.value, choice.description)?;
    }
    let default = values.first().copied().unwrap_or_default();
    let listed = values.join(", ");
    ask(&label(&format!("{} ({listed})", question.text), default), |line| {
        let answer = or_default(line, default);
        let Some(index) = choice_with_prefix(&question.choices, &answer) else {
            return Err(InvalidAnswer::new(format!("\"{answer}\" is not one of {listed}")));
        };
        (question.check)(values[index]).map(|()| index)
    })
}

pub(super) fn yes_or_no(question: &YesNoQuestion) -> Result<Option<bool>> {
    ask(&yes_no_label(&question.text), |line| match line.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(true),
        "" | "n" | "no" => Ok(false),
        _ if question.other_keys == OtherKeys::MeanNo => Ok(false),
        other => Err(InvalidAnswer::new(format!("\"{other}\" is not yes or no"))),
    })
}

pub(super) fn secret(text: &str, check: &AnswerCheck) -> Result<Option<String>> {
    let _hidden = HiddenInput::new();
    let answer = ask(&label(text, ""), |line| {
        // The Enter key is not echoed either.
        let _ = writeln!(std::io::stderr());
        check(line.trim()).map(|()| line.trim().to_owned())
    })?;
    Ok(answer)
}

/// Turns off the echo of the terminal while it exists.
struct HiddenInput(Option<Termios>);

impl HiddenInput {
    fn new() -> Self {
        let mode = tcgetattr(std::io::stdin()).ok();
        if let Some(mut hidden) = mode.clone() {
            hidden.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &hidden);
        }
        Self(mode)
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        if let Some(mode) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, mode);
        }
    }
}

/// Asks until the answer is valid. Returns `None` at the end of the input.
fn ask<T>(label: &str, parse: impl Fn(&str) -> std::result::Result<T, InvalidAnswer>) -> Result<Option<T>> {
    let mut stderr = std::io::stderr();
    loop {
        write!(stderr, "{}", printable(label))?;
        stderr.flush()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            writeln!(stderr)?;
            return Ok(None);
        }
        match parse(&line) {
            Ok(answer) => return Ok(Some(answer)),
            Err(InvalidAnswer(reason)) => print_reason(&reason)?,
        }
    }
}

fn print_reason(reason: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr(), "  invalid answer: {}", printable(reason))?)
}
