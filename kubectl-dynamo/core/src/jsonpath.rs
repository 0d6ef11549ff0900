//! kubectl's JSONPath templates: `{.items[*].metadata.name}`, filters, `range` and `end`, and text outside braces.
//!
//! A template prints what `kubectl -o jsonpath` prints for the same document: missing keys print nothing, strings are
//! not quoted, objects and lists are compact JSON, and the results of one action are joined by a space. As in kubectl,
//! `$` and `@` are the current value, and a quoted key is a path (`['a.b']` is `.a.b`).
//!
//! Differences, none of which changes a template that works in kubectl: the order of the fields with `*` and `..` is
//! sorted instead of random, an empty list does not hide the lists after it, integers and fractions can be compared,
//! `\\` before a closing quote is a backslash, `null` in a `range` prints `null`, and wrong keywords and steps are found
//! before anything is evaluated.

mod evaluate;
#[cfg(test)]
mod kubectl_results;
mod parser;
#[cfg(test)]
mod properties;
mod text;

use serde_json::Value;

use crate::code::MessageCode;
use crate::command::Fix;
use crate::error::Explain;

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPathTemplate {
    /// The text that was parsed.
    source: String,
    parts: Vec<Part>,
}

impl JsonPathTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// The first part that kubectl would not accept, with its position.
    pub fn parse(text: &str) -> Result<Self, JsonPathSyntaxError> {
        parser::parse(text).map(|parts| Self { source: text.to_owned(), parts })
    }

    /// The text that was parsed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the text of the template for a document.
    ///
    /// # Errors
    /// A step that does not fit the document, such as an index after the end of a list.
    pub fn render(&self, document: &Value) -> Result<String, JsonPathError> {
        evaluate::render(&self.parts, document)
    }
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
enum Part {
    /// Text outside braces.
    Text(String),
    /// `{…}`: prints its results.
    Action(Vec<Step>),
    /// `{range …}`, and the parts up to its `{end}`.
    Range { source: Vec<Step>, body: Vec<Part>, end: RangeEnd },
}

/// Where a range ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RangeEnd {
    EndAction,
    /// At the end of the template. As in kubectl, the parts are evaluated once more, for the value around the range.
    EndOfTemplate,
}

/// A step from values to other values.
#[derive(Debug, Clone, PartialEq)]
struct Step {
    /// Number of its first character in the template, from 1.
    position: usize,
    selector: Selector,
}

#[derive(Debug, Clone, PartialEq)]
enum Selector {
    Field(String),
    /// `*`: the values of an object or a list.
    Wildcard,
    /// `..`: the value and all values below it.
    Descendants,
    Index(i64),
    Slice {
        start: i64,
        end: Option<i64>,
        step: usize,
    },
    /// `[a,b]`: the results of each alternative.
    Union(Vec<Vec<Step>>),
    /// `[?(…)]`: the items of a list for which the condition is true.
    Filter(Condition),
    /// Quoted text, once.
    Text(Value),
    /// A number or a boolean, for each value.
    Constant(Value),
}

/// The condition of a filter.
#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Exists(Vec<Step>),
    Comparison { left: Vec<Step>, operator: Operator, right: Vec<Step> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at character {position}")]
pub struct JsonPathSyntaxError {
    /// Number of the character in the template, from 1.
    pub position: usize,
    problem: SyntaxProblem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum SyntaxProblem {
    #[error("unclosed action")]
    UnclosedAction,
    #[error("unexpected character {0:?}")]
    UnexpectedCharacter(char),
    #[error("unknown keyword \"{0}\"")]
    UnknownKeyword(String),
    #[error("\"end\" without \"range\"")]
    EndWithoutRange,
    #[error("more than {MAX_NESTED_RANGES} nested ranges")]
    TooManyRanges,
    #[error("unclosed bracket")]
    UnclosedBracket,
    #[error("invalid index \"{0}\"")]
    InvalidIndex(String),
    #[error("the step of a slice is not greater than 0")]
    InvalidSliceStep,
    #[error("unclosed filter")]
    UnclosedFilter,
    #[error("invalid operator \"{0}\"")]
    InvalidOperator(String),
    #[error("invalid number \"{0}\"")]
    InvalidNumber(String),
    #[error("unclosed quote")]
    UnclosedQuote,
    #[error("invalid escape sequence")]
    InvalidEscape,
    #[error("repeated \"..\"")]
    RepeatedDescent,
}

/// Ranges inside each other. A template that needs more does not exist, and the evaluation is recursive.
const MAX_NESTED_RANGES: usize = 16;

/// Why a template cannot be applied to a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template of -o jsonpath does not fit the output: {problem} at character {position}")]
pub struct JsonPathError {
    /// Number of the character in the template, from 1.
    pub position: usize,
    problem: EvaluationProblem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum EvaluationProblem {
    #[error("{kind} is not a list")]
    NotAList { kind: &'static str },
    #[error("index {index} is out of range for a list of length {length}")]
    OutOfRange { index: i64, length: usize },
    #[error("the start of a slice is after its end")]
    StartAfterEnd,
    #[error("a comparison of several values")]
    SeveralValues,
    #[error("a comparison of {left} with {right}")]
    IncompatibleTypes { left: &'static str, right: &'static str },
}

impl Explain for JsonPathError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::TemplateDoesNotFit)
    }

    fn hint(&self) -> Option<Fix> {
        Some("compare the template with the output of -o json".into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn syntax_errors_have_a_position() {
        for (template, message) in [
            ("name: {.a", "unclosed action at character 7"),
            ("{.a\n}", "unclosed action at character 1"),
            ("{.a}{#}", "unexpected character '#' at character 6"),
            ("é{.a[}", "unclosed bracket at character 5"),
            ("{.a['b','c]}", "invalid index \"'c\" at character 9"),
            ("{.a[?(@.b==1}", "unclosed filter at character 4"),
            ("{.a[?(@.b==1 && @.c)]}", "unexpected character '&' at character 14"),
            ("{.a[?(@.b=~\"c\")]}", "invalid operator \"=\" at character 10"),
            ("{.a[0:2:0]}", "the step of a slice is not greater than 0 at character 5"),
            ("{\"a\\qb\"}", "invalid escape sequence at character 4"),
            ("{\"a}", "unclosed quote at character 2"),
            ("{1.2.3}", "invalid number \"1.2.3\" at character 2"),
            ("{....a}", "repeated \"..\" at character 4"),
            ("{.a}{end}", "\"end\" without \"range\" at character 5"),
            ("{range .a}{end .b}", "unclosed action at character 16"),
        ] {
            let error = JsonPathTemplate::parse(template).unwrap_err();
            assert_eq!(error.to_string(), message, "{template}");
        }
    }

    #[test]
    fn evaluation_errors_have_a_position_and_a_code() {
        let document = json!({ "list": [1, "a"], "name": "x" });
        for (template, message) in [
            ("{.list[2]}", "index 2 is out of range for a list of length 2 at character 8"),
            ("{.list[-3]}", "index -3 is out of range for a list of length 2 at character 8"),
            ("{.list[1:9]}", "index 9 is out of range for a list of length 2 at character 8"),
            ("{.list[1:0]}", "the start of a slice is after its end at character 8"),
            ("{.name[*]}", "a string is not a list at character 8"),
            ("{.list[?(@==1)]}", "a comparison of a string with a number at character 7"),
        ] {
            let error = JsonPathTemplate::parse(template).unwrap().render(&document).unwrap_err();
            assert!(error.to_string().ends_with(message), "{template}: {error}");
            assert_eq!(error.code(), Some(MessageCode::TemplateDoesNotFit));
        }
    }
}
