//! Why an answer of the wizard is invalid, as one line below the question.

use std::path::PathBuf;

use kubectl_dynamo_core::error::{Error, Explain};
use kubectl_dynamo_core::intent::IntentError;
use kubectl_dynamo_core::intent::request::RequestError;

/// Why an answer is invalid.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error(transparent)]
    Value(#[from] RequestError),
    /// The answer contradicts other settings.
    #[error("{}", with_hint(.0))]
    Intent(IntentError),
    /// The release cannot run what the settings describe.
    #[error("{}", with_hint(.0.as_ref()))]
    Plan(Error),
    #[error("\"{given}\" is not {expected}")]
    NotExpected { given: String, expected: String },
    #[error("the token is empty")]
    EmptyToken,
    #[error("a token cannot contain whitespace")]
    TokenWithWhitespace,
    #[error("the file already exists")]
    FileExists,
    #[error("folder \"{}\" not found", .0.display())]
    NoFolder(PathBuf),
    #[error("at most {max} characters are allowed")]
    NameTooLong { max: usize },
    #[error("\"{name}\" is taken by a deployment of {description} with other components; try {free_name}")]
    NameTaken { name: String, description: String, free_name: String },
}

impl AnswerError {
    /// The error of an answer that is not what the question asks for.
    pub(super) fn not(expected: impl Into<String>, given: &str) -> Self {
        Self::NotExpected { given: given.to_owned(), expected: expected.into() }
    }
}

fn with_hint(error: &dyn Explain) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{error}{hint}")
}
