//! The value parser of `-o`: the formats of a verb, and `json`, `yaml`, and `jsonpath=TEMPLATE`.

use std::ffi::OsStr;
use std::marker::PhantomData;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command};

use crate::kube_flags::FlagError;
use crate::output::{DocumentFormat, PreviewFormat, PrintFormat, TableFormat};
use kubectl_dynamo_core::error;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::jsonpath::{JsonPathSyntaxError, JsonPathTemplate};

/// The start of a value with a template.
const JSON_PATH: &str = "jsonpath=";

/// The start of a value with the path of a template.
const JSON_PATH_FILE: &str = "jsonpath-file=";

/// Why the text after `jsonpath=` is not a template.
#[derive(Debug, thiserror::Error)]
enum TemplateError {
    #[error("no template given; use a template such as jsonpath='{{.items[*].name}}'")]
    Missing,
    #[error("no file given; use a file with a template such as jsonpath-file=names.jsonpath")]
    MissingFile,
    #[error("{path}: {error}")]
    File { path: String, error: std::io::Error },
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
        Own::ALL.iter().map(|own| own.as_str()).chain(["json", "yaml", JSON_PATH, JSON_PATH_FILE])
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
        let is_template = |start: &str| text.starts_with(start) || text == start.trim_end_matches('=');
        if is_template(JSON_PATH) || is_template(JSON_PATH_FILE) {
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
    if text.starts_with(JSON_PATH_FILE.trim_end_matches('=')) {
        let path = text.strip_prefix(JSON_PATH_FILE).filter(|path| !path.is_empty());
        let path = path.ok_or(TemplateError::MissingFile)?;
        let template = std::fs::read_to_string(path);
        let template = template.map_err(|error| TemplateError::File { path: path.into(), error })?;
        return Ok(JsonPathTemplate::parse(&template)?);
    }
    match text.strip_prefix(JSON_PATH) {
        None | Some("") => Err(TemplateError::Missing),
        Some(template) => Ok(JsonPathTemplate::parse(template)?),
    }
}

/// Returns the format of a plan, which is not an object and does not have a name.
pub(super) fn plan_format(
    output: Option<&PrintFormat<PreviewFormat>>,
) -> error::Result<PrintFormat<TableFormat>> {
    match output {
        None | Some(PrintFormat::Own(PreviewFormat::Table)) => Ok(PrintFormat::Own(TableFormat::Table)),
        Some(PrintFormat::Own(PreviewFormat::Name)) => {
            Err(FlagError::UnsuitableFormat { format: "name", place: "with --plan" }.into())
        }
        Some(PrintFormat::Document(format)) => Ok(PrintFormat::Document(format.clone())),
    }
}
