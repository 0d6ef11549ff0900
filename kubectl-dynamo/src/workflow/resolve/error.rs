//! Errors of resolving a deployment: missing or unsuitable objects that are found before anything is applied.
//! Errors of the request's own values belong to the intent.

use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain};

/// An error that is found before anything is applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("PVC \"{pvc}\" not found in namespace \"{namespace}\"")]
    PvcNotFound { pvc: String, namespace: String },
    #[error("Secret \"{secret}\" not found in namespace \"{namespace}\"")]
    SecretNotFound { secret: String, key: String, namespace: String },
    #[error("Secret \"{secret}\" not found in namespace \"{namespace}\"")]
    ManifestSecretNotFound { secret: String, namespace: String },
    #[error(
        "an object of the manifest is in namespace \"{actual}\", but the target namespace is \"{namespace}\""
    )]
    NamespaceMismatch { actual: String, namespace: String },
    #[error("an object of kind {kind} in the manifest does not have a name")]
    MissingName { kind: String },
    #[error("{field} of an object of kind {kind} in the manifest is not an object")]
    NotAnObject { kind: String, field: &'static str },
    #[error("{field} contains the variable {variable}, which was not replaced")]
    Variable { field: String, variable: String },
    #[error("image \"{image}\" contains the variable {variable}, which was not replaced")]
    ImageVariable { image: String, variable: String },
    #[error("image \"{image}\" is not a valid image reference")]
    InvalidImage { image: String },
    #[error(
        "manifest uses {requested} but the cluster stores {stored}; \
         fields that only exist in {requested} would be dropped"
    )]
    ApiVersionMismatch { requested: String, stored: &'static str },
    #[error(
        "deployment \"{name}\" in namespace \"{namespace}\" is not managed by kubectl-dynamo \
         (no kubectl-dynamo.dev/intent annotation)"
    )]
    NotManaged { name: String, namespace: String },
    #[error("cannot change these fields of adopted deployment \"{name}\": {}", .fields.join(", "))]
    UnsupportedAdoptedChange { name: String, fields: Vec<String> },
    #[error(
        "deployment \"{name}\" in namespace \"{namespace}\" exists and cannot be changed as requested: {}",
        .reasons.join("; ")
    )]
    ImmutableFields { name: String, namespace: String, reasons: Vec<String>, free_name: Option<String> },
    #[error("Secret \"{secret}\" in namespace \"{namespace}\" does not have key \"{key}\"")]
    SecretKeyNotFound { secret: String, key: String, namespace: String },
}

impl Explain for ResolveError {
    fn code(&self) -> Option<MessageCode> {
        Some(match self {
            Self::PvcNotFound { .. } => MessageCode::ModelPvcNotFound,
            Self::NotManaged { .. } => MessageCode::UnmanagedDeployment,
            Self::UnsupportedAdoptedChange { .. } => MessageCode::UnmanagedField,
            Self::ImmutableFields { .. } => MessageCode::ImmutableFields,
            Self::SecretNotFound { .. }
            | Self::SecretKeyNotFound { .. }
            | Self::ManifestSecretNotFound { .. } => MessageCode::TokenSecretNotFound,
            Self::NamespaceMismatch { .. }
            | Self::MissingName { .. }
            | Self::NotAnObject { .. }
            | Self::Variable { .. } => MessageCode::InvalidManifestFile,
            Self::ImageVariable { .. } | Self::InvalidImage { .. } => MessageCode::InvalidImageReference,
            Self::ApiVersionMismatch { .. } => MessageCode::ApiVersionMismatch,
        })
    }

    fn exit(&self) -> Exit {
        match self {
            // The image is in the file, not in the cluster.
            Self::ImageVariable { .. } | Self::InvalidImage { .. } => Exit::Usage,
            _ => self.code().map_or(Exit::Failed, MessageCode::exit),
        }
    }

    fn hint(&self) -> Option<Fix> {
        Some(match self {
            Self::PvcNotFound { namespace, .. } => SuggestedCommand::kubectl("get pvc")
                .in_namespace(namespace)
                .after("list the PVCs with ")
                .text(", or omit --cache to create one"),
            Self::ManifestSecretNotFound { secret, namespace } => {
                SuggestedCommand::kubectl("create secret generic")
                    .operand(secret, "NAME")
                    .in_namespace(namespace)
                    .flag("--from-file=KEY=FILE")
                    .after("create it: ")
            }
            Self::NamespaceMismatch { actual, .. } => {
                format!("pass -n {actual}, or remove the namespace from the manifest").into()
            }
            Self::MissingName { .. } => "set metadata.name".into(),
            Self::Variable { variable, .. } | Self::ImageVariable { variable, .. } => {
                let name: String =
                    variable.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                SuggestedCommand::plugin("up")
                    .flag("-f")
                    .flag("-")
                    .after(format!("replace it, for example: {name}=VALUE envsubst < FILE | "))
            }
            Self::InvalidImage { .. } => "write the image as REGISTRY/NAME:TAG".into(),
            Self::NotAnObject { field, .. } => format!("write {field} as `key: value` lines").into(),
            Self::ApiVersionMismatch { stored, .. } => format!("convert it to {stored}").into(),
            Self::NotManaged { name, namespace } => SuggestedCommand::plugin("adopt")
                .operand(name, "NAME")
                .in_namespace(namespace)
                .after("edit its source manifest, or adopt it with "),
            Self::ImmutableFields { name, namespace, free_name, .. } => {
                let another = free_name.as_ref().map(|free| {
                    ["create a second deployment with --name ", free, " -n ", namespace, ", or "].concat()
                });
                let text = format!("{}delete the existing one first with ", another.unwrap_or_default());
                SuggestedCommand::plugin("down").operand(name, "NAME").in_namespace(namespace).after(text)
            }
            Self::UnsupportedAdoptedChange { name, .. } => {
                SuggestedCommand::kubectl("edit dynamographdeployment")
                    .operand(name, "NAME")
                    .after("change them with ")
            }
            Self::SecretNotFound { secret, key, .. } | Self::SecretKeyNotFound { secret, key, .. } => {
                format!(
                    "create it from a file: add --hf-token-secret {secret}/{key} --hf-token-stdin < token.txt"
                )
                .into()
            }
        })
    }
}
