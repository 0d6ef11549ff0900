//! The settings of the starter kit's `config.json`: what applies here is taken over, and the rest is named.

use std::path::Path;

use serde_json::Value;

use super::error::ConfigError;
use super::{put_all, said, settings, write};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::intent::request::Source;
use crate::intent::{AccessMode, Word};
use crate::release::Release;

/// The kit's platforms.
const PLATFORMS: [&str; 2] = ["k8s", "eks"];

/// Reads the file and writes what applies to the user's config.
pub(super) fn import(file: &Path, platform: Option<&str>, context: &Context) -> Result<Exit> {
    let path = file.display().to_string();
    let not_of_kit = |reason: String| ConfigError::NotOfTheKit { path: path.clone(), reason };
    let text = std::fs::read_to_string(file)
        .map_err(|source| ConfigError::Unreadable { path: file.into(), source })?;
    let content: Value = serde_json::from_str(&text).map_err(|error| not_of_kit(error.to_string()))?;
    let platform = chosen(&content, platform, &path)?;
    let (settings, left_out) = settings_of(&content["platform"][platform]);
    let mut layers = Vec::new();
    for (name, value) in &settings {
        layers.push(said(name, value, Source::UserConfig)?);
    }
    if let Some((_, release)) = settings.iter().find(|(name, _)| *name == "release") {
        Release::find(release)?;
    }
    let target = settings::user_path()?;
    write(&target, |document| {
        for layer in &layers {
            put_all(document, layer);
        }
    })?;
    for (name, value) in &settings {
        context.report.detail(format!("{name} = {value}"));
    }
    for left in left_out {
        context.report.detail(format!("left out: {left}"));
    }
    context.report.detail(format!("written: {}", target.display()));
    Ok(Exit::Ok)
}

fn chosen<'a>(
    content: &Value,
    given: Option<&'a str>,
    path: &str,
) -> std::result::Result<&'a str, ConfigError> {
    let has = |platform: &str| content["platform"][platform]["dynamoPlatform"].is_object();
    let there: Vec<&'static str> = PLATFORMS.into_iter().filter(|platform| has(platform)).collect();
    match (given, there.as_slice()) {
        (Some(given), _) if has(given) => Ok(given),
        (Some(given), _) => Err(ConfigError::NotOfTheKit {
            path: path.into(),
            reason: format!("it has no platform.{given}.dynamoPlatform"),
        }),
        (None, []) => Err(ConfigError::NotOfTheKit {
            path: path.into(),
            reason: "it has no platform.<k8s|eks>.dynamoPlatform".into(),
        }),
        (None, [only]) => Ok(only),
        (None, several) => {
            Err(ConfigError::WhichPlatform { path: path.into(), platforms: several.join(" and ") })
        }
    }
}

/// The settings that a platform's part says, and what of it has no meaning here.
fn settings_of(platform: &Value) -> (Vec<(&'static str, String)>, Vec<String>) {
    let mut settings = Vec::new();
    let mut left_out = Vec::new();
    let dynamo = &platform["dynamoPlatform"];
    for (key, value) in dynamo.as_object().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            // The kit takes the image without the chart's own suffix, and so do its rows here.
            ("releaseVersion", Some(version)) => {
                settings.push(("release", version.split("-post").next().unwrap_or_default().into()));
            }
            ("namespace", Some(namespace)) => settings.push(("namespace", namespace.into())),
            _ => {
                left_out.push(format!("dynamoPlatform.{key}: it belongs to the platform's own installation"))
            }
        }
    }
    for (key, value) in platform.as_object().into_iter().flatten() {
        match (key.as_str(), value.as_str()) {
            ("dynamoPlatform", _) => {}
            ("storageClass", Some(class)) => {
                settings.push(("cache.storageClass", class.into()));
                // As the kit does: such volumes are folders of one node.
                if class == "local-path" {
                    settings.push(("cache.accessMode", AccessMode::ReadWriteOnce.as_str().into()));
                }
            }
            _ => left_out.push(format!("{key}: nothing here asks for it")),
        }
    }
    left_out.push(
        "the kit's claim: to go on with it, kubectl dynamo config set cache.claim dynamo-model-cache".into(),
    );
    (settings, left_out)
}
