//! Where the weights live on a cluster: the claim, its mount, and the step that fetches the model onto it.

use model_fetcher::contract::{DEFAULT_INTO, DEFAULT_REVISION, environment};

use super::{EnvironmentValue, EnvironmentVariable, PlanError};
use crate::intent::{Cache, ModelRef, ServingIntent, TokenSecret};

/// Folder at which every pod mounts the cache volume.
pub const MOUNT: &str = DEFAULT_INTO;

/// The image of the fetch containers, of this very version.
pub const FETCHER_IMAGE: &str = concat!("ghcr.io/kubectl-dynamo/model-fetcher:", env!("CARGO_PKG_VERSION"));

/// What runs the fetch step first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchPlacement {
    /// A Job fetches before the deployment exists; the init containers then only check.
    Job,
    /// Only the init containers: a Job could bind the volume to a node without GPUs.
    InitContainersOnly,
}

/// The claim, the model on it, and the step that puts it there.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCache {
    pub cache: Cache,
    /// Absolute path of the model's folder below the mount.
    pub model_folder: String,
    pub fetch: FetchStep,
}

/// One run of model-fetcher, the same in a Job and in an init container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchStep {
    pub placement: FetchPlacement,
    pub image: String,
    pub repository: String,
    pub revision: String,
    pub args: Vec<String>,
    pub environment: Vec<EnvironmentVariable>,
}

/// Works out the cache of a wish whose model is on the hub.
///
/// # Errors
/// [`PlanError::NotOnTheHub`].
pub fn model_cache(intent: &ServingIntent, placement: FetchPlacement) -> Result<ModelCache, PlanError> {
    let ModelRef::Hub { repository, revision } = &intent.model else {
        return Err(PlanError::NotOnTheHub { model: intent.model.to_string() });
    };
    let revision = revision.as_deref().unwrap_or(DEFAULT_REVISION);
    let args = ["fetch", repository, "--revision", revision, "--into", MOUNT].map(ToOwned::to_owned).to_vec();
    let environment = super::environment::merged(
        std::iter::once(EnvironmentVariable::literal(environment::PROGRESS, "json"))
            .chain(intent.token_secret.as_ref().map(token_variable))
            .chain(super::environment::of_the_person(intent)),
    );
    Ok(ModelCache {
        cache: intent.cache.clone(),
        model_folder: format!("{MOUNT}/{repository}"),
        fetch: FetchStep {
            placement,
            image: intent.placement.fetcher_image.clone().unwrap_or_else(|| FETCHER_IMAGE.into()),
            repository: repository.clone(),
            revision: revision.into(),
            args,
            environment,
        },
    })
}

/// The hub token as Dynamo, vLLM and the fetcher read it.
pub fn token_variable(secret: &TokenSecret) -> EnvironmentVariable {
    EnvironmentVariable {
        name: TokenSecret::DEFAULT_KEY.into(),
        value: EnvironmentValue::Secret { name: secret.name.clone(), key: secret.key.clone() },
    }
}
