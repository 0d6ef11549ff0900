//! From a wish and a release to the processes that fulfil it: components with their commands, the model's
//! place, the fetch step. The same plan becomes Kubernetes objects (`resources`) or processes (`local`).

pub mod engine_args;
pub mod model_cache;

use crate::intent::{Backend, ServingIntent, Word, WorkerRole};
use crate::release::{CATALOG, DEFAULT, ModelCard, Release};
pub use model_cache::{FetchPlacement, FetchStep, ModelCache};

/// One environment variable of a container or process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    pub name: String,
    pub value: EnvironmentValue,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentValue {
    Literal(String),
    /// A key of a Secret; the value itself never passes through this program.
    Secret {
        name: String,
        key: String,
    },
}

impl EnvironmentVariable {
    /// A variable with a plain value.
    pub fn literal(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: EnvironmentValue::Literal(value.into()) }
    }
}

/// One component of a deployment: the same process, `replicas` times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    pub role: WorkerRole,
    pub replicas: u32,
    /// Program and leading arguments; `python3` stands for the runtime's interpreter.
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub environment: Vec<EnvironmentVariable>,
    /// GPUs of one replica.
    pub gpus: u32,
    /// Whether it reads the model's files, so that the cache is mounted and the fetch step runs before it.
    pub needs_model: bool,
    /// The folder it starts in, where the release resolves names against it.
    pub working_directory: Option<String>,
}

impl Component {
    /// Its name in objects, logs and messages.
    pub fn name(&self) -> &'static str {
        self.role.component_name()
    }
}

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

/// Works out what runs. `version` is the runtime version as the person wrote it, `release` its row.
///
/// # Errors
/// What the release cannot do, or a model that is not on the hub although a volume is asked for.
pub fn plan(
    intent: &ServingIntent,
    release: &'static Release,
    version: &str,
    place: ModelPlace,
) -> Result<ServingPlan, PlanError> {
    let version = release.full_version(version);
    let image = intent.placement.image.clone().unwrap_or_else(|| Release::image(&version));
    let (model_folder, cache) = match place {
        ModelPlace::Folder(folder) => (folder, None),
        ModelPlace::Volume(placement) => {
            let cache = model_cache::model_cache(intent, placement)?;
            (cache.model_folder.clone(), Some(cache))
        }
    };
    check_served_name(intent, release, &model_folder)?;
    let mut components = vec![frontend(intent, release, &model_folder)];
    components.extend(
        intent
            .topology
            .groups()
            .into_iter()
            .map(|(role, group)| worker(intent, release, role, group, &model_folder)),
    );
    Ok(ServingPlan {
        name: intent.name.clone(),
        release,
        version,
        image,
        served_model_name: intent.served_model_name.clone(),
        model_folder,
        components,
        cache,
        intent: intent.clone(),
    })
}

/// Why a wish cannot become a plan.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    #[error("a cluster cannot see {model}")]
    NotOnTheHub { model: String },
    #[error("Dynamo {release} looks for the served name below the model volume, so it cannot be `{served}`")]
    ServedNameMustResolve { release: &'static str, served: String, path: String, free_from: &'static str },
}

impl crate::error::Explain for PlanError {
    fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotOnTheHub { .. } => "KD0403",
            Self::ServedNameMustResolve { .. } => "KD0701",
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotOnTheHub { .. } => {
                "name a model of the hub (org/name), or add --local to serve it on this machine".into()
            }
            Self::ServedNameMustResolve { path, free_from, .. } => {
                format!(
                    "leave --served-model-name out (it is then `{path}`), or use --release {free_from} or later"
                )
            }
        })
    }

    fn exit(&self) -> crate::error::Exit {
        crate::error::Exit::Usage
    }
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

fn frontend(intent: &ServingIntent, release: &'static Release, folder: &str) -> Component {
    let mut environment = vec![EnvironmentVariable::literal("DYN_ROUTER_MODE", intent.router.mode.as_str())];
    environment.extend(extra_environment(intent));
    Component {
        role: WorkerRole::Frontend,
        replicas: intent.frontend_replicas,
        // Split as the operator's own default is: it replaces command and arguments one by one, so a whole command
        // alone would run with the default arguments behind it.
        command: vec!["python3".into()],
        args: vec!["-m".into(), "dynamo.frontend".into()],
        environment,
        gpus: 0,
        needs_model: release.frontend_needs_model(),
        working_directory: working_directory(intent, release, folder),
    }
}

fn worker(
    intent: &ServingIntent,
    release: &'static Release,
    role: WorkerRole,
    group: &crate::intent::WorkerGroup,
    folder: &str,
) -> Component {
    let (module, gpus) = match intent.backend {
        Backend::Vllm => ("dynamo.vllm", group.parallelism.gpus()),
        Backend::Mocker => ("dynamo.mocker", 0),
    };
    let mut environment = Vec::new();
    if let Some(secret) = &intent.token_secret {
        environment.push(model_cache::token_variable(secret));
    }
    environment.extend(extra_environment(intent));
    Component {
        role,
        replicas: group.replicas,
        command: python_module(module),
        args: engine_args::engine_args(intent, release, role, group, folder),
        environment,
        gpus,
        needs_model: true,
        working_directory: working_directory(intent, release, folder),
    }
}

fn working_directory(intent: &ServingIntent, release: &Release, folder: &str) -> Option<String> {
    match release.model_card {
        ModelCard::FrontendResolvesName => {
            resolving_root(folder, &intent.served_model_name).map(ToOwned::to_owned)
        }
        ModelCard::FrontendReadsPath | ModelCard::WorkersServe => None,
    }
}

fn python_module(module: &str) -> Vec<String> {
    vec!["python3".into(), "-m".into(), module.into()]
}

fn extra_environment(intent: &ServingIntent) -> impl Iterator<Item = EnvironmentVariable> + '_ {
    intent.placement.env.iter().map(|(name, value)| EnvironmentVariable::literal(name, value))
}
