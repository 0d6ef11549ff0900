//! `up --local`: the plan that a cluster would get, as processes of this machine.

use std::path::PathBuf;

use super::machine;
use super::watch::{self, Interrupts};
use crate::commands::Context;
use crate::commands::serving_flags::{Defaults, ServingFlags};
use crate::commands::up::{DryRun, UpArgs};
use crate::error::{Exit, Result};
use crate::intent::model::BUILT_IN_NAME;
use crate::intent::{Backend, ModelRef, ServingIntent, WorkerRole};
use crate::local::launch::{Launched, Lifetime};
use crate::local::processes::{self, Ground};
use crate::local::runtime::Runtime;
use crate::local::state::{self, Deployment, Found};
use crate::local::{Folders, LocalError, Observer, Progress, gpus, model, runtime};
use crate::plan::{ModelPlace, ServingPlan, plan};
use crate::release::{DEFAULT, Release};
use crate::report::{Event, Report, Stage};

/// Longest default name: logs and lists stay narrow.
const NAME_LENGTH: usize = 40;

/// Serves on this machine; returns when it is ended, or with `--detach` when it answers.
pub(in crate::commands) async fn run(args: UpArgs, context: &Context) -> Result<Exit> {
    refuse_cluster_flags(&args)?;
    let mut interrupts = Interrupts::new()?;
    let report = &context.report;
    let folders = machine::folders()?;
    let wish = wish(&args).await?;
    let name = wish.intent.name.clone();
    let prepared = async {
        let waits = || report.waiting(Stage::Preflight, format!("another `up` of {name}"));
        let lock = state::lock(&folders, &name, waits).await?;
        if let Some(found) = already_there(&folders, &wish, args.port).await? {
            return Ok(Err(Box::new(found)));
        }
        report.event(&Event::Plan { lines: plan_lines(&wish) });
        prepare(&args, &wish, &folders, report).await.map(|prepared| Ok((prepared, lock)))
    };
    let prepared = tokio::select! {
        prepared = prepared => prepared?,
        () = interrupts.next() => {
            report.closing(vec!["ended before anything was started; the same command begins again".into()]);
            return Ok(Exit::Interrupted);
        }
    };
    let (deployment, lock) = match prepared {
        Ok(prepared) => prepared,
        Err(found) => {
            report.done(Stage::Ready, format!("{name} serves already, unchanged"));
            report.closing(closing_lines(&found.deployment, None));
            return Ok(Exit::Ok);
        }
    };
    let lifetime = if args.detach { Lifetime::Kept } else { Lifetime::Tied };
    let folder = folders.deployment(&name);
    let launched = Launched::start(&machine::this_program()?, &folder, lifetime)?;
    let serving = watch::Serving { launched, deployment, folder, report, show_logs: args.logs };
    serving.until_ended(&mut interrupts, lock, &args).await
}

/// What is wanted, as far as flags and this machine's GPUs say it.
pub(super) struct Wish {
    pub(super) intent: ServingIntent,
    release: &'static Release,
    version: String,
    gpus: u32,
}

async fn wish(args: &UpArgs) -> Result<Wish> {
    let flags = &args.serving;
    let named = flags.model.is_some() || flags.model_id.is_some();
    let gpus = match (flags.backend, named) {
        (Some(Backend::Vllm), _) => gpus::count().await?,
        (None, true) => gpus::count().await.unwrap_or(0),
        (Some(Backend::Mocker), _) | (None, false) => 0,
    };
    let backend = flags.backend.unwrap_or(if gpus > 0 { Backend::Vllm } else { Backend::Mocker });
    // The built-in model has no weights for a real engine to load.
    let model = (backend == Backend::Mocker).then_some(ModelRef::BuiltIn);
    let mut intent = flags.intent(Defaults { model, backend, name_length: NAME_LENGTH })?;
    if let ModelRef::Folder { path } = &intent.model {
        let folder = model::given(path)?;
        intent.model = ModelRef::Folder { path: folder };
        if flags.served_model_name.is_none() {
            intent.served_model_name = intent.model.default_served_name();
        }
    }
    let needed = intent.topology.groups().iter().map(|(_, group)| group.gpus()).sum();
    if backend == Backend::Vllm && needed > gpus {
        return Err(LocalError::TooFewGpus { needed, found: gpus }.into());
    }
    let given = flags.release.as_deref().unwrap_or(DEFAULT);
    let release = Release::find(given)?;
    Ok(Wish { intent, release, version: package_version(given, release), gpus })
}

/// The version as PyPI knows it: without an image's prefix and suffix, and whole.
fn package_version(given: &str, release: &Release) -> String {
    let bare = given.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
    match bare.split('.').count() {
        3 => bare.to_owned(),
        _ => release.version.to_owned(),
    }
}

/// The deployment of this name, if it is whole and serves just what is wanted. What a crash left of one is
/// cleared, and one that lost a process is started anew.
async fn already_there(folders: &Folders, wish: &Wish, port: Option<u16>) -> Result<Option<Found>> {
    let name = &wish.intent.name;
    let found = state::find(folders, name);
    if let Some(found) = found.as_ref().filter(|found| found.is_supervised())
        && let Some(difference) = found.deployment.difference(&wish.intent, &wish.version, port)
    {
        return Err(LocalError::AnotherWish { name: name.clone(), difference }.into());
    }
    match found {
        Some(found) if found.is_whole() => return Ok(Some(found)),
        Some(found) => found.end().await,
        None => state::end_leftovers(&folders.deployment(name)).await,
    }
    state::forget(&folders.deployment(name))?;
    Ok(None)
}

/// Everything that must be there before a process starts: ports, runtime, model, and the record of it all.
async fn prepare(args: &UpArgs, wish: &Wish, folders: &Folders, report: &Report) -> Result<Deployment> {
    if let Some(port) = args.port {
        processes::check_port(port)?;
    }
    let observer = |progress| show(progress, report);
    let program = machine::this_program()?;
    let backend = wish.intent.backend;
    let runtime =
        runtime::prepare(folders, wish.release, &wish.version, backend, &program, &observer).await?;
    report.done(Stage::Runtime, runtime_line(wish, &runtime));
    let model_folder = model_folder(wish, folders, &observer).await?;
    report.done(Stage::ModelFetch, format!("{} at {}", wish.intent.model, model_folder.display()));
    let place = ModelPlace::Folder(model_folder.display().to_string());
    let plan = plan(&wish.intent, wish.release, &wish.version, place)?;
    record(args, wish, &plan, model_folder, &runtime, folders)
}

fn record(
    args: &UpArgs,
    wish: &Wish,
    plan: &ServingPlan,
    model_folder: PathBuf,
    runtime: &Runtime,
    folders: &Folders,
) -> Result<Deployment> {
    let count = |frontends: bool| -> u32 {
        let of_kind = |role: WorkerRole| (role == WorkerRole::Frontend) == frontends;
        plan.components.iter().filter(|one| of_kind(one.role)).map(|one| one.replicas).sum()
    };
    let (frontends, workers) = (count(true) as usize, count(false) as usize);
    let mut ports = processes::free_ports(frontends + 2 * workers)?;
    if let Some(port) = args.port {
        ports[0] = port;
    }
    let folder = folders.deployment(&plan.name);
    let ground = Ground {
        interpreter: &runtime.interpreter,
        folder: &folder,
        frontend_ports: &ports[..frontends],
        worker_ports: &ports[frontends..],
        not_inherited: &machine::dynamo_variables(),
    };
    let deployment = Deployment {
        name: plan.name.clone(),
        intent: wish.intent.clone(),
        version: wish.version.clone(),
        port: ports[0],
        model_folder,
        detached: args.detach,
        started_at: jiff::Timestamp::now().to_string(),
    };
    state::write_deployment(&folder, &deployment, &processes::processes(plan, &ground))?;
    Ok(deployment)
}

async fn model_folder(wish: &Wish, folders: &Folders, observer: Observer<'_>) -> Result<PathBuf> {
    Ok(match &wish.intent.model {
        ModelRef::BuiltIn => model::built_in(folders, BUILT_IN_NAME)?,
        ModelRef::Folder { path } => path.clone(),
        ModelRef::Hub { repository, revision } => {
            let options = machine::fetch_options(repository, revision.as_deref(), folders);
            model::fetched(&options, observer).await?
        }
    })
}

pub(super) fn show(progress: Progress, report: &Report) {
    match progress {
        Progress::Runtime { waits_for } => report.waiting(Stage::Runtime, waits_for),
        Progress::ModelFetch { done, total, bytes_per_second, note } => {
            report.event(&Event::Transfer { stage: Stage::ModelFetch, done, total, bytes_per_second, note });
        }
        Progress::ModelFetchWaits { waits_for } => report.waiting(Stage::ModelFetch, waits_for),
        Progress::Ready { waits_for } => report.waiting(Stage::Ready, waits_for),
        Progress::Warning { text } => report.warn(None, text, None),
    }
}

/// Flags that shape Kubernetes objects would be lost here without a word.
fn refuse_cluster_flags(args: &UpArgs) -> Result<()> {
    let ServingFlags { hf_token_secret, cache, storage_class, image, fetcher_image, .. } = &args.serving;
    let ServingFlags { image_pull_secret, node_selector, service_account, label, shared_memory, .. } =
        &args.serving;
    let given = [
        ("--hf-token-secret", hf_token_secret.is_some()),
        ("--hf-token-stdin", args.hf_token_stdin),
        ("--cache", cache.is_some()),
        ("--storage-class", storage_class.is_some()),
        ("--image", image.is_some()),
        ("--fetcher-image", fetcher_image.is_some()),
        ("--image-pull-secret", !image_pull_secret.is_empty()),
        ("--node-selector", !node_selector.is_empty()),
        ("--service-account", service_account.is_some()),
        ("--label", !label.is_empty()),
        ("--shared-memory", shared_memory.is_some()),
        ("--dry-run", args.dry_run != DryRun::None),
        ("--force-conflicts", args.force_conflicts),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(LocalError::ClusterFlag { flag }.into()),
        None => Ok(()),
    }
}

fn plan_lines(wish: &Wish) -> Vec<String> {
    let intent = &wish.intent;
    let mut lines = vec![format!(
        "{} · this machine · Dynamo {} · {} · {} router",
        intent.name,
        wish.version,
        intent.topology.mode(),
        crate::intent::Word::as_str(intent.router_mode),
    )];
    let mut component = |role: WorkerRole, replicas: u32, gpus: u32| {
        let gpus = if gpus > 0 { format!("  {gpus} of {} GPUs each", wish.gpus) } else { String::new() };
        lines.push(format!("  {:<9} ×{replicas}{gpus}", role.component_name()));
    };
    component(WorkerRole::Frontend, intent.frontend_replicas, 0);
    for (role, group) in intent.topology.groups() {
        let gpus = if intent.backend == Backend::Vllm { group.parallelism.gpus() } else { 0 };
        component(role, group.replicas, gpus);
    }
    if intent.backend == Backend::Mocker {
        lines.push("  engine    mocker: real requests, but its words mean nothing".into());
    }
    lines
}

fn runtime_line(wish: &Wish, runtime: &Runtime) -> String {
    let how = if runtime.reused { "already installed" } else { "installed" };
    format!("Dynamo {} {how}", wish.version)
}

/// Where it answers and what to type next.
pub(super) fn closing_lines(deployment: &Deployment, end: Option<&str>) -> Vec<String> {
    let name = &deployment.name;
    let mut lines = vec![
        String::new(),
        format!("  endpoint  {}", deployment.base_url()),
        format!("  try       kubectl dynamo chat {name} --local"),
    ];
    match end {
        Some(end) => lines.push(format!("  end       {end}")),
        None => lines.push(format!("  end       kubectl dynamo down {name} --local")),
    }
    lines
}
