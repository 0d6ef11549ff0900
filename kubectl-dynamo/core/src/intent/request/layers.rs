//! Layers of settings, one per source, and the precedence of the sources. It does not check whether settings
//! contradict each other.

use std::fmt;

use serde_json::Value;

use super::{Field, FieldType, RequestError, Setting, document, find_field, nearest_path};
use crate::intent::ValueError;

/// Source of a setting, in order of precedence, highest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingSource {
    Flag,
    Set,
    /// A file given with `-f`, with its path.
    File(String),
    /// The live deployment, with its name.
    Live(String),
    Environment,
    /// The project's config file. It is more specific than the user config, as in git, cargo, and uv.
    ProjectFile(String),
    UserConfig(String),
    Detected,
    Default,
}

/// Precedence of a source. The greater value wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence(u8);

impl SettingSource {
    /// Precedence of the source.
    pub fn precedence(&self) -> Precedence {
        Precedence(match self {
            Self::Default => 0,
            Self::Detected => 1,
            Self::UserConfig(_) => 2,
            Self::ProjectFile(_) => 3,
            Self::Environment => 4,
            Self::Live(_) => 5,
            Self::File(_) => 6,
            Self::Set => 7,
            Self::Flag => 8,
        })
    }

    /// Whether the source is the live deployment.
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Whether the source is specific to this deployment. Settings of other sources apply to every
    /// deployment, so they are ignored instead of rejected if they do not apply to this one.
    pub fn is_deployment_specific(&self) -> bool {
        match self {
            Self::Flag | Self::Set | Self::File(_) | Self::Live(_) => true,
            Self::Environment
            | Self::UserConfig(_)
            | Self::ProjectFile(_)
            | Self::Detected
            | Self::Default => false,
        }
    }

    /// Whether the source only describes new deployments: a variable or a config file never changes a live one.
    pub fn is_for_new_deployments(&self) -> bool {
        matches!(self, Self::Environment | Self::UserConfig(_) | Self::ProjectFile(_))
    }

    /// Describes where the user can find and change a value of this source, for example `--set router.mode`.
    pub fn describe(&self, field: &Field, key: Option<&str>) -> String {
        let path = field.path;
        match (self, key) {
            (Self::Flag, Some(name)) if field.kind == FieldType::Map => format!("{} {name}", field.flag),
            (Self::Flag, _) => field.flag.into(),
            (Self::Set, _) => format!("--set {path}"),
            (Self::Environment, _) => field.environment_variable(),
            (Self::Live(name), _) => format!("{path} of deployment \"{name}\""),
            (Self::File(location) | Self::UserConfig(location) | Self::ProjectFile(location), _) => {
                format!("{path} in {location}")
            }
            (Self::Detected | Self::Default, _) => path.into(),
        }
    }
}

impl fmt::Display for SettingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Set => "--set",
            Self::File(path) => return write!(f, "file {path}"),
            Self::Live(_) => "live object",
            Self::Environment => "environment",
            Self::UserConfig(_) => "user config",
            Self::ProjectFile(_) => "project file",
            Self::Detected => "detected",
            Self::Default => "default",
        })
    }
}

/// All settings of one source.
#[derive(Debug, Clone, PartialEq)]
pub struct SettingsLayer {
    pub source: SettingSource,
    pub settings: Vec<Setting>,
}

impl SettingsLayer {
    /// Creates an empty layer.
    pub fn new(source: SettingSource) -> Self {
        Self { source, settings: Vec::new() }
    }

    /// Adds a value in the notation of flags, variables, and `--set`. Lists and maps accept elements
    /// separated by commas, or JSON. Engine arguments accept arguments separated by spaces, or JSON.
    ///
    /// # Errors
    /// [`RequestError::Value`].
    pub fn set_str(&mut self, field: &'static Field, text: &str) -> Result<(), RequestError> {
        let value = document::parse_value(field, text).map_err(|reason| self.invalid_value(field, reason))?;
        self.set_json(field, &value)
    }

    /// Adds one element of a list, one `KEY=VALUE`, or one complete value, without splitting it at
    /// separators.
    ///
    /// # Errors
    /// [`RequestError::Value`].
    pub fn push_str(&mut self, field: &'static Field, text: &str) -> Result<(), RequestError> {
        match field.kind {
            FieldType::List => self.set_json(field, &Value::from(vec![text])),
            FieldType::Map => {
                let (key, value) = text
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| self.invalid_value(field, ValueError::Expected("KEY=VALUE")))?;
                self.set_json(field, &serde_json::json!({ key: value }))
            }
            _ => self.set_str(field, text),
        }
    }

    /// Adds a JSON value, for example from a file.
    ///
    /// # Errors
    /// [`RequestError::Value`].
    pub fn set_json(&mut self, field: &'static Field, value: &Value) -> Result<(), RequestError> {
        let settings = document::settings_from_value(field, value)
            .map_err(|reason| self.invalid_value(field, reason))?;
        // Arguments may contain a flag several times; other elements occur once.
        let is_replaced =
            |known: &Setting| settings.iter().any(|new| known.field == new.field && known.key == new.key);
        self.settings.retain(|known| !is_replaced(known));
        for (at, setting) in settings.iter().enumerate() {
            let is_repeated = settings[at + 1..].iter().any(|later| later.key == setting.key);
            if field.kind == FieldType::Args || !is_repeated {
                self.settings.push(setting.clone());
            }
        }
        Ok(())
    }

    /// Parses `PATH=VALUE` and adds it. A path may continue into a map (`labels.team=search`), and `null`
    /// removes the value of sources with lower precedence.
    ///
    /// # Errors
    /// [`RequestError::UnknownField`] with the nearest path, and values that cannot be parsed.
    pub fn set(&mut self, assignment: &str) -> Result<(), RequestError> {
        let (path, text) = assignment
            .split_once('=')
            .filter(|(path, _)| !path.is_empty())
            .ok_or_else(|| RequestError::NoAssignment { given: assignment.into() })?;
        if let Some(field) = find_field(path).filter(|field| *field != &super::NAMESPACE) {
            return self.set_str(field, text);
        }
        let map_entry = path.match_indices('.').find_map(|(dot, _)| {
            let field = find_field(&path[..dot]).filter(|field| field.kind == FieldType::Map)?;
            Some((field, path[dot + 1..].replace("\\.", ".")))
        });
        match map_entry {
            Some((field, key)) if text == "null" => {
                self.settings.push(Setting { field, key: Some(key), value: Value::Null });
                Ok(())
            }
            Some((field, key)) => self.set_json(field, &serde_json::json!({ key: text })),
            None => Err(RequestError::UnknownField {
                path: path.into(),
                location: "--set".into(),
                nearest: nearest_path(path),
            }),
        }
    }

    fn invalid_value(&self, field: &Field, reason: ValueError) -> RequestError {
        let setting = self.source.describe(field, None);
        let example = match &self.source {
            SettingSource::Flag if field.flag == "--" => format!("-- {}", field.example),
            SettingSource::Flag => format!("{}={}", field.flag, document::example_value(field)),
            SettingSource::Environment => {
                format!("{}={}", field.environment_variable(), document::example_value(field))
            }
            _ => format!("{}={}", field.path, document::example_value(field)),
        };
        match field.kind {
            FieldType::Quantity => RequestError::Quantity { setting, reason, example },
            _ => RequestError::Value { setting, reason, example },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_values_are_reported_with_their_source() {
        let error_message = |source: SettingSource, path: &str, text: &str| {
            let field = find_field(path).expect("a field");
            SettingsLayer::new(source).set_str(field, text).expect_err("an invalid value").to_string()
        };
        assert_eq!(
            error_message(SettingSource::Flag, "decode.tensorParallelSize", "two"),
            "--decode-tp: \"two\" is not a whole number"
        );
        assert_eq!(
            error_message(SettingSource::Environment, "router.mode", "best"),
            "KUBECTL_DYNAMO_ROUTER_MODE: \"best\" is not one of round-robin, random, kv"
        );
        let unknown =
            SettingsLayer::new(SettingSource::Set).set("rooter.mode=kv").expect_err("an unknown field");
        assert_eq!(unknown.to_string(), "unknown field \"rooter.mode\" (in --set)");
        assert!(crate::error::Explain::hint(&unknown).expect("a hint").to_string().contains("router.mode"));
    }
}
