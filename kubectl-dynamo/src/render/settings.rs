//! Renders settings: their values with the sources, and the schema of requests.

use serde_json::{Value, json};

use crate::render::plan_table::PlanFormat;
use crate::render::table::table;
use crate::render::value::setting_text;
use crate::settings;
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
pub(crate) fn list(merged: &MergedSettings, output: PlanFormat) -> String {
    let source_text = |source: &SettingSource| match source {
        SettingSource::UserConfig(path) | SettingSource::ProjectFile(path) => format!("{source} {path}"),
        other => other.to_string(),
    };
    match output {
        PlanFormat::Table => {
            let row = |found: &ResolvedSetting| {
                vec![found.setting.path(), setting_text(&found.setting.value), source_text(&found.source)]
            };
            table(&["FIELD", "VALUE", "SOURCE"], merged.iter().map(row).collect())
        }
        PlanFormat::Json => {
            let entry_json = |found: &ResolvedSetting| json!({ "field": found.setting.path(), "value": found.setting.value, "source": source_text(&found.source) });
            let settings: Vec<Value> = merged.iter().map(entry_json).collect();
            format!("{:#}\n", json!({ "apiVersion": API_VERSION, "kind": "Settings", "settings": settings }))
        }
    }
}

/// Returns the schema of requests.
pub(crate) fn schema(output: PlanFormat) -> String {
    match output {
        PlanFormat::Json => format!("{:#}\n", json_schema()),
        PlanFormat::Table => {
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
        }
    }
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
