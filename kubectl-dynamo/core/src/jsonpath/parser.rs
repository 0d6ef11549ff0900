//! Parses templates. It never panics, and every error has the position of a character.

mod brackets;
mod quote;
mod scanner;

use serde_json::{Number, Value};

use super::{JsonPathSyntaxError, MAX_NESTED_RANGES, Part, RangeEnd, Selector, Step, SyntaxProblem};
use scanner::Scanner;

type Parsed<T> = Result<T, JsonPathSyntaxError>;

/// The content of one pair of braces.
enum Action {
    Print(Vec<Step>),
    Range(Vec<Step>),
    End,
}

/// A range whose `{end}` was not read yet.
struct OpenRange {
    source: Vec<Step>,
    /// The parts before the range.
    before: Vec<Part>,
}

impl OpenRange {
    /// Returns the parts before the range, and the range with its body.
    fn close(self, body: Vec<Part>, end: RangeEnd) -> Vec<Part> {
        let mut parts = self.before;
        parts.push(Part::Range { source: self.source, body, end });
        parts
    }
}

/// Parses a template.
pub(super) fn parse(text: &str) -> Parsed<Vec<Part>> {
    let mut scanner = Scanner::new(text);
    let mut open: Vec<OpenRange> = Vec::new();
    let mut parts = Vec::new();
    while !scanner.is_at_end() {
        let literal = scanner.take_while(|letter| letter != '{');
        if !literal.is_empty() {
            parts.push(Part::Text(literal.to_owned()));
            continue;
        }
        let start = scanner.position();
        match action(&mut scanner)? {
            Action::Print(steps) => parts.push(Part::Action(steps)),
            Action::Range(_) if open.len() == MAX_NESTED_RANGES => {
                return Err(error(start, SyntaxProblem::TooManyRanges));
            }
            Action::Range(source) => open.push(OpenRange { source, before: std::mem::take(&mut parts) }),
            Action::End => {
                let range = open.pop().ok_or_else(|| error(start, SyntaxProblem::EndWithoutRange))?;
                parts = range.close(parts, RangeEnd::EndAction);
            }
        }
    }
    let unclosed = open.into_iter().rev();
    Ok(unclosed.fold(parts, |parts, range| range.close(parts, RangeEnd::EndOfTemplate)))
}

/// Parses one pair of braces, at whose start the scanner is.
fn action(scanner: &mut Scanner) -> Parsed<Action> {
    let start = scanner.position();
    scanner.skip("{");
    scanner.take_while(|letter| letter == ' ');
    let mut after_keyword = scanner.clone();
    let keyword = match after_keyword.take_while(|letter| !is_terminator(letter)) {
        keyword @ ("range" | "end") => {
            *scanner = after_keyword;
            keyword
        }
        _ => "",
    };
    let parsed = steps(scanner)?;
    if !scanner.skip("}") {
        return Err(error(start, SyntaxProblem::UnclosedAction));
    }
    match (keyword, parsed.first()) {
        ("range", _) => Ok(Action::Range(parsed)),
        ("end", None) => Ok(Action::End),
        ("end", Some(step)) => Err(error(step.position, SyntaxProblem::UnclosedAction)),
        _ => Ok(Action::Print(parsed)),
    }
}

/// Parses steps up to a closing brace, the end of the line, or the end of the text.
fn steps(scanner: &mut Scanner) -> Parsed<Vec<Step>> {
    let mut steps = Vec::new();
    while let Some(letter) = scanner.peek() {
        let position = scanner.position();
        match letter {
            '}' | '\n' | '\r' => break,
            ' ' | '@' | '$' => {
                scanner.next();
            }
            '[' => steps.extend(brackets::steps(scanner)?),
            '"' | '\'' => {
                let text = Value::String(quote::text(scanner)?);
                steps.push(Step { position, selector: Selector::Text(text) });
            }
            '.' if scanner.skip("..") => {
                if steps.last().is_some_and(|step: &Step| step.selector == Selector::Descendants) {
                    return Err(error(position, SyntaxProblem::RepeatedDescent));
                }
                steps.push(Step { position, selector: Selector::Descendants });
                if scanner.peek().is_some_and(starts_word) {
                    steps.push(field(scanner));
                }
            }
            '.' => {
                scanner.next();
                steps.push(Step { position, ..field(scanner) });
            }
            '+' | '-' => steps.push(number(scanner)?),
            letter if letter.is_numeric() => steps.push(number(scanner)?),
            letter if starts_word(letter) => steps.push(boolean(scanner)?),
            letter => return Err(error(position, SyntaxProblem::UnexpectedCharacter(letter))),
        }
    }
    Ok(steps)
}

/// Parses steps that take the whole text of the scanner.
fn all_steps(mut scanner: Scanner) -> Parsed<Vec<Step>> {
    let parsed = steps(&mut scanner)?;
    match scanner.peek() {
        Some(letter) => Err(error(scanner.position(), SyntaxProblem::UnexpectedCharacter(letter))),
        None => Ok(parsed),
    }
}

/// Parses the name of a field. A backslash removes the meaning of the character after it.
fn field(scanner: &mut Scanner) -> Step {
    let position = scanner.position();
    let mut name = String::new();
    while let Some(letter) = scanner.peek().filter(|letter| !is_terminator(*letter)) {
        scanner.next();
        let letter = if letter == '\\' { scanner.next() } else { Some(letter) };
        // kubectl removes all backslashes, so a name cannot contain one.
        name.extend(letter.filter(|letter| *letter != '\\'));
    }
    let selector = if name == "*" { Selector::Wildcard } else { Selector::Field(name) };
    Step { position, selector }
}

fn number(scanner: &mut Scanner) -> Parsed<Step> {
    let position = scanner.position();
    let sign = if scanner.skip("-") { "-" } else { "" };
    if sign.is_empty() {
        scanner.skip("+");
    }
    let text = format!("{sign}{}", scanner.take_while(|letter| letter == '.' || letter.is_numeric()));
    let integer = text.parse::<i64>().ok().map(Number::from);
    let fraction = || text.parse::<f64>().ok().and_then(Number::from_f64);
    match integer.or_else(fraction) {
        Some(number) => Ok(Step { position, selector: Selector::Constant(number.into()) }),
        None => Err(error(position, SyntaxProblem::InvalidNumber(text))),
    }
}

fn boolean(scanner: &mut Scanner) -> Parsed<Step> {
    let position = scanner.position();
    let value = match scanner.take_while(|letter| !is_terminator(letter)) {
        "true" => true,
        "false" => false,
        other => return Err(error(position, SyntaxProblem::UnknownKeyword(other.to_owned()))),
    };
    Ok(Step { position, selector: Selector::Constant(value.into()) })
}

/// Whether a character starts a keyword, or a name directly after `..`.
fn starts_word(letter: char) -> bool {
    letter == '_' || letter.is_alphanumeric()
}

/// Whether a character ends a name or a keyword.
fn is_terminator(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn error(position: usize, problem: SyntaxProblem) -> JsonPathSyntaxError {
    JsonPathSyntaxError { position, problem }
}
