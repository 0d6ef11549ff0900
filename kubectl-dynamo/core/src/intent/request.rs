//! Partial requests: settings by field path, before defaults are applied. Flags, `--set`, files, the
//! environment, a live deployment, and config files all become a [`SettingsLayer`] of the same fields, so
//! every setting can be given in every source. This module does not read files or the environment.

mod argument_groups;
mod document;
mod fields;
mod layers;
mod merge;
mod schema;
mod to_command_line;

use serde_json::Value;

use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand};
use crate::error::Explain;
use crate::intent::ValueError;
pub(crate) use argument_groups::group_by_flag;
pub use document::{API_VERSION, KIND, flatten, intent_settings, live_layer, to_document};
pub use fields::{
    Field, FieldType, GROUPS, Heading, NAMESPACE, TopologyMode, fields, find_field, nearest_path,
};
pub use layers::{Precedence, SettingSource, SettingsLayer};
pub use merge::{MergedSettings, ResolvedSetting, merge};
pub use schema::json_schema;
pub use to_command_line::{shell_quote, to_args};

/// The value of a field, or of one key or element of a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    pub field: &'static Field,
    /// The key of a map, the element of a list, or the name of an engine flag.
    pub key: Option<String>,
    /// The value. `null` removes the value of layers with lower precedence.
    pub value: Value,
}

impl Setting {
    /// Path of the value, in the notation of `--set` and `--plan`.
    pub fn path(&self) -> String {
        match (&self.key, self.field.kind) {
            (Some(key), FieldType::Map) => format!("{}.{}", self.field.path, key.replace('.', "\\.")),
            (Some(key), _) => format!("{}[{key}]", self.field.path),
            (None, _) => self.field.path.into(),
        }
    }
}

/// Why a setting cannot be parsed. A message contains the value only if the value cannot be a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    #[error("unknown field \"{path}\"{}", in_location(.location))]
    UnknownField { path: String, location: String, nearest: &'static str },
    #[error("{setting}: {reason}")]
    Value { setting: String, reason: ValueError, example: String },
    #[error("{setting}: {reason}")]
    Quantity { setting: String, reason: ValueError, example: String },
    #[error("invalid --set argument \"{given}\": expected PATH=VALUE")]
    NoAssignment { given: String },
    #[error("{location} is not a valid {KIND} of {API_VERSION}: {reason}")]
    Document { location: String, reason: String },
}

fn in_location(location: &str) -> String {
    if location.is_empty() { String::new() } else { format!(" (in {location})") }
}

impl Explain for RequestError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::UnknownField { .. } => MessageCode::UnknownField,
            Self::Value { .. } | Self::NoAssignment { .. } => MessageCode::InvalidValue,
            Self::Quantity { .. } => MessageCode::InvalidQuantity,
            Self::Document { .. } => MessageCode::InvalidManifestFile,
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::UnknownField { nearest, .. } => SuggestedCommand::list_fields()
                .after(format!("did you mean {nearest}? (list all fields with "))
                .text(")"),
            Self::Value { example, .. } | Self::Quantity { example, .. } => {
                format!("use, for example, {example}").into()
            }
            Self::NoAssignment { .. } => "use, for example, --set router.mode=kv".into(),
            Self::Document { .. } => format!(
                "start it with `apiVersion: {API_VERSION}` and `kind: {KIND}`, or use a DynamoGraphDeployment"
            )
            .into(),
        })
    }
}
