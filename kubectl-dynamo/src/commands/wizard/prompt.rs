//! One question, one line: edited in place on a terminal, with what it would mean behind the cursor; or plainly
//! printed and read for a screen reader. Nothing is drawn over, and nothing has a colour.

use std::io::{BufRead, Write};
use std::rc::Rc;

use rustyline::completion::Completer;
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Context, Editor, Helper};

use crate::error::Result;

/// What an answer would mean, in a few words.
pub(super) type Meaning = Rc<dyn Fn(&str) -> String>;
/// Why an answer cannot be taken.
pub(super) type Check = Rc<dyn Fn(&str) -> std::result::Result<(), String>>;

/// A question.
#[derive(Clone)]
pub(super) struct Question {
    pub text: String,
    /// Taken when nothing is typed.
    pub default: String,
    /// Words that Tab completes.
    pub words: Vec<&'static str>,
    pub meaning: Meaning,
    pub check: Check,
}

/// The one who asks.
pub(super) enum Prompt {
    Edited(Box<Editor<Asking, MemHistory>>),
    Plain,
}

impl Prompt {
    /// A prompt on this process's terminal.
    ///
    /// # Errors
    /// A terminal that cannot be read.
    pub(super) fn new(plain: bool) -> Result<Self> {
        if plain {
            return Ok(Self::Plain);
        }
        let config = Config::builder().behavior(Behavior::PreferTerm).build();
        let editor = Editor::with_history(config, MemHistory::new()).map_err(std::io::Error::other)?;
        Ok(Self::Edited(Box::new(editor)))
    }

    /// The answer; `None` when the person leaves.
    ///
    /// # Errors
    /// A terminal that goes away.
    pub(super) fn ask(&mut self, question: Question) -> Result<Option<String>> {
        let shown = match question.default.as_str() {
            "" => format!("{}: ", question.text),
            default => format!("{} [{default}]: ", question.text),
        };
        match self {
            Self::Edited(editor) => {
                let default = question.default.clone();
                editor.set_helper(Some(Asking(question)));
                match editor.readline(&shown) {
                    Ok(line) => Ok(Some(or_default(&line, &default))),
                    Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
                    Err(error) => Err(std::io::Error::other(error).into()),
                }
            }
            Self::Plain => plainly(&question, &shown),
        }
    }
}

fn or_default(line: &str, default: &str) -> String {
    match line.trim() {
        "" => default.into(),
        typed => typed.into(),
    }
}

fn plainly(question: &Question, shown: &str) -> Result<Option<String>> {
    let mut stderr = std::io::stderr().lock();
    loop {
        write!(stderr, "{shown}")?;
        stderr.flush()?;
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let answer = or_default(&line, &question.default);
        match (question.check)(&answer) {
            Ok(()) => {
                let meaning = (question.meaning)(&answer);
                if !meaning.is_empty() {
                    writeln!(stderr, "  {meaning}")?;
                }
                return Ok(Some(answer));
            }
            Err(reason) => writeln!(stderr, "  not taken: {reason}")?,
        }
    }
}

/// What the line editor asks of a question while it is answered.
pub(super) struct Asking(Question);

impl Helper for Asking {}
impl Highlighter for Asking {}

impl Hinter for Asking {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<String> {
        let answer = or_default(line, &self.0.default);
        if position < line.len() || (self.0.check)(&answer).is_err() {
            return None;
        }
        let meaning = (self.0.meaning)(&answer);
        (!meaning.is_empty()).then(|| format!("   {meaning}"))
    }
}

impl Validator for Asking {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let answer = or_default(context.input(), &self.0.default);
        Ok(match (self.0.check)(&answer) {
            Ok(()) => ValidationResult::Valid(None),
            Err(reason) => ValidationResult::Invalid(Some(format!("\n  not taken: {reason}"))),
        })
    }
}

impl Completer for Asking {
    type Candidate = String;

    fn complete(&self, line: &str, _: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let fits = self.0.words.iter().filter(|word| word.starts_with(line));
        Ok((0, fits.map(|word| (*word).to_owned()).collect()))
    }
}
