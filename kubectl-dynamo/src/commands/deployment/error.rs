//! What is missing before anything can be applied.

use crate::error::{Exit, Explain};

/// What is missing before anything can be applied.
#[derive(Debug, thiserror::Error)]
pub(in crate::commands) enum PreflightError {
    #[error("claim {claim} does not exist in namespace {namespace}")]
    AbsentClaim { claim: String, namespace: String },
    #[error("secret {secret} does not exist in namespace {namespace}")]
    AbsentSecret { secret: String, key: String, namespace: String },
    #[error("secret {secret} does not exist in namespace {namespace}")]
    AbsentSecretOfFile { secret: String, namespace: String },
    #[error("an object of the file is in namespace {own}, and {namespace} is meant")]
    OtherNamespace { own: String, namespace: String },
    #[error("an object of kind {kind} in the file has no name")]
    Nameless { kind: String },
    #[error(
        "the file's graph is {given}, and the cluster stores {stored}: parts of the other come back empty"
    )]
    OtherShape { given: String, stored: &'static str },
    #[error("{name} in namespace {namespace} was not made by this program, so its choices are not known")]
    NotOurs { name: String, namespace: String },
    #[error("{name} was taken over as it is, and this cannot be changed in it: {}", .fields.join(", "))]
    KeptAsItIs { name: String, fields: Vec<String> },
    #[error("secret {secret} in namespace {namespace} has no key {key}")]
    KeylessSecret { secret: String, key: String, namespace: String },
}

impl Explain for PreflightError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::AbsentClaim { .. } => "KD0411",
            Self::NotOurs { .. } => "KD0211",
            Self::KeptAsItIs { .. } => "KD0248",
            Self::AbsentSecret { .. } | Self::KeylessSecret { .. } | Self::AbsentSecretOfFile { .. } => {
                "KD0412"
            }
            Self::OtherNamespace { .. } | Self::Nameless { .. } => "KD0006",
            Self::OtherShape { .. } => "KD0218",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::AbsentClaim { namespace, .. } => {
                format!("see what is there: kubectl get pvc -n {namespace}; without --cache one is made")
            }
            Self::AbsentSecretOfFile { secret, namespace } => {
                format!(
                    "create it: kubectl create secret generic {secret} -n {namespace} --from-file=KEY=FILE"
                )
            }
            Self::OtherNamespace { own, .. } => {
                format!("add -n {own}, or leave the namespace out of the file")
            }
            Self::Nameless { .. } => "give it metadata.name".into(),
            Self::OtherShape { stored, .. } => format!("write it as {stored}"),
            Self::NotOurs { name, namespace } => {
                format!(
                    "change it where it came from, or take it over: kubectl dynamo adopt {name} -n {namespace}"
                )
            }
            Self::KeptAsItIs { name, .. } => {
                format!("change those with: kubectl edit dynamographdeployment {name}")
            }
            Self::AbsentSecret { secret, key, .. } | Self::KeylessSecret { secret, key, .. } => {
                format!(
                    "create it from a file: add --hf-token-secret {secret}/{key} --hf-token-stdin < token.txt"
                )
            }
        })
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NotOurs { .. }
            | Self::KeptAsItIs { .. }
            | Self::OtherNamespace { .. }
            | Self::Nameless { .. } => Exit::Usage,
            Self::OtherShape { .. } => Exit::Platform,
            _ => Exit::Model,
        }
    }
}
