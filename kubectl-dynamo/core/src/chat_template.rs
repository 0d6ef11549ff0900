//! The chat template of a model: which of its files contain it, and which parsers read the text that it makes the
//! model write. It must not read files.

mod formats;
mod parsers;

use serde_json::Value;

pub use parsers::{DetectedParser, DetectedParsers, UnparsedFormat, detect, find_unparsed};

/// The file that contains only the template. It has precedence over the other files, as in transformers.
pub const TEMPLATE_FILE: &str = "chat_template.jinja";
/// The file of the template in older models with a processor.
pub const TEMPLATE_JSON_FILE: &str = "chat_template.json";
/// The configuration of the tokenizer, which contains the template of most models.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// The names of templates that Dynamo uses: without tools, and with tools.
const USED_NAMES: [&str; 2] = ["default", "tool_use"];

/// The chat template of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate(String);

impl ChatTemplate {
    /// Finds the template in the files of a model. `read` returns the content of a file, or `None` if the model does
    /// not have it.
    pub fn from_files(read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let from_json = |file: &str| {
            let content: Value = serde_json::from_str(&read(file)?).ok()?;
            template_text(content.get("chat_template")?)
        };
        read(TEMPLATE_FILE)
            .or_else(|| from_json(TEMPLATE_JSON_FILE))
            .or_else(|| from_json(TOKENIZER_CONFIG_FILE))
            .filter(|text| !text.trim().is_empty())
            .map(Self)
    }

    /// The text of the template.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ChatTemplate {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// The text of a template: a string, a list of named templates, or an object of named templates.
fn template_text(value: &Value) -> Option<String> {
    let named: Vec<(&str, &str)> = match value {
        Value::String(text) => return Some(text.clone()),
        Value::Array(list) => list
            .iter()
            .filter_map(|one| Some((one.get("name")?.as_str()?, one.get("template")?.as_str()?)))
            .collect(),
        Value::Object(templates) => {
            templates.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?))).collect()
        }
        _ => return None,
    };
    let used: Vec<&str> =
        named.iter().filter(|(name, _)| USED_NAMES.contains(name)).map(|(_, text)| *text).collect();
    (!used.is_empty()).then(|| used.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(files: &[(&str, String)]) -> Option<String> {
        let read = |name: &str| files.iter().find(|(file, _)| *file == name).map(|(_, text)| text.clone());
        ChatTemplate::from_files(read).map(|template| template.text().to_owned())
    }

    #[test]
    fn template_is_read_from_the_file_with_the_highest_precedence() {
        let json = |text: Value| json!({ "chat_template": text }).to_string();
        let tokenizer = (TOKENIZER_CONFIG_FILE, json("of the tokenizer".into()));
        let processor = (TEMPLATE_JSON_FILE, json("of the processor".into()));
        let alone = (TEMPLATE_FILE, "alone".to_owned());
        let all = [tokenizer.clone(), processor.clone(), alone];
        assert_eq!(template(&all).as_deref(), Some("alone"));
        assert_eq!(template(&all[..2]).as_deref(), Some("of the processor"));
        assert_eq!(template(&all[..1]).as_deref(), Some("of the tokenizer"));
        let without_template = [(TOKENIZER_CONFIG_FILE, "{}".to_owned())];
        assert_eq!((template(&[]), template(&without_template)), (None, None));
        assert_eq!(
            template(&[(TOKENIZER_CONFIG_FILE, "{".to_owned()), processor]).as_deref(),
            Some("of the processor")
        );
    }

    #[test]
    fn named_templates_without_and_with_tools_are_joined() {
        let list = json!([
            { "name": "rag", "template": "documents" },
            { "name": "default", "template": "plain" },
            { "name": "tool_use", "template": "tools" },
        ]);
        let object = json!({ "tool_use": "tools", "default": "plain" });
        for (named, text) in [(list, Some("plain\ntools")), (object, Some("plain\ntools")), (json!([]), None)]
        {
            let file = json!({ "chat_template": named }).to_string();
            assert_eq!(template(&[(TOKENIZER_CONFIG_FILE, file)]).as_deref(), text);
        }
    }
}
