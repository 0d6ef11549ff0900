//! Writes our entries into the text of a proxy's configuration, between marker comments. Every byte outside of the
//! markers stays as it is, so that comments and the order of other tools survive. The result is parsed and compared, and
//! a text that cannot be changed in this way is refused.

mod sections;

use serde_json::{Map, Value};

use super::GatewayConfig;
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME};
use crate::error::Explain;
use sections::{MarkedText, SectionKind};

/// The field with the entries.
const MODEL_LIST: &str = "model_list";

/// The changed text, and what it does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedText {
    pub text: String,
    /// Settings of a group that the text outside of the markers must set, such as `router_settings.num_retries: 2`.
    pub missing_settings: Vec<String>,
}

/// Why a text is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TextEditError {
    #[error("the markers of kubectl-dynamo are broken: {reason}")]
    BrokenMarkers { reason: String },
    #[error("the text is not a YAML document with fields: {reason}")]
    NotYaml { reason: String },
    #[error("{MODEL_LIST} is not a list with one line for each field")]
    UnknownLayout,
    #[error("the change would alter other parts of the configuration")]
    AltersOtherParts,
}

impl Explain for TextEditError {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::GatewayTextNotEditable)
    }

    fn hint(&self) -> Option<Fix> {
        let edit = SuggestedCommand::kubectl("edit configmap").operand("", UNKNOWN_NAME);
        Some(edit.after("paste the entries from standard output below model_list: "))
    }
}

/// Writes the entries of `config`, and the settings that the text does not have, between the markers.
///
/// # Errors
/// Markers that are not in pairs, and a text that cannot be changed without altering other parts of it.
pub fn edit_marked_text(text: &str, config: &GatewayConfig) -> Result<EditedText, TextEditError> {
    let mut marked = MarkedText::parse(text)?;
    let outside = parse_fields(&marked.outside())?;
    let entries = indented_entries(config);
    if outside.contains_key(MODEL_LIST) {
        marked.set_entries(&entries)?;
    } else {
        let lines =
            [format!("{MODEL_LIST}:")].into_iter().chain(entries.iter().map(|line| format!("  {line}")));
        marked.set_at_end(SectionKind::Entries, lines.collect());
    }
    let (settings, missing_settings) = split_settings(config, &outside);
    marked.set_at_end(SectionKind::Settings, yaml_lines(&Value::Object(settings.clone())));
    let edited = marked.text();
    verify(&edited, config, &outside, &settings)?;
    Ok(EditedText { text: edited, missing_settings })
}

/// The entries as the items of a YAML list.
fn indented_entries(config: &GatewayConfig) -> Vec<String> {
    let yaml = serde_saphyr::to_string(&config.model_list).expect("text and numbers can be written as YAML");
    yaml.lines().map(str::to_owned).collect()
}

fn yaml_lines(fields: &Value) -> Vec<String> {
    if fields.as_object().is_none_or(Map::is_empty) {
        return Vec::new();
    }
    let yaml = serde_saphyr::to_string(fields).expect("text and numbers can be written as YAML");
    yaml.lines().map(str::to_owned).collect()
}

/// Divides the settings into those that can be added as a field, and those of a field that the text already has.
fn split_settings(config: &GatewayConfig, outside: &Map<String, Value>) -> (Map<String, Value>, Vec<String>) {
    let (mut added, mut missing) = (Map::new(), Vec::new());
    for (field, wanted) in &config.settings {
        match outside.get(*field) {
            None => drop(added.insert((*field).to_owned(), wanted.clone())),
            Some(present) => collect_missing(field, wanted, present, &mut missing),
        }
    }
    (added, missing)
}

fn collect_missing(path: &str, wanted: &Value, present: &Value, missing: &mut Vec<String>) {
    match wanted {
        Value::Object(fields) => {
            for (field, wanted) in fields {
                let present = present.get(field).unwrap_or(&Value::Null);
                collect_missing(&format!("{path}.{field}"), wanted, present, missing);
            }
        }
        // Another number of retries or another interval is a decision of the user.
        _ if present.is_null() || (wanted.is_boolean() && wanted != present) => {
            missing.push(format!("{path}: {wanted}"));
        }
        _ => {}
    }
}

fn parse_fields(text: &str) -> Result<Map<String, Value>, TextEditError> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(TextEditError::NotYaml { reason: "it does not have fields".into() }),
        Err(error) => {
            let reason = error.to_string();
            let first = reason.lines().next().unwrap_or_default().to_owned();
            Err(TextEditError::NotYaml { reason: first })
        }
    }
}

/// Checks that the changed text has the entries and settings, and that everything else is as before.
fn verify(
    edited: &str,
    config: &GatewayConfig,
    outside: &Map<String, Value>,
    settings: &Map<String, Value>,
) -> Result<(), TextEditError> {
    let mut fields = parse_fields(edited).map_err(|_| TextEditError::AltersOtherParts)?;
    let mut list = match fields.remove(MODEL_LIST) {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(TextEditError::AltersOtherParts),
    };
    let ours: Vec<Value> = match serde_json::to_value(&config.model_list) {
        Ok(Value::Array(ours)) => ours,
        _ => Vec::new(),
    };
    for one in &ours {
        let at = list.iter().rposition(|listed| listed == one).ok_or(TextEditError::AltersOtherParts)?;
        list.remove(at);
    }
    let mut expected = outside.clone();
    let expected_list = match expected.remove(MODEL_LIST) {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err(TextEditError::UnknownLayout),
    };
    expected.extend(settings.clone());
    match list == expected_list && fields == expected {
        true => Ok(()),
        false => Err(TextEditError::AltersOtherParts),
    }
}

#[cfg(test)]
mod tests;
