//! The API key of a gateway: from an environment variable or a Secret, never from the command line. A Secret is only
//! read if the user names it and its key.

use k8s_openapi::api::core::v1::Secret;

use super::error::GatewayError;
use crate::context::Context;
use crate::settings;
use kubectl_dynamo_cluster::{ClusterError, Kind};
use kubectl_dynamo_core::error::Result;

/// A key of a Secret, as the user writes it: `NAME/KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretKeyReference {
    pub name: String,
    pub key: String,
}

/// The text is not `NAME/KEY`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("use NAME/KEY, the name of a Secret and one of its keys, such as litellm/master-key")]
pub(crate) struct SecretKeySyntaxError;

impl std::str::FromStr for SecretKeyReference {
    type Err = SecretKeySyntaxError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((name, key)) if !name.is_empty() && !key.is_empty() && !key.contains('/') => {
                Ok(Self { name: name.to_owned(), key: key.to_owned() })
            }
            _ => Err(SecretKeySyntaxError),
        }
    }
}

/// Where the key of a gateway comes from.
#[derive(Debug, Clone)]
pub(crate) enum GatewayKeySource {
    None,
    Variable(String),
    Secret { reference: SecretKeyReference, namespace: Option<String> },
}

impl GatewayKeySource {
    /// Reads the key.
    ///
    /// # Errors
    /// A variable that is not set, and a Secret that does not exist or does not have the key.
    pub(crate) async fn read(&self, context: &Context) -> Result<Option<String>> {
        match self {
            Self::None => Ok(None),
            Self::Variable(name) => Ok(Some(settings::api_key(name)?)),
            Self::Secret { reference, namespace } => {
                read_secret(reference, namespace.as_deref(), context).await.map(Some)
            }
        }
    }
}

async fn read_secret(
    reference: &SecretKeyReference,
    namespace: Option<&str>,
    context: &Context,
) -> Result<String> {
    let mut cluster = context.cluster().await?;
    if let Some(namespace) = namespace {
        namespace.clone_into(&mut cluster.namespace);
    }
    let SecretKeyReference { name, key } = reference;
    let secret = cluster.get_object::<Secret>(name).await?.ok_or_else(|| ClusterError::NotFound {
        kind: Kind::Secret,
        name: name.clone(),
        namespace: cluster.namespace.clone(),
    })?;
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    let text = value.and_then(|value| String::from_utf8(value.0.clone()).ok());
    Ok(text.ok_or_else(|| GatewayError::DataKeyMissing {
        kind: Kind::Secret,
        name: name.clone(),
        namespace: cluster.namespace.clone(),
        key: key.clone(),
    })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_has_a_name_and_a_key() {
        let reference = SecretKeyReference { name: "litellm".into(), key: "master-key".into() };
        assert_eq!("litellm/master-key".parse(), Ok(reference));
        for text in ["", "litellm", "/key", "litellm/", "a/b/c"] {
            assert_eq!(text.parse::<SecretKeyReference>(), Err(SecretKeySyntaxError), "{text}");
        }
    }
}
