//! `up --local`: runs the plan that a cluster would get as processes on this machine. It prepares ports,
//! runtime, and model, starts the supervisor, and waits. Starting and watching processes is in
//! `crate::local`.

use std::path::PathBuf;

use crate::context::Context;
use crate::local::launch::SupervisorHandle;
use crate::local::processes::{self, LaunchEnvironment};
use crate::local::runtime::{self, Runtime, RuntimeRequest};
use crate::local::state::{self, LocalDeployment, LocalDeploymentSpec};
use crate::local::supervisor::Lifetime;
use crate::local::{Folders, LocalError, LocalFeature, LocalObserver, model};
use crate::render::local::{closing_lines, model_line, plan_lines, runtime_line};
use crate::report::{Event, Report, Stage};
use crate::signals::ShutdownSignals;
use crate::workflow::local::environment;
use crate::workflow::local::resolve::{LocalIntent, resolve_local_intent};
use crate::workflow::local::session::{self, report_progress};
use crate::workflow::resolve::ParserDetection;
use crate::workflow::rollout::WaitOptions;
use crate::workflow::serving_input::ServingInput;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::model::BUILT_IN_NAME;
use kubectl_dynamo_core::intent::{ModelRef, WorkerRole};
use kubectl_dynamo_core::plan::{ModelLocation, ServingPlan, model_cache, plan};

/// Options of a deployment on this machine.
pub(crate) struct LocalUpOptions {
    pub serving: ServingInput,
    /// Flags that only apply to a cluster, and whether each is set.
    pub cluster_flags: Vec<(&'static str, bool)>,
    /// Port of the endpoint; a free one if not set.
    pub port: Option<u16>,
    /// Show the logs of all processes.
    pub logs: bool,
    pub wait: WaitOptions,
}

/// What there is to start.
enum LocalStart {
    /// A deployment that matches the request serves already.
    AlreadyServing(Box<LocalDeployment>),
    New {
        deployment: Box<LocalDeploymentSpec>,
        /// Released when the deployment has started.
        lock: std::fs::File,
    },
}

/// Serves on this machine. Returns when the deployment is stopped or, with `--detach`, when it answers.
pub(crate) async fn run(args: LocalUpOptions, context: &Context) -> Result<Exit> {
    let mut interrupts = ShutdownSignals::new();
    let report = &context.report;
    let folders = environment::folders_for(LocalFeature::Runtime)?;
    let local_intent = resolve_local_intent(&args.serving, &args.cluster_flags).await?;
    let name = local_intent.intent.name.clone();
    let prepared = async {
        let report_wait =
            || report.waiting(Stage::Preflight, format!("another `up` of \"{name}\" to finish"));
        let lock = state::lock(&folders, &name, report_wait).await?;
        if let Some(found) = find_existing(&folders, &local_intent, args.port).await? {
            return Ok(LocalStart::AlreadyServing(Box::new(found)));
        }
        report.event(&Event::Plan { lines: plan_lines(&local_intent) });
        let prepared = prepare(&args, &local_intent, &folders, report).await;
        prepared.map(|deployment| LocalStart::New { deployment: Box::new(deployment), lock })
    };
    let prepared = tokio::select! {
        prepared = prepared => prepared?,
        () = interrupts.next() => {
            report.summary(vec!["interrupted before anything was started; rerun the same command".into()]);
            return Ok(Exit::Interrupted);
        }
    };
    let (deployment, lock) = match prepared {
        LocalStart::New { deployment, lock } => (*deployment, lock),
        LocalStart::AlreadyServing(found) => {
            report.done(Stage::Ready, format!("deployment \"{name}\" unchanged, already serving"));
            report.summary(closing_lines(&found.spec, None));
            return Ok(Exit::Ok);
        }
    };
    let lifetime = if args.wait.detach { Lifetime::Detached } else { Lifetime::Foreground };
    let folder = folders.deployment(&name);
    let supervisor = SupervisorHandle::start(&environment::current_executable()?, &folder, lifetime)?;
    let session = session::LocalSession { supervisor, deployment, folder, report, show_logs: args.logs };
    session.run_until_stopped(&mut interrupts, lock, args.wait).await
}

/// Returns the deployment of this name if all its processes run and it matches the request. It stops the
/// leftovers of a crash or of a deployment that lost a process, so that a new one can start.
async fn find_existing(
    folders: &Folders,
    local_intent: &LocalIntent,
    port: Option<u16>,
) -> Result<Option<LocalDeployment>> {
    let name = &local_intent.intent.name;
    let found = state::find(folders, name);
    if let Some(found) = found.as_ref().filter(|found| found.is_supervised())
        && let Some(difference) = found.spec.difference(&local_intent.intent, &local_intent.version, port)
    {
        return Err(LocalError::SpecMismatch { name: name.clone(), difference }.into());
    }
    match found {
        Some(found) if found.is_healthy() => return Ok(Some(found)),
        Some(found) => found.stop().await,
        None => state::kill_orphans(&folders.deployment(name)).await,
    }
    state::remove(&folders.deployment(name))?;
    Ok(None)
}

/// What the processes are started from.
struct LaunchInput<'a> {
    plan: &'a ServingPlan,
    model_folder: PathBuf,
    runtime: &'a Runtime,
}

/// Prepares what the processes need: ports, runtime, model, and the state file. Starts nothing.
async fn prepare(
    args: &LocalUpOptions,
    local_intent: &LocalIntent,
    folders: &Folders,
    report: &Report,
) -> Result<LocalDeploymentSpec> {
    if let Some(port) = args.port {
        processes::check_port(port)?;
    }
    let observer = |progress| report_progress(progress, report);
    let program = environment::current_executable()?;
    let request = RuntimeRequest {
        release: local_intent.release,
        version: &local_intent.version,
        backend: local_intent.intent.backend,
        supervisor: &program,
    };
    let runtime = runtime::prepare(folders, &request, &observer).await?;
    report.done(Stage::Runtime, runtime_line(local_intent, &runtime));
    let model_folder = prepare_model(local_intent, folders, &observer).await?;
    report.done(Stage::ModelFetch, model_line(local_intent, &model_folder));
    let model_place = ModelLocation::Folder(model_folder.display().to_string());
    // The stored intent stays as requested, so that the same command finds the deployment.
    let mut intent = local_intent.intent.clone();
    let settings = &local_intent.settings;
    let parsers = ParserDetection::local(&mut intent, settings, local_intent.release, &model_folder);
    let plan = plan(&intent, local_intent.release, &local_intent.version, model_place)?;
    for (kind, name) in plan.intent.parsers.names() {
        let reason = parsers.reason(kind.path()).map(|reason| format!(" ({reason})")).unwrap_or_default();
        report.info(format!("{kind} {name}{reason}"));
    }
    for warning in parsers.into_warnings() {
        report.warn(Some(warning.code()), warning.to_string(), None);
    }
    let parts = LaunchInput { plan: &plan, model_folder, runtime: &runtime };
    write_record(args, local_intent, parts, folders)
}

fn write_record(
    args: &LocalUpOptions,
    local_intent: &LocalIntent,
    LaunchInput { plan, model_folder, runtime }: LaunchInput<'_>,
    folders: &Folders,
) -> Result<LocalDeploymentSpec> {
    let count = |frontends: bool| -> u32 {
        let matches_kind = |role: WorkerRole| (role == WorkerRole::Frontend) == frontends;
        plan.components.iter().filter(|one| matches_kind(one.role)).map(|one| one.replicas).sum()
    };
    let (frontends, workers) = (count(true) as usize, count(false) as usize);
    let mut ports = processes::free_ports(frontends + processes::WORKER_PORTS * workers)?;
    if let Some(port) = args.port {
        ports[0] = port;
    }
    let folder = folders.deployment(&plan.name);
    let launch_environment = LaunchEnvironment {
        interpreter: &runtime.interpreter,
        folder: &folder,
        frontend_ports: &ports[..frontends],
        worker_ports: &ports[frontends..],
        metrics_ports: &processes::free_metrics_ports(workers)?,
        not_inherited: &environment::dynamo_variables(),
    };
    let deployment = LocalDeploymentSpec {
        name: plan.name.clone(),
        intent: local_intent.intent.clone(),
        version: local_intent.version.clone(),
        port: ports[0],
        model_folder,
        detached: args.wait.detach,
        started_at: jiff::Timestamp::now().to_string(),
    };
    state::write_spec(&folder, &deployment, &processes::processes(plan, &launch_environment))?;
    Ok(deployment)
}

async fn prepare_model(
    local_intent: &LocalIntent,
    folders: &Folders,
    observer: LocalObserver<'_>,
) -> Result<PathBuf> {
    Ok(match &local_intent.intent.model {
        ModelRef::BuiltIn => model::write_built_in(folders, BUILT_IN_NAME)?,
        ModelRef::Folder { path } => path.clone(),
        ModelRef::Hub { repository, revision } => {
            let mut options = environment::fetch_options(repository, revision.as_deref(), folders);
            options.load_format = model_cache::load_format(&local_intent.intent);
            model::fetch(&options, observer).await?
        }
    })
}
