//! Finds what is benchmarked: a local deployment or a URL, its served model, and the folder with the tokenizer.

use std::path::{Path, PathBuf};

use super::{BenchError, BenchResult};
use crate::chat::{Endpoint, EndpointKind};
use crate::workflow::local::lookup;
use kubectl_dynamo_core::bench::{BenchDeployment, BenchTarget};
use kubectl_dynamo_core::diagnosis::redact_object;
use kubectl_dynamo_core::error::Result;

/// How the user names what is benchmarked.
pub(crate) enum BenchTargetName {
    /// A deployment on this machine; `None` if it is the only one.
    Local(Option<String>),
    Url(String),
}

/// What the user set about the model.
pub(crate) struct ModelOptions {
    /// Selects a model if the server lists several.
    pub(crate) model: Option<String>,
    pub(crate) tokenizer: Option<PathBuf>,
}

/// Finds the target. The served name is always one that the server lists.
///
/// # Errors
/// The deployment is not running, the server does not list the model, or the tokenizer is missing.
pub(super) async fn find(name: &BenchTargetName, options: &ModelOptions) -> Result<BenchTarget> {
    match name {
        BenchTargetName::Local(name) => find_local(name.as_deref(), options).await,
        BenchTargetName::Url(url) if url.contains('@') => Err(BenchError::CredentialsInUrl.into()),
        BenchTargetName::Url(url) => {
            let Some(tokenizer) = &options.tokenizer else {
                return Err(BenchError::NoTokenizer { url: url.clone() }.into());
            };
            let tokenizer = tokenizer_folder(tokenizer)?;
            let endpoint = Endpoint::new(url, EndpointKind::OpenAiCompatible, None)?;
            let model = endpoint.choose_model(options.model.as_deref()).await?;
            Ok(BenchTarget { url: url.clone(), model, tokenizer, deployment: None })
        }
    }
}

async fn find_local(name: Option<&str>, options: &ModelOptions) -> Result<BenchTarget> {
    let found = lookup::find_running(name)?.spec;
    let url = found.base_url();
    let requested = options.model.as_deref().unwrap_or(&found.intent.served_model_name);
    let model = Endpoint::new(&url, EndpointKind::Dynamo, None)?.choose_model(Some(requested)).await?;
    let tokenizer = tokenizer_folder(options.tokenizer.as_deref().unwrap_or(&found.model_folder))?;
    let deployment = BenchDeployment {
        gpus: found.intent.gpus(),
        // Values of --env can be confidential.
        intent: redact_object(&serde_json::to_value(&found.intent).unwrap_or_default()),
        name: found.name,
        place: "local".into(),
        version: found.version,
    };
    Ok(BenchTarget { url, model, tokenizer, deployment: Some(deployment) })
}

/// Returns the absolute path of a folder with a tokenizer.
fn tokenizer_folder(path: &Path) -> BenchResult<String> {
    let not_found = || BenchError::TokenizerNotFound { path: path.to_owned() };
    let folder = path.canonicalize().map_err(|_| not_found())?;
    let names = ["tokenizer.json", "tokenizer.model", "tiktoken.model"];
    match names.iter().any(|name| folder.join(name).is_file()) {
        true => Ok(folder.display().to_string()),
        false => Err(not_found()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokenizer_folder_needs_a_tokenizer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(tokenizer_folder(folder.path()), Err(BenchError::TokenizerNotFound { .. })));
        std::fs::write(folder.path().join("tokenizer.json"), "{}").expect("writable");
        assert!(tokenizer_folder(folder.path()).is_ok_and(|path| path.starts_with('/')));
    }
}
