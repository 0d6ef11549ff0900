//! The value parser of `-o`: the formats of a verb, and `json`, `yaml`, and `jsonpath=TEMPLATE`.

use std::ffi::OsStr;
use std::marker::PhantomData;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command};

use crate::output::{DocumentFormat, PrintFormat};
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::jsonpath::{JsonPathSyntaxError, JsonPathTemplate};

/// The start of a value with a template.
const JSON_PATH: &str = "jsonpath=";

/// Why the text after `jsonpath=` is not a template.
#[derive(Debug, thiserror::Error)]
enum TemplateError {
    #[error("no template given; use a template such as jsonpath='{{.items[*].name}}'")]
    Missing,
    #[error(transparent)]
    Syntax(#[from] JsonPathSyntaxError),
}

/// Returns the value parser of `-o` for a verb.
pub(super) fn output_parser<Own: StringEnum + Send + Sync>() -> OutputParser<Own> {
    OutputParser(PhantomData)
}

#[derive(Debug, Clone)]
pub(super) struct OutputParser<Own>(PhantomData<Own>);

impl<Own: StringEnum + Send + Sync> OutputParser<Own> {
    fn names() -> impl Iterator<Item = &'static str> {
        Own::ALL.iter().map(|own| own.as_str()).chain(["json", "yaml", JSON_PATH])
    }
}

impl<Own: StringEnum + Send + Sync> TypedValueParser for OutputParser<Own> {
    type Value = PrintFormat<Own>;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, clap::Error> {
        let text = value.to_str().unwrap_or_default();
        if text == "jsonpath" || text.starts_with(JSON_PATH) {
            let template = parse_template.parse_ref(command, argument, value)?;
            return Ok(PrintFormat::Document(DocumentFormat::JsonPath(template)));
        }
        let name = PossibleValuesParser::new(Self::names()).parse_ref(command, argument, value)?;
        Ok(match Own::ALL.iter().find(|own| own.as_str() == name) {
            Some(own) => PrintFormat::Own(*own),
            None if name == "yaml" => PrintFormat::Document(DocumentFormat::Yaml),
            None => PrintFormat::Document(DocumentFormat::Json),
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Self::names().map(PossibleValue::new)))
    }
}

fn parse_template(text: &str) -> Result<JsonPathTemplate, TemplateError> {
    match text.strip_prefix(JSON_PATH) {
        None | Some("") => Err(TemplateError::Missing),
        Some(template) => Ok(JsonPathTemplate::parse(template)?),
    }
}
