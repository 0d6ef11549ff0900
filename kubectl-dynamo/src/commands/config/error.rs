//! What can be wrong with a config file.

use std::path::PathBuf;

use crate::error::{Exit, Explain};

/// A config file that is of no use.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum ConfigError {
    #[error("there is no home folder for a config file")]
    NoHome,
    #[error("the config file {} cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("the config file {} is no TOML: {reason}", path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error("the config file {} cannot be written: {source}", path.display())]
    Unwritable { path: PathBuf, source: std::io::Error },
    #[error("{path} is no config.json of the starter kit: {reason}")]
    NotOfTheKit { path: String, reason: String },
    #[error("{path} has settings for {platforms}")]
    WhichPlatform { path: String, platforms: String },
}

impl Explain for ConfigError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoHome | Self::Unreadable { .. } | Self::Invalid { .. } => "KD0008",
            Self::Unwritable { .. } => "KD0009",
            Self::NotOfTheKit { .. } | Self::WhichPlatform { .. } => "KD0010",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoHome => "name one with KUBECTL_DYNAMO_CONFIG=FILE".into(),
            Self::Unreadable { .. } | Self::Unwritable { .. } => {
                "name another one with KUBECTL_DYNAMO_CONFIG=FILE".into()
            }
            Self::Invalid { .. } => {
                "a setting is `release = \"…\"`; see kubectl dynamo config schema -o table".into()
            }
            Self::NotOfTheKit { .. } => "it has platform.<k8s|eks>.dynamoPlatform.releaseVersion".into(),
            Self::WhichPlatform { .. } => "say which with --platform".into(),
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Unwritable { .. } => Exit::Failed,
            _ => Exit::Usage,
        }
    }
}
