//! Data on stdout, and the output formats that several verbs share. Progress goes to the report instead.

mod printable;

use std::io::Write;

use serde_json::Value;

pub(crate) use printable::{PrintableText, escape_json, printable};

use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::StringEnum;

/// Output formats of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusFormat {
    Text,
    Json,
}

impl StringEnum for StatusFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Output formats of lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListFormat {
    Table,
    Wide,
    Name,
    Json,
    Yaml,
}

impl StringEnum for ListFormat {
    const ALL: &'static [Self] = &[Self::Table, Self::Wide, Self::Name, Self::Json, Self::Yaml];

    fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Wide => "wide",
            Self::Name => "name",
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

/// Renders a JSON value as YAML.
pub(crate) fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("every JSON value can be written as YAML")
}

/// Writes data to stdout, without the control characters and escape sequences that text from elsewhere can contain.
pub(crate) fn print_data(text: &str) -> Result<()> {
    print_styled(&printable::printable_data(text))
}

/// Writes text with colors of this program to stdout. Its parts from elsewhere must be [`printable`]. A closed pipe
/// ends the program without an error, as users of `head` expect.
pub(crate) fn print_styled(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(Exit::Ok as i32),
        result => Ok(result?),
    }
}
