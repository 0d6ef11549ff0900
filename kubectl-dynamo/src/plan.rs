//! From a wish and a release to the processes that fulfil it: components with their commands, the model's
//! place, the fetch step. The same plan becomes Kubernetes objects (`resources`) or processes (`local`).

mod components;
mod engine_args;
mod engine_flags;
mod environment;
mod error;
pub mod kv_offload;
pub mod model_cache;
mod needs;
mod nodes;
mod quantity;
mod warning;

use crate::intent::ServingIntent;
use crate::release::{CATALOG, DEFAULT, ModelCard, Release};
pub use components::Component;
pub use engine_flags::check_engine_names;
pub use environment::{EnvironmentValue, EnvironmentVariable, JSON_LOGGING, Logging};
pub use error::PlanError;
pub use kv_offload::OffloadDisk;
pub use model_cache::{FetchPlacement, FetchStep, ModelCache};
pub use needs::Needs;
pub use quantity::Quantity;
pub use warning::PlanWarning;

/// Everything that will run, and what it needs before.
#[derive(Debug, Clone, PartialEq)]
pub struct ServingPlan {
    pub name: String,
    pub release: &'static Release,
    /// The Dynamo version that the person or the cluster named, in full.
    pub version: String,
    pub image: String,
    pub served_model_name: String,
    /// Absolute path of the model's folder as the components see it.
    pub model_folder: String,
    /// Frontend first, then workers.
    pub components: Vec<Component>,
    /// Absent where the model's files are simply there.
    pub cache: Option<ModelCache>,
    /// Size of /dev/shm in workers; the operator's own when absent.
    pub shared_memory: Option<Quantity>,
    /// What to tell before it runs.
    pub warnings: Vec<PlanWarning>,
    pub intent: ServingIntent,
}

/// Where the model's files are for the components of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelPlace {
    /// In a folder that every process sees.
    Folder(String),
    /// On the cache volume, put there by the fetch step.
    Volume(FetchPlacement),
}

/// What a plan finds where it will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surroundings {
    pub model: ModelPlace,
    pub logging: Logging,
}

impl From<ModelPlace> for Surroundings {
    /// Nothing there reads JSON logs.
    fn from(model: ModelPlace) -> Self {
        Self { model, logging: Logging::Plain }
    }
}

/// Works out what runs. `version` is the runtime version as the person wrote it, `release` its row.
///
/// # Errors
/// What the release cannot do, or a model that is not on the hub although a volume is asked for.
pub fn plan(
    intent: &ServingIntent,
    release: &'static Release,
    version: &str,
    surroundings: impl Into<Surroundings>,
) -> Result<ServingPlan, PlanError> {
    let Surroundings { model, logging } = surroundings.into();
    let version = release.full_version(version);
    let image = intent.placement.image.clone().unwrap_or_else(|| Release::image(&version));
    let (model_folder, cache) = match model {
        ModelPlace::Folder(folder) => (folder, None),
        ModelPlace::Volume(placement) => {
            let cache = model_cache::model_cache(intent, placement)?;
            (cache.model_folder.clone(), Some(cache))
        }
    };
    check_served_name(intent, release, &model_folder)?;
    nodes::check(intent, release)?;
    let offload = kv_offload::Offload::of(intent, release)?;
    let mut warnings = Vec::new();
    if !release.tells_of(&version) {
        warnings.push(PlanWarning::StandIn { version: version.clone(), release: release.version });
    }
    warnings.extend(engine_flags::check(intent, release, &version)?);
    warnings.extend(engine_flags::shape_warnings(intent));
    warnings.extend(offload.iter().filter_map(|_| kv_offload::warning(release)));
    let draft = components::Draft { intent, release, logging, model_folder: &model_folder, offload };
    let components = draft.components()?;
    Ok(ServingPlan {
        name: intent.name.clone(),
        release,
        version,
        image,
        served_model_name: intent.served_model_name.clone(),
        components,
        cache,
        shared_memory: needs::shared_memory(intent)?,
        warnings,
        intent: intent.clone(),
        model_folder,
    })
}

/// The oldest release whose frontend does not read the served name as a path.
fn first_release_with_free_names() -> &'static str {
    let free = |release: &&Release| release.model_card != ModelCard::FrontendResolvesName;
    CATALOG.iter().find(free).map_or(DEFAULT, |release| release.version)
}

/// A frontend of 0.9.1 reads the model card from a path named like the model, relative to where it starts.
fn check_served_name(intent: &ServingIntent, release: &Release, folder: &str) -> Result<(), PlanError> {
    match release.model_card {
        ModelCard::FrontendResolvesName if resolving_root(folder, &intent.served_model_name).is_none() => {
            Err(PlanError::ServedNameMustResolve {
                release: release.version,
                served: intent.served_model_name.clone(),
                path: intent.model.default_served_name(),
                free_from: first_release_with_free_names(),
            })
        }
        _ => Ok(()),
    }
}

/// The folder from which `name` leads to `folder`.
fn resolving_root<'a>(folder: &'a str, name: &str) -> Option<&'a str> {
    folder.strip_suffix(name)?.strip_suffix('/')
}
