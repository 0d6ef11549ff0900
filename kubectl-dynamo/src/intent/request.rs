//! What a person says, in part: values by the path of their field, before anything is filled in. A flag, a file,
//! `--set`, the environment, a live deployment and a config file all become a [`Layer`] of the same fields, so
//! whatever can be said in one place can be said in all. It reads no file and no environment.

mod argument_groups;
mod document;
mod fields;
mod layers;
mod schema;
mod spoken;

use serde_json::Value;

use crate::error::{Exit, Explain};
pub use document::{API_VERSION, KIND, document, flatten, intent_leaves};
pub use fields::{Field, GROUPS, Heading, Kind, NAMESPACE, Shape, fields, find, nearest};
pub use layers::{Found, Layer, Merged, Source, Strength, together};
pub use schema::json_schema;
pub use spoken::{command_words, quoted};

/// One value that was said: of a field, or of one key or element inside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    pub field: &'static Field,
    /// The key of a map, the element of a list, the name of an engine flag.
    pub key: Option<String>,
    /// `null` takes back what a weaker layer says.
    pub value: Value,
}

impl Leaf {
    /// Where the value stands, as `--set` and `--plan` write it.
    pub fn path(&self) -> String {
        match (&self.key, self.field.kind) {
            (Some(key), Kind::Map) => format!("{}.{}", self.field.path, key.replace('.', "\\.")),
            (Some(key), _) => format!("{}[{key}]", self.field.path),
            (None, _) => self.field.path.into(),
        }
    }
}

/// Why something that was said cannot be read. The value itself is only repeated where it cannot be a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    #[error("there is no field `{path}`{}", in_place(.place))]
    UnknownField { path: String, place: String, nearest: &'static str },
    #[error("{said}: {reason}")]
    Value { said: String, reason: String, example: String },
    #[error("{said}: {reason}")]
    Quantity { said: String, reason: String, example: String },
    #[error("`{given}` says no value for --set")]
    NoAssignment { given: String },
    #[error("{place} is no {KIND} of {API_VERSION}: {reason}")]
    Document { place: String, reason: String },
}

fn in_place(place: &str) -> String {
    if place.is_empty() { String::new() } else { format!(" (in {place})") }
}

impl Explain for RequestError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownField { .. } => "KD0004",
            Self::Value { .. } | Self::NoAssignment { .. } => "KD0005",
            Self::Quantity { .. } => "KD0402",
            Self::Document { .. } => "KD0006",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownField { nearest, .. } => {
                format!("the nearest is {nearest}; all of them: kubectl dynamo config schema -o table")
            }
            Self::Value { example, .. } | Self::Quantity { example, .. } => format!("for example {example}"),
            Self::NoAssignment { .. } => "as in: --set router.mode=kv".into(),
            Self::Document { .. } => {
                format!(
                    "begin it with `apiVersion: {API_VERSION}` and `kind: {KIND}`, or give a DynamoGraphDeployment"
                )
            }
        })
    }

    fn exit(&self) -> Exit {
        Exit::Usage
    }
}
