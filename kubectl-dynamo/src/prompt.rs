//! Prompts on the terminal of this process: text, a closed choice, yes or no, and a secret. All questions of the
//! plugin are asked here, in one of two styles: with single keys and a redrawn line, or as plain lines for screen
//! readers and terminals without cursor movement. It must not know what the answers mean.

mod key_handling;
mod line_editor;
mod plain_lines;

use std::sync::Arc;

use rustix::termios::{QueueSelector, tcflush};

use crate::report::ProgressMode;
use crate::settings;
use kubectl_dynamo_core::error::Result;

/// Returns a short preview of an answer, or an empty string.
pub(crate) type AnswerPreview = Arc<dyn Fn(&str) -> String + Send + Sync>;
/// Returns an error if an answer is invalid.
pub(crate) type AnswerCheck = Arc<dyn Fn(&str) -> std::result::Result<(), InvalidAnswer> + Send + Sync>;

/// Why an answer is invalid, as one line below the question.
#[derive(Debug)]
pub(crate) struct InvalidAnswer(String);

impl InvalidAnswer {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl<E: std::error::Error> From<E> for InvalidAnswer {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// A question that is answered with a line of text.
#[derive(Clone)]
pub(crate) struct TextQuestion {
    pub text: String,
    /// Answer if the user types nothing.
    pub default: String,
    /// What is shown below the line while the user types.
    pub preview: AnswerPreview,
    pub check: AnswerCheck,
}

/// One answer of a closed question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PromptChoice {
    /// What the user types, such as `disagg`.
    pub value: &'static str,
    pub description: &'static str,
}

/// A question with a fixed set of answers. The first one is the default.
#[derive(Clone)]
pub(crate) struct ChoiceQuestion {
    pub text: String,
    pub choices: Vec<PromptChoice>,
    pub check: AnswerCheck,
}

/// A yes-or-no question. The default is no.
#[derive(Debug, Clone)]
pub(crate) struct YesNoQuestion {
    pub text: String,
    pub other_keys: OtherKeys,
}

/// What a key other than `y` and `n` does in a yes-or-no question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OtherKeys {
    Ignored,
    /// The answer is no, so that text for a shell never confirms a deletion.
    MeanNo,
}

/// Asks questions in the style that the terminal and the user need. Each question returns `None` if the user cancels
/// it with Ctrl-C, Ctrl-D, or Esc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// With single keys, and a line that is redrawn.
    Keys,
    /// Without cursor movement.
    Plain,
}

impl Prompt {
    /// Returns the style: plain lines if the progress is not drawn either, or if the terminal cannot move the cursor.
    pub(crate) fn new(progress: ProgressMode) -> Self {
        let is_drawn = matches!(progress, ProgressMode::Auto | ProgressMode::Terminal);
        if is_drawn && !settings::is_dumb_terminal() { Self::Keys } else { Self::Plain }
    }

    /// Asks for a line of text.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub(crate) fn text(self, question: &TextQuestion) -> Result<Option<String>> {
        match self {
            Self::Keys => line_editor::text(question),
            Self::Plain => plain_lines::text(question),
        }
    }

    /// Asks for one of several choices and returns its index.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub(crate) fn choice(self, question: &ChoiceQuestion) -> Result<Option<usize>> {
        match self {
            Self::Keys => line_editor::choice(question),
            Self::Plain => plain_lines::choice(question),
        }
    }

    /// Asks a yes-or-no question.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub(crate) fn yes_or_no(self, question: &YesNoQuestion) -> Result<Option<bool>> {
        match self {
            Self::Keys => line_editor::yes_or_no(question),
            Self::Plain => plain_lines::yes_or_no(question),
        }
    }

    /// Asks for a text that is not shown.
    ///
    /// # Errors
    /// The terminal cannot be read.
    pub(crate) fn secret(self, text: &str, check: AnswerCheck) -> Result<Option<String>> {
        match self {
            Self::Keys => line_editor::secret(text, check),
            Self::Plain => plain_lines::secret(text, &check),
        }
    }
}

/// Discards what was typed before a question. A failure must not prevent the question.
pub(crate) fn discard_typed_input() {
    let _ = tcflush(std::io::stdin(), QueueSelector::IFlush);
}

/// Returns the typed answer, or the default if the line is empty.
fn or_default(line: &str, default: &str) -> String {
    match line.trim() {
        "" => default.into(),
        typed => typed.into(),
    }
}

/// Returns the text before a typed answer: `Replicas [1]: `.
fn label(text: &str, default: &str) -> String {
    match default {
        "" => format!("{text}: "),
        default => format!("{text} [{default}]: "),
    }
}

fn yes_no_label(text: &str) -> String {
    format!("{text} [y/N] ")
}

/// Returns the choice whose value is the text, or the first one that starts with it.
fn choice_with_prefix(choices: &[PromptChoice], prefix: &str) -> Option<usize> {
    let prefix = prefix.to_lowercase();
    let exact = choices.iter().position(|choice| choice.value == prefix);
    exact.or_else(|| choices.iter().position(|choice| choice.value.starts_with(&prefix)))
}
