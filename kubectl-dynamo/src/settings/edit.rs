//! Changes settings in the config files and keeps their comments and order.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item};

use crate::settings;
use crate::settings::error::ConfigError;
use crate::settings::write::ConfigTarget;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::{
    Field, FieldType, RequestError, SettingSource, SettingsLayer, find_field, nearest_path,
};

/// Returns a field by its path, which may include the key of a map, as in `nodeSelector.pool`.
pub(crate) fn find_setting(name: &str) -> Result<(&'static Field, Option<String>)> {
    let map_field = || {
        let dots = name.match_indices('.');
        dots.filter_map(|(dot, _)| {
            Some((find_field(&name[..dot])?, Some(name[dot + 1..].replace("\\.", "."))))
        })
        .find(|(field, _)| field.kind == FieldType::Map)
    };
    let found = find_field(name).map(|field| (field, None)).or_else(map_field);
    Ok(found.ok_or_else(|| RequestError::UnknownField {
        path: name.into(),
        location: String::new(),
        nearest: nearest_path(name),
    })?)
}

/// Creates the source of a config file from its path.
pub(super) type SourceFromPath = fn(String) -> SettingSource;

/// A config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConfigFile {
    User,
    /// The project config, which is created in the working folder if it does not exist.
    Project,
}

/// Returns the path of a config file and its source.
fn target_file(file: ConfigFile) -> Result<(PathBuf, SourceFromPath)> {
    match file {
        ConfigFile::User => Ok((settings::user_path()?, SettingSource::UserConfig)),
        ConfigFile::Project => {
            let path = settings::project_path().unwrap_or_else(|| PathBuf::from(settings::PROJECT_FILE));
            Ok((path, SettingSource::ProjectFile))
        }
    }
}

/// Changes a setting. Returns the path of the changed file.
///
/// # Errors
/// An unknown field, an invalid value, or a file that cannot be written.
pub(crate) fn set(name: &str, value: &str, file: ConfigFile) -> Result<PathBuf> {
    let (path, source) = target_file(file)?;
    let layer = parse_setting(name, value, source)?;
    write(&path, |document| write_layer(document, &layer))?;
    Ok(path)
}

/// Removes a setting. Returns the path of the changed file.
///
/// # Errors
/// An unknown field, or a file that cannot be written.
pub(crate) fn unset(name: &str, file: ConfigFile) -> Result<PathBuf> {
    let (path, _) = target_file(file)?;
    let (field, key) = find_setting(name)?;
    write(&path, |document| remove(document, field, key.as_deref()))?;
    Ok(path)
}

/// Parses a value as a config file would contain it.
pub(super) fn parse_setting(name: &str, value: &str, source: SourceFromPath) -> Result<SettingsLayer> {
    let mut layer = SettingsLayer::new(source("the config file".into()));
    match find_setting(name)? {
        (field, None) => layer.set_str(field, value)?,
        (field, Some(key)) => layer.set_json(field, &json!({ key: value }))?,
    }
    Ok(layer)
}

/// Changes a file in place and keeps its comments and order. The result must be valid before it is written.
pub(super) fn write(path: &Path, change: impl FnOnce(&mut DocumentMut)) -> Result<()> {
    // The lock makes concurrent runs write one after the other, so that no setting is lost.
    let target = ConfigTarget::lock(path)?;
    let mut document = settings::read(path)?;
    change(&mut document);
    settings::document_layer(&document, path, SettingSource::UserConfig)?;
    let unwritable = |source| ConfigError::Unwritable { path: path.into(), source };
    target.replace(&document.to_string()).map_err(unwritable)?;
    Ok(())
}

/// Writes the settings of a layer. A map keeps its other keys; any other field is replaced.
pub(super) fn write_layer(document: &mut DocumentMut, layer: &SettingsLayer) {
    for leaf in &layer.settings {
        let mut parts: Vec<&str> = leaf.field.path.split('.').collect();
        let value = match (leaf.field.kind, &leaf.key) {
            (FieldType::Map, Some(key)) => {
                parts.push(key);
                leaf.value.clone()
            }
            _ => field_value(leaf.field, layer),
        };
        set_value(document, &parts, &value);
    }
}

fn set_value(document: &mut DocumentMut, parts: &[&str], value: &Value) {
    let (last, parents) = parts.split_last().expect("a field path has at least one part");
    let mut item: &mut Item = document.as_item_mut();
    for part in parents {
        item = item.as_table_like_mut().expect("a parent of a field is a table").entry(part).or_insert_with(
            || {
                let mut table = toml_edit::Table::new();
                table.set_implicit(true);
                Item::Table(table)
            },
        );
        if !item.is_table_like() {
            *item = Item::Table(toml_edit::Table::new());
        }
    }
    item[last] = match item.get(last).and_then(Item::as_value) {
        // Keep the decoration of the old value, such as a trailing comment.
        Some(old) => {
            let decor = old.decor().clone();
            let mut new = to_toml(value);
            *new.decor_mut() = decor;
            Item::Value(new)
        }
        None => toml_edit::value(to_toml(value)),
    };
}

/// Returns the complete value of a field in a layer.
fn field_value(field: &Field, layer: &SettingsLayer) -> Value {
    let leaves = layer.settings.iter().filter(|leaf| leaf.field == field);
    match field.kind {
        FieldType::List => leaves.map(|leaf| leaf.value.clone()).collect(),
        FieldType::Args => {
            leaves.flat_map(|leaf| leaf.value.as_array().cloned().unwrap_or_default()).collect()
        }
        _ => leaves.map(|leaf| leaf.value.clone()).next().unwrap_or_default(),
    }
}

fn to_toml(value: &Value) -> toml_edit::Value {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => integer.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::Array(list) => list.iter().map(to_toml).collect(),
        Value::Object(pairs) => {
            let table: toml_edit::InlineTable =
                pairs.iter().map(|(key, value)| (key.as_str(), to_toml(value))).collect();
            table.into()
        }
        Value::String(text) => text.as_str().into(),
        Value::Null => "".into(),
    }
}

fn remove(document: &mut DocumentMut, field: &Field, key: Option<&str>) {
    let parts: Vec<&str> = field.path.split('.').chain(key).collect();
    let (last, parents) = parts.split_last().expect("a field path has at least one part");
    let parent = parents.iter().try_fold(document.as_item_mut(), |item, part| item.get_mut(part));
    if let Some(table) = parent.and_then(Item::as_table_like_mut) {
        table.remove(last);
    }
}
