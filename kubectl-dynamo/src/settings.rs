//! The settings outside the command line: variables, the user config, and the project config of the working
//! folder. Each contains fields of a request, and the namespace. This module must not access a cluster.

pub(crate) mod edit;
pub(crate) mod error;
pub(crate) mod folders;
pub(crate) mod starter_kit;
mod write;

use std::path::{Path, PathBuf};

use model_fetcher::ProxySettings;
use serde_json::{Map, Value};
use toml_edit::{DocumentMut, Item};

use crate::settings::error::{ApiKeyUnset, ConfigError};
use crate::settings::folders::FolderKind;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::{Field, NAMESPACE, SettingSource, SettingsLayer, flatten};

/// The variable with the path of the user config, which replaces the default path.
pub(crate) const CONFIG_PATH_VARIABLE: &str = "KUBECTL_DYNAMO_CONFIG";
/// The name of the project config, in the working folder or above.
pub(crate) const PROJECT_FILE: &str = ".kubectl-dynamo.toml";

/// Reads the proxy of this machine.
pub(crate) fn proxy() -> ProxySettings {
    ProxySettings::from_variables(|name| std::env::var(name).ok())
}

/// Returns whether the preflight checks may ask registries for images (`KUBECTL_DYNAMO_IMAGE_CHECK` is not `off`).
pub(crate) fn is_image_check_enabled() -> bool {
    std::env::var("KUBECTL_DYNAMO_IMAGE_CHECK").map_or(true, |value| value != "off")
}

/// Returns the API key in a variable. A value that is not valid text is rejected later as a key.
pub(crate) fn api_key(variable: &str) -> std::result::Result<String, ApiKeyUnset> {
    match std::env::var_os(variable) {
        Some(key) => Ok(key.to_string_lossy().into_owned()),
        None => Err(ApiKeyUnset { name: variable.to_owned() }),
    }
}

/// Returns the user's pager with its arguments (`PAGER`).
pub(crate) fn pager() -> Option<String> {
    std::env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty())
}

/// Returns whether the terminal cannot move the cursor (`TERM`).
pub(crate) fn is_dumb_terminal() -> bool {
    std::env::var("TERM").map_or(true, |term| term.is_empty() || term == "dumb")
}

/// Returns the path of the user config, which may not exist: `$KUBECTL_DYNAMO_CONFIG`, else in the folder of the
/// user's config files.
pub(crate) fn user_path() -> std::result::Result<PathBuf, ConfigError> {
    if let Some(path) = std::env::var_os(CONFIG_PATH_VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let folder = FolderKind::Config.path().ok_or(ConfigError::NoHomeDirectory)?;
    Ok(folder.join("config.toml"))
}

/// Returns the path of the project config if it exists.
pub(crate) fn project_path() -> Option<PathBuf> {
    let working_folder = std::env::current_dir().ok()?;
    working_folder.ancestors().map(|folder| folder.join(PROJECT_FILE)).find(|path| path.is_file())
}

/// Reads a config file; a file that does not exist is empty.
pub(crate) fn read(path: &Path) -> std::result::Result<DocumentMut, ConfigError> {
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

/// Returns the layers of variables and config files, strongest first.
///
/// # Errors
/// Config files and variables that cannot be read.
pub(crate) fn layers() -> Result<Vec<SettingsLayer>> {
    let mut layers = vec![environment_layer()?];
    let user = user_path().ok();
    if let Some(path) = project_path().filter(|path| Some(path) != user.as_ref()) {
        layers.push(file_layer(&path, SettingSource::ProjectFile)?);
    }
    if let Some(path) = &user {
        layers.push(file_layer(path, SettingSource::UserConfig)?);
    }
    Ok(layers)
}

/// Returns the layer of one config file.
pub(crate) fn file_layer(path: &Path, source: impl Fn(String) -> SettingSource) -> Result<SettingsLayer> {
    document_layer(&read(path)?, path, source)
}

/// Returns the layer of the content of one config file.
pub(crate) fn document_layer(
    document: &DocumentMut,
    path: &Path,
    source: impl Fn(String) -> SettingSource,
) -> Result<SettingsLayer> {
    Ok(flatten(&item_to_json(document.as_item()), source(path.display().to_string()), &[&NAMESPACE])?)
}

fn environment_layer() -> Result<SettingsLayer> {
    let mut layer = SettingsLayer::new(SettingSource::Environment);
    for field in all_fields() {
        if let Some(value) = std::env::var_os(field.environment_variable()).filter(|value| !value.is_empty())
        {
            layer.set_str(field, &value.to_string_lossy())?;
        }
    }
    Ok(layer)
}

/// Returns the fields that a config file may contain.
pub(crate) fn all_fields() -> impl Iterator<Item = &'static Field> {
    [&NAMESPACE].into_iter().chain(kubectl_dynamo_core::intent::request::fields())
}

/// Returns the namespace from the environment or a config file, with the place where it is set.
///
/// # Errors
/// Config files and variables that cannot be read.
pub(crate) fn namespace() -> Result<Option<(String, String)>> {
    let merged = kubectl_dynamo_core::intent::request::MergedSettings::from_layers(layers()?);
    Ok(merged.get(NAMESPACE.path).map(|found| (found.text().to_owned(), found.describe())))
}

fn item_to_json(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => value_to_json(value),
        Item::Table(table) => entries_to_json(table.iter()),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| entries_to_json(table.iter())).collect(),
    }
}

fn entries_to_json<'a>(entries: impl Iterator<Item = (&'a str, &'a Item)>) -> Value {
    entries.map(|(key, item)| (key.to_owned(), item_to_json(item))).collect::<Map<_, _>>().into()
}

fn value_to_json(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => text.value().clone().into(),
        Toml::Integer(number) => (*number.value()).into(),
        Toml::Float(number) => (*number.value()).into(),
        Toml::Boolean(flag) => (*flag.value()).into(),
        Toml::Datetime(time) => time.value().to_string().into(),
        Toml::Array(list) => list.iter().map(value_to_json).collect(),
        Toml::InlineTable(table) => table
            .iter()
            .map(|(key, value)| (key.to_owned(), value_to_json(value)))
            .collect::<Map<_, _>>()
            .into(),
    }
}
