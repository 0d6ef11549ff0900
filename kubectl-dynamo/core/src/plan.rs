//! Builds the [`ServingPlan`] of an intent and a release: components with their commands, the location of the
//! model, and the fetch step. `resources` renders a plan as Kubernetes objects, and `local` runs it as
//! processes. A plan must not depend on the API version of the objects.

mod components;
mod context;
mod engine_args;
mod engine_flag_checks;
mod environment;
mod error;
pub mod kv_offload;
pub mod model_cache;
mod nodes;
mod parsers;
mod quantity;
mod resource_requests;
mod unknown_names;
mod warning;

use crate::intent::ServingIntent;
use crate::release::{CATALOG, DEFAULT_RELEASE, ModelCard, Release};
pub use components::PlanComponent;
pub use engine_flag_checks::check_engine_flag_names;
pub use environment::{EnvironmentValue, EnvironmentVariable, JSON_LOGGING, Logging};
pub use error::PlanError;
pub use kv_offload::OffloadDisk;
pub use model_cache::{FetchPlacement, FetchStep, ModelCache, plan_model_cache};
pub use quantity::Quantity;
pub use resource_requests::ResourceRequests;
pub use warning::PlanWarning;

/// Everything that runs for a deployment, and what must be ready before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct ServingPlan {
    pub name: String,
    pub release: &'static Release,
    /// Full Dynamo version, from the user or the cluster.
    pub version: String,
    pub image: String,
    pub served_model_name: String,
    /// Absolute path of the model folder in the components.
    pub model_folder: String,
    /// Frontend first, then workers.
    pub components: Vec<PlanComponent>,
    /// The model cache. `None` if the model files already exist locally.
    pub cache: Option<ModelCache>,
    /// Size of /dev/shm in workers. Default: the operator's.
    pub shared_memory: Option<Quantity>,
    /// Warnings to print before the plan runs.
    pub warnings: Vec<PlanWarning>,
    pub intent: ServingIntent,
}

impl ServingPlan {
    /// Returns the warning that the plan uses the default fetcher image of an unreleased build.
    pub fn unreleased_image_warning(&self) -> Option<&PlanWarning> {
        self.warnings.iter().find(|warning| matches!(warning, PlanWarning::UnreleasedFetcherImage { .. }))
    }
}

/// Location of the model files for the components of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelLocation {
    /// A folder that every process can read.
    Folder(String),
    /// The cache volume; the fetch step downloads the model.
    Volume(FetchPlacement),
}

/// Environment in which a plan will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderEnvironment {
    pub model: ModelLocation,
    pub logging: Logging,
}

impl From<ModelLocation> for RenderEnvironment {
    /// Plain logs, because nothing collects JSON logs.
    fn from(model: ModelLocation) -> Self {
        Self { model, logging: Logging::Plain }
    }
}

/// Builds the plan of an intent. `version` is the runtime version as the user wrote it, and `release` is its
/// row in the catalog.
///
/// # Errors
/// Settings that the release does not support, and a model that is not on the hub although a cache volume is
/// used.
pub fn plan(
    intent: &ServingIntent,
    release: &'static Release,
    version: &str,
    render_environment: impl Into<RenderEnvironment>,
) -> Result<ServingPlan, PlanError> {
    let RenderEnvironment { model, logging } = render_environment.into();
    let version = release.full_version(version);
    let image = intent.placement.image.clone().unwrap_or_else(|| Release::image(&version));
    let (model_folder, cache) = match model {
        ModelLocation::Folder(folder) => (folder, None),
        ModelLocation::Volume(placement) => {
            let cache = model_cache::plan_model_cache(intent, placement)?;
            (cache.model_folder.clone(), Some(cache))
        }
    };
    check_served_name(intent, release, &model_folder)?;
    nodes::check(intent, release)?;
    let offload = kv_offload::KvOffloadPlan::from_intent(intent, release)?;
    let mut warnings = Vec::new();
    if !release.covers_minor(&version) {
        warnings.push(PlanWarning::UnknownRelease { version: version.clone(), release: release.version });
    }
    warnings.extend(engine_flag_checks::check(intent, release, &version)?);
    warnings.extend(engine_flag_checks::topology_warnings(intent));
    warnings.extend(offload.iter().filter_map(|_| kv_offload::offload_warning(release)));
    let context = context::PlanContext { intent, release, logging, model_folder: &model_folder, offload };
    let components = context.build_components()?;
    Ok(ServingPlan {
        name: intent.name.clone(),
        release,
        version,
        image,
        served_model_name: intent.served_model_name.clone(),
        components,
        cache,
        shared_memory: resource_requests::parse_shared_memory(intent)?,
        warnings,
        intent: intent.clone(),
        model_folder,
    })
}

/// The oldest release whose frontend does not resolve the served name as a path.
fn first_release_with_any_served_name() -> &'static str {
    let accepts_any_name = |release: &&Release| release.model_card != ModelCard::FrontendResolvesName;
    CATALOG.iter().find(accepts_any_name).map_or(DEFAULT_RELEASE, |release| release.version)
}

/// Checks the served name for release 0.9.1, whose frontend reads the model card from the path with that
/// name, relative to its working directory.
fn check_served_name(intent: &ServingIntent, release: &Release, folder: &str) -> Result<(), PlanError> {
    match release.model_card {
        ModelCard::FrontendResolvesName if served_name_root(folder, &intent.served_model_name).is_none() => {
            Err(PlanError::ServedNameMustResolve {
                release: release.version,
                served: intent.served_model_name.clone(),
                path: intent.model.default_served_name(),
                supported_from: first_release_with_any_served_name(),
            })
        }
        _ => Ok(()),
    }
}

/// The folder in which the relative path `name` resolves to `folder`, if any.
fn served_name_root<'a>(folder: &'a str, name: &str) -> Option<&'a str> {
    folder.strip_suffix(name)?.strip_suffix('/')
}
