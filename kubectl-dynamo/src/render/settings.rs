//! Renders settings: their values with the sources, and the schema of requests.

use serde_json::{Value, json};

use crate::output::{PrintFormat, TableFormat};
use crate::render::table::table;
use crate::render::value::setting_text;
use crate::settings;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::{
    API_VERSION, Field, FieldType, MergedSettings, NAMESPACE, ResolvedSetting, SettingSource, json_schema,
};

/// Returns the value of a setting. An entry of a map has its key, unless the key was given.
pub(crate) fn value(found: &ResolvedSetting, given_key: Option<&str>) -> String {
    match &found.setting.key {
        Some(key) if given_key.is_none() && found.setting.field.kind == FieldType::Map => {
            format!("{key}={}", setting_text(&found.setting.value))
        }
        _ => setting_text(&found.setting.value),
    }
}

/// Returns every setting with its source.
///
/// # Errors
/// A template that does not fit the document.
pub(crate) fn list(merged: &MergedSettings, output: &PrintFormat<TableFormat>) -> Result<String> {
    let row = |found: &ResolvedSetting| {
        vec![found.setting.path(), setting_text(&found.setting.value), source_text(&found.source)]
    };
    output.text(
        || document(merged.iter()),
        |TableFormat::Table| table(&["FIELD", "VALUE", "SOURCE"], merged.iter().map(row).collect()),
    )
}

/// Returns settings as a document.
pub(crate) fn document<'s>(settings: impl Iterator<Item = &'s ResolvedSetting>) -> Value {
    let entry = |found: &ResolvedSetting| {
        json!({
            "field": found.setting.path(), "value": found.setting.value, "source": source_text(&found.source),
        })
    };
    json!({ "apiVersion": API_VERSION, "kind": "Settings", "settings": settings.map(entry).collect::<Vec<_>>() })
}

fn source_text(source: &SettingSource) -> String {
    match source {
        SettingSource::UserConfig(path) | SettingSource::ProjectFile(path) => format!("{source} {path}"),
        other => other.to_string(),
    }
}

/// Returns the schema of requests.
///
/// # Errors
/// A template that does not fit the schema.
pub(crate) fn schema(output: &PrintFormat<TableFormat>) -> Result<String> {
    output.text(json_schema, |TableFormat::Table| {
        let flag = |field: &Field| match field.path {
            _ if *field == NAMESPACE => "-n, --namespace".to_owned(),
            "engineArgs" => "-- …".into(),
            "kvOffload.disk" => "--kv-offload".into(),
            _ => field.flag.into(),
        };
        let rows = settings::all_fields().map(|field| {
            vec![field.path.into(), flag(field), value_type(field), field.environment_variable()]
        });
        table(&["FIELD", "FLAG", "TYPE", "VARIABLE"], rows.collect())
    })
}

fn value_type(field: &Field) -> String {
    match field.kind {
        FieldType::String => "string".into(),
        FieldType::Quantity => "quantity".into(),
        FieldType::Integer => "integer".into(),
        FieldType::Number => "number".into(),
        FieldType::Bool => "true|false".into(),
        FieldType::Enum(values) => values().join("|"),
        FieldType::List => "list of strings".into(),
        FieldType::Args => "list of arguments".into(),
        FieldType::Map => "map of strings".into(),
    }
}
