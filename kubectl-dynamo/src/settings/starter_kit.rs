//! Imports the settings of the starter kit's `config.json`. Settings that do not apply here are listed as
//! skipped; nothing may be dropped silently.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::settings;
use crate::settings::edit::{parse_setting, write, write_layer};
use crate::settings::error::ConfigError;
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::SettingSource;
use kubectl_dynamo_core::intent::{AccessMode, StringEnum};
use kubectl_dynamo_core::release::Release;

/// The platforms in the kit's `config.json`.
const PLATFORMS: [&str; 2] = ["k8s", "eks"];

/// What was imported.
pub(crate) struct ImportedKit {
    /// Names and values of the settings.
    pub settings: Vec<(&'static str, String)>,
    /// Why other entries are skipped.
    pub skipped: Vec<String>,
    /// The path of the changed file.
    pub path: PathBuf,
}

/// Reads the file and writes the applicable settings to the user config.
///
/// # Errors
/// A file that is not a kit's config, an invalid value, or a config that cannot be written.
pub(crate) fn import(file: &Path, platform: Option<&str>) -> Result<ImportedKit> {
    let path = file.display().to_string();
    let invalid_kit = |reason: String| ConfigError::InvalidStarterKit { path: path.clone(), reason };
    let text = std::fs::read_to_string(file)
        .map_err(|source| ConfigError::Unreadable { path: file.into(), source })?;
    let content: Value = serde_json::from_str(&text).map_err(|error| invalid_kit(error.to_string()))?;
    let platform = choose_platform(&content, platform, &path)?;
    let (settings, skipped) =
        convert_platform(content.pointer(&format!("/platform/{platform}")).unwrap_or(&Value::Null));
    let mut layers = Vec::new();
    for (name, value) in &settings {
        layers.push(parse_setting(name, value, SettingSource::UserConfig)?);
    }
    if let Some((_, release)) = settings.iter().find(|(name, _)| *name == "release") {
        Release::find(release)?;
    }
    let target = settings::user_path()?;
    write(&target, |document| {
        for layer in &layers {
            write_layer(document, layer);
        }
    })?;
    Ok(ImportedKit { settings, skipped, path: target })
}

fn choose_platform<'a>(
    content: &Value,
    requested: Option<&'a str>,
    path: &str,
) -> std::result::Result<&'a str, ConfigError> {
    let has_platform = |platform: &str| {
        content.pointer(&format!("/platform/{platform}/dynamoPlatform")).is_some_and(Value::is_object)
    };
    let available: Vec<&'static str> =
        PLATFORMS.into_iter().filter(|platform| has_platform(platform)).collect();
    match (requested, available.as_slice()) {
        (Some(requested), _) if has_platform(requested) => Ok(requested),
        (Some(requested), _) => Err(ConfigError::InvalidStarterKit {
            path: path.into(),
            reason: format!("platform.{requested}.dynamoPlatform not found"),
        }),
        (None, []) => Err(ConfigError::InvalidStarterKit {
            path: path.into(),
            reason: "platform.<k8s|eks>.dynamoPlatform not found".into(),
        }),
        (None, [only]) => Ok(only),
        (None, several) => {
            Err(ConfigError::AmbiguousPlatform { path: path.into(), platforms: several.join(" and ") })
        }
    }
}

/// Returns the settings of one platform, and the reasons why its other entries are skipped.
fn convert_platform(platform: &Value) -> (Vec<(&'static str, String)>, Vec<String>) {
    let mut settings = Vec::new();
    let mut skipped = Vec::new();
    let dynamo = platform.get("dynamoPlatform").and_then(Value::as_object);
    for (key, value) in dynamo.into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            // As in the kit, the image tag is the chart version without its `-post` suffix.
            ("releaseVersion", Some(version)) => {
                settings.push(("release", version.split("-post").next().unwrap_or_default().into()));
            }
            ("namespace", Some(namespace)) => settings.push(("namespace", namespace.into())),
            _ => skipped.push(format!("dynamoPlatform.{key}: only used to install the platform")),
        }
    }
    for (key, value) in platform.as_object().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            ("dynamoPlatform", _) => {}
            ("storageClass", Some(class)) => {
                settings.push(("cache.storageClass", class.into()));
                // As in the kit: `local-path` volumes are folders of one node.
                if class == "local-path" {
                    settings.push(("cache.accessMode", AccessMode::ReadWriteOnce.as_str().into()));
                }
            }
            _ => skipped.push(format!("{key}: not used by kubectl-dynamo")),
        }
    }
    let set = SuggestedCommand::plugin("config set cache.claim dynamo-model-cache");
    skipped.push(set.after("PVC of the kit: to use it, run ").to_string());
    (settings, skipped)
}
