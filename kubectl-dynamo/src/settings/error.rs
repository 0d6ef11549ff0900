//! Errors of config files: reading, writing, and importing settings.
//! An error of a field's value belongs to the request's schema, not here.

use std::path::PathBuf;

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::Explain;

/// An error of a config file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot determine the home folder for the config file")]
    NoHomeDirectory,
    #[error("cannot read config file \"{}\": {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("config file \"{}\" is not valid TOML: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("cannot write config file \"{}\": {source}", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error("config file \"{}\" is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    #[error("\"{path}\" is not a config.json of the starter kit: {reason}")]
    InvalidStarterKit { path: String, reason: String },
    #[error("\"{path}\" has settings for several platforms: {platforms}")]
    AmbiguousPlatform { path: String, platforms: String },
}

impl Explain for ConfigError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::NoHomeDirectory | Self::Unreadable { .. } | Self::Invalid { .. } => {
                MessageCode::UnreadableConfigFile
            }
            Self::Unwritable { .. } | Self::NotAFile { .. } => MessageCode::UnwritableConfigFile,
            Self::InvalidStarterKit { .. } | Self::AmbiguousPlatform { .. } => {
                MessageCode::InvalidStarterKitConfig
            }
        })
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::NoHomeDirectory => "set the config file with KUBECTL_DYNAMO_CONFIG=FILE".into(),
            Self::Unreadable { .. } | Self::Unwritable { .. } | Self::NotAFile { .. } => {
                "use another config file with KUBECTL_DYNAMO_CONFIG=FILE".into()
            }
            Self::Invalid { .. } => SuggestedCommand::plugin("config schema")
                .flag("-o")
                .flag("table")
                .after("write settings as `release = \"…\"`; list them with "),
            Self::InvalidStarterKit { .. } => {
                "pass a file with platform.<k8s|eks>.dynamoPlatform.releaseVersion".into()
            }
            Self::AmbiguousPlatform { .. } => "select one with --platform".into(),
        })
    }
}

/// The variable of `--api-key-env` is not set.
#[derive(Debug, thiserror::Error)]
#[error("environment variable \"{name}\" is not set")]
pub(crate) struct ApiKeyUnset {
    pub(super) name: String,
}

impl Explain for ApiKeyUnset {
    fn code(&self) -> Option<MessageCode> {
        Some(MessageCode::ChatInputMissing)
    }

    fn hint(&self) -> Option<Fix> {
        Some(format!("run export {}=…, or omit --api-key-env", self.name).into())
    }
}
