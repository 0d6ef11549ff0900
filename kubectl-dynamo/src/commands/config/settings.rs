//! The settings a person keeps: a file of their own, and one of the project they stand in. Both hold fields of a
//! request, and the namespace.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use serde_json::{Map, Value};
use toml_edit::{DocumentMut, Item};

use super::error::ConfigError;
use crate::error::Result;
use crate::intent::request::{Field, Layer, NAMESPACE, Source, flatten};

/// Names the user's file in place of the usual one.
pub(in crate::commands) const VARIABLE: &str = "KUBECTL_DYNAMO_CONFIG";
/// The project's file, in the working folder or above.
pub(super) const PROJECT_FILE: &str = ".kubectl-dynamo.toml";

/// The user's file, whether it exists or not: `$KUBECTL_DYNAMO_CONFIG`, else below the XDG folder.
pub(super) fn user_path() -> std::result::Result<PathBuf, ConfigError> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let folders = etcetera::choose_base_strategy().map_err(|_| ConfigError::NoHome)?;
    Ok(folders.config_dir().join("kubectl-dynamo").join("config.toml"))
}

/// The project's file, where there is one.
pub(super) fn project_path() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(PROJECT_FILE)).find(|path| path.is_file())
}

/// Reads a file; one that is not there is empty.
pub(super) fn read(path: &Path) -> std::result::Result<DocumentMut, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(ConfigError::Unreadable { path: path.into(), source }),
    };
    text.parse().map_err(|error: toml_edit::TomlError| ConfigError::Invalid {
        path: path.into(),
        reason: error.to_string().trim_end().into(),
    })
}

/// What every place outside the command line says, strongest first.
///
/// # Errors
/// Files and variables that cannot be read.
pub(in crate::commands) fn layers() -> Result<Vec<Layer>> {
    let mut layers = vec![environment()?];
    let user = user_path().ok();
    if let Some(path) = &user {
        layers.push(file_layer(path, Source::UserConfig)?);
    }
    if let Some(path) = project_path().filter(|path| Some(path) != user.as_ref()) {
        layers.push(file_layer(&path, Source::ProjectFile)?);
    }
    Ok(layers)
}

/// What one file says.
pub(super) fn file_layer(path: &Path, source: impl Fn(String) -> Source) -> Result<Layer> {
    layer_of(&read(path)?, path, source)
}

/// What the content of one file says.
pub(super) fn layer_of(
    document: &DocumentMut,
    path: &Path,
    source: impl Fn(String) -> Source,
) -> Result<Layer> {
    Ok(flatten(&json_of(document.as_item()), source(path.display().to_string()), &[&NAMESPACE])?)
}

fn environment() -> Result<Layer> {
    let mut layer = Layer::of(Source::Environment);
    for field in all_fields() {
        if let Some(value) = std::env::var_os(field.variable()).filter(|value| !value.is_empty()) {
            layer.say(field, &value.to_string_lossy())?;
        }
    }
    Ok(layer)
}

/// The fields of a config file.
pub(super) fn all_fields() -> impl Iterator<Item = &'static Field> {
    [&NAMESPACE].into_iter().chain(crate::intent::request::fields())
}

/// The namespace that the environment or a config file names.
///
/// # Errors
/// Files and variables that cannot be read.
pub(in crate::commands) fn namespace() -> Result<Option<String>> {
    let merged = crate::intent::request::Merged::of(layers()?);
    Ok(merged.get(NAMESPACE.path).map(|found| found.text().to_owned()))
}

fn json_of(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => json_of_value(value),
        Item::Table(table) => object(table.iter()),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| object(table.iter())).collect(),
    }
}

fn object<'a>(entries: impl Iterator<Item = (&'a str, &'a Item)>) -> Value {
    entries.map(|(key, item)| (key.to_owned(), json_of(item))).collect::<Map<_, _>>().into()
}

fn json_of_value(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => text.value().clone().into(),
        Toml::Integer(number) => (*number.value()).into(),
        Toml::Float(number) => (*number.value()).into(),
        Toml::Boolean(flag) => (*flag.value()).into(),
        Toml::Datetime(time) => time.value().to_string().into(),
        Toml::Array(list) => list.iter().map(json_of_value).collect(),
        Toml::InlineTable(table) => table
            .iter()
            .map(|(key, value)| (key.to_owned(), json_of_value(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}
