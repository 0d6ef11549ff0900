//! Model cache of a plan: the PVC, its mount path, and the step that fetches the model to it.
//! It describes the step only; a Job or an init container runs it.

use model_fetcher_contract::weights::LoadFormat;
use model_fetcher_contract::{DEFAULT_INTO, DEFAULT_REVISION, environment};

use super::{EnvironmentValue, EnvironmentVariable, PlanError};
use crate::intent::{CaBundle, Cache, ModelRef, ServingIntent, TokenSecret, engine_flags};

/// Path at which every pod mounts the cache volume.
pub const CACHE_MOUNT_PATH: &str = DEFAULT_INTO;

/// The image that the build of a release sets. `None` in an unreleased build.
const RELEASED_FETCHER_IMAGE: Option<&str> = non_empty(option_env!("KUBECTL_DYNAMO_RELEASE_FETCHER_IMAGE"));

/// Default image of the fetch containers. An unreleased build uses the name that a release would have.
pub const FETCHER_IMAGE: &str = match RELEASED_FETCHER_IMAGE {
    Some(image) => image,
    None => concat!("ghcr.io/kubectl-dynamo/model-fetcher:", env!("CARGO_PKG_VERSION")),
};

/// Whether this is the build of a release, whose default fetcher image is published.
pub const IS_RELEASED: bool = RELEASED_FETCHER_IMAGE.is_some();

/// An empty variable of the build counts as unset.
const fn non_empty(setting: Option<&str>) -> Option<&str> {
    match setting {
        Some(text) if text.is_empty() => None,
        setting => setting,
    }
}

/// Where the fetch step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchPlacement {
    /// A Job fetches the model before the deployment exists. The init containers only check it.
    Job,
    /// Only the init containers fetch, because a Job could bind the volume to a node without GPUs.
    InitContainersOnly,
}

/// The PVC, the folder of the model on it, and the fetch step.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelCache {
    pub cache: Cache,
    /// Absolute path of the model folder below the mount path.
    pub model_folder: String,
    pub fetch: FetchStep,
}

/// One run of model-fetcher. It is identical in a Job and in an init container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchStep {
    pub placement: FetchPlacement,
    pub image: String,
    pub repository: String,
    pub revision: String,
    pub args: Vec<String>,
    pub environment: Vec<EnvironmentVariable>,
    /// CA certificates for requests to the hub.
    pub ca_bundle: Option<CaBundle>,
}

/// Plans the model cache of an intent.
///
/// # Errors
/// [`PlanError::ModelNotOnHub`].
pub fn plan_model_cache(intent: &ServingIntent, placement: FetchPlacement) -> Result<ModelCache, PlanError> {
    let ModelRef::Hub { repository, revision } = &intent.model else {
        return Err(PlanError::ModelNotOnHub { model: intent.model.to_string() });
    };
    let revision = revision.as_deref().unwrap_or(DEFAULT_REVISION);
    let args = ["fetch", repository, "--revision", revision, "--into", CACHE_MOUNT_PATH]
        .map(ToOwned::to_owned)
        .to_vec();
    let environment = super::environment::merge_variables(
        std::iter::once(EnvironmentVariable::literal(environment::PROGRESS, "json"))
            .chain(load_format_variable(intent))
            .chain(intent.token_secret.as_ref().map(token_variable))
            .chain(super::environment::user_variables(&intent.placement.env))
            .chain(super::environment::user_variables(&intent.placement.fetcher_env)),
    );
    Ok(ModelCache {
        cache: intent.cache.clone(),
        model_folder: format!("{CACHE_MOUNT_PATH}/{repository}"),
        fetch: FetchStep {
            placement,
            image: intent.placement.fetcher_image.clone().unwrap_or_else(|| FETCHER_IMAGE.into()),
            repository: repository.clone(),
            revision: revision.into(),
            args,
            environment,
            ca_bundle: intent.placement.ca_bundle.clone(),
        },
    })
}

/// Returns which copy of the weights the engine loads. With Mistral's configuration vLLM expects Mistral's names of
/// tensors.
pub fn load_format(intent: &ServingIntent) -> LoadFormat {
    let groups = intent.topology.groups().into_iter().map(|(_, group)| &group.engine_args);
    groups.chain([&intent.engine_args]).find_map(|args| load_format_of(args)).unwrap_or_default()
}

/// Returns the copy of the weights that engine arguments select.
pub fn load_format_of(args: &[String]) -> Option<LoadFormat> {
    engine_flags::value(args, "--load-format")
        .filter(|format| format != "auto")
        .or_else(|| engine_flags::value(args, "--config-format").filter(|format| format == "mistral"))
        .map(|format| LoadFormat::parse(&format))
}

/// Returns the variable that selects this copy. It is a variable and not a flag because a fetcher of an earlier
/// version ignores it.
fn load_format_variable(intent: &ServingIntent) -> Option<EnvironmentVariable> {
    let format = load_format(intent);
    let is_default = format == LoadFormat::default();
    (!is_default).then(|| EnvironmentVariable::literal(environment::LOAD_FORMAT, format.name()))
}

/// The environment variable from which Dynamo, vLLM, and model-fetcher read the hub token.
pub fn token_variable(secret: &TokenSecret) -> EnvironmentVariable {
    EnvironmentVariable {
        name: TokenSecret::DEFAULT_KEY.into(),
        value: EnvironmentValue::Secret { name: secret.name.clone(), key: secret.key.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::image::check_image_reference;

    #[test]
    fn default_image_is_the_one_of_the_release_build() {
        assert_eq!(non_empty(None), None);
        assert_eq!(non_empty(Some("")), None);
        assert_eq!(non_empty(Some("registry.test/fetcher:1")), Some("registry.test/fetcher:1"));
        assert_eq!(check_image_reference(FETCHER_IMAGE), Ok(()));
        let is_set =
            option_env!("KUBECTL_DYNAMO_RELEASE_FETCHER_IMAGE").is_some_and(|image| !image.is_empty());
        assert_eq!(IS_RELEASED, is_set);
    }
}
