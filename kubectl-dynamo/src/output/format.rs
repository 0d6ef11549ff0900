//! The output formats of the verbs: those of one verb, such as a table, and those of every document. This file is the
//! only place that turns a document into text.

use std::fmt;

use serde_json::Value;

use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::jsonpath::JsonPathTemplate;

/// A format of every document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DocumentFormat {
    Json,
    Yaml,
    JsonPath(JsonPathTemplate),
}

impl DocumentFormat {
    /// Returns the text of a document. As in kubectl, that of a template does not end with a line feed.
    ///
    /// # Errors
    /// A template that does not fit the document.
    pub(crate) fn text(&self, document: &Value) -> Result<String> {
        match self {
            Self::Json => Ok(format!("{document:#}\n")),
            Self::Yaml => {
                Ok(serde_saphyr::to_string(document).expect("every JSON value can be written as YAML"))
            }
            Self::JsonPath(template) => Ok(template.render(document)?),
        }
    }
}

/// The value of `-o`: a format of the verb, or of its document.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum PrintFormat<Own> {
    Own(Own),
    Document(DocumentFormat),
}

impl<Own: Copy> PrintFormat<Own> {
    pub(crate) fn is_document(&self) -> bool {
        matches!(self, Self::Document(_))
    }

    /// Returns the text in this format, from the document or from the function of the verb's own formats.
    ///
    /// # Errors
    /// A template that does not fit the document.
    pub(crate) fn text(
        &self,
        document: impl FnOnce() -> Value,
        own_text: impl FnOnce(Own) -> String,
    ) -> Result<String> {
        match self {
            Self::Own(own) => Ok(own_text(*own)),
            Self::Document(format) => format.text(&document()),
        }
    }

    /// Returns the same format of another verb.
    pub(crate) fn map_own<Other>(&self, other: impl FnOnce(Own) -> Other) -> PrintFormat<Other> {
        match self {
            Self::Own(own) => PrintFormat::Own(other(*own)),
            Self::Document(format) => PrintFormat::Document(format.clone()),
        }
    }
}

/// The value of the flag.
impl<Own: Copy + StringEnum> fmt::Display for PrintFormat<Own> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(own) => f.write_str(own.as_str()),
            Self::Document(DocumentFormat::Json) => f.write_str("json"),
            Self::Document(DocumentFormat::Yaml) => f.write_str("yaml"),
            Self::Document(DocumentFormat::JsonPath(template)) => write!(f, "jsonpath={}", template.source()),
        }
    }
}

/// How many documents a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentCount {
    One,
    /// One after each change or request.
    Many,
}

/// Separates the documents of one command.
#[derive(Debug)]
pub(crate) struct DocumentSeparator {
    count: DocumentCount,
    is_first: bool,
}

impl DocumentSeparator {
    pub(crate) fn new(count: DocumentCount) -> Self {
        Self { count, is_first: true }
    }

    /// Returns the text of the next document with its separator: `---` between YAML documents, and the end of the line
    /// after the result of a template.
    pub(crate) fn separate<Own>(&mut self, mut text: String, format: &PrintFormat<Own>) -> String {
        let is_first = std::mem::replace(&mut self.is_first, false);
        match format {
            PrintFormat::Document(DocumentFormat::Yaml) if !is_first => text.insert_str(0, "---\n"),
            PrintFormat::Document(DocumentFormat::JsonPath(_))
                if self.count == DocumentCount::Many && !text.ends_with('\n') =>
            {
                text.push('\n');
            }
            _ => {}
        }
        text
    }
}

/// Defines the formats of a verb, in the order of its help.
macro_rules! own_formats {
    ($($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($variant,)*
        }

        impl StringEnum for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    )*};
}

own_formats! {
    /// A screen of text.
    TextFormat { Text = "text" }
    /// One table.
    TableFormat { Table = "table" }
    /// Tables and names of a list.
    ListFormat { Table = "table", Wide = "wide", Name = "name" }
    /// Findings of checks and probes.
    FindingsFormat { Table = "table", Junit = "junit" }
    /// An endpoint; `env` is for `eval`.
    EndpointFormat { Text = "text", Url = "url", Env = "env" }
    /// A configuration of LiteLLM, which is a document.
    GatewayConfigFormat {}
    /// The result of a benchmark.
    BenchFormat { Table = "table", Csv = "csv", Md = "md", Html = "html" }
    /// A table of predictions, or the command that serves the best one.
    RecommendFormat { Table = "table", Command = "command" }
    /// The preview of a change: its table, or the names of its objects.
    PreviewFormat { Table = "table", Name = "name" }
    /// Names of objects.
    ObjectFormat { Name = "name" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(format: &PrintFormat<TextFormat>, count: DocumentCount) -> String {
        let mut separator = DocumentSeparator::new(count);
        let documents = [json!({ "name": "a" }), json!({ "name": "b" })];
        let text = |document: &Value| format.text(|| document.clone(), |_| "screen\n".into()).unwrap();
        documents.iter().map(|document| separator.separate(text(document), format)).collect()
    }

    #[test]
    fn documents_of_a_stream_are_separated() {
        let template = |text: &str| {
            PrintFormat::Document(DocumentFormat::JsonPath(JsonPathTemplate::parse(text).unwrap()))
        };
        for (format, printed) in [
            (PrintFormat::Document(DocumentFormat::Yaml), "name: a\n---\nname: b\n"),
            (
                PrintFormat::Document(DocumentFormat::Json),
                "{\n  \"name\": \"a\"\n}\n{\n  \"name\": \"b\"\n}\n",
            ),
            (template("{.name}"), "a\nb\n"),
            (template("{.name}{\"\\n\"}"), "a\nb\n"),
            (PrintFormat::Own(TextFormat::Text), "screen\nscreen\n"),
        ] {
            assert_eq!(texts(&format, DocumentCount::Many), printed, "{format:?}");
        }
        assert_eq!(texts(&template("{.name}"), DocumentCount::One), "ab");
    }
}
