//! `up --local`: the plan that a cluster would get, as processes of this machine.

use std::path::PathBuf;

use super::machine;
use super::screen::{closing_lines, model_line, plan_lines, runtime_line};
use super::watch::{self, Interrupts};
use super::wish::{Wish, wish};
use crate::commands::Context;
use crate::commands::up::UpArgs;
use crate::error::{Exit, Result};
use crate::intent::model::BUILT_IN_NAME;
use crate::intent::{ModelRef, WorkerRole};
use crate::local::launch::{Launched, Lifetime};
use crate::local::processes::{self, Ground};
use crate::local::runtime::Runtime;
use crate::local::state::{self, Deployment, Found};
use crate::local::{Folders, LocalError, Observer, Progress, model, runtime};
use crate::plan::{ModelPlace, ServingPlan, plan};
use crate::report::{Event, Report, Stage};

/// Serves on this machine; returns when it is ended, or with `--detach` when it answers.
pub(in crate::commands) async fn run(args: UpArgs, context: &Context) -> Result<Exit> {
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
    let lifetime = if args.settle.detach { Lifetime::Kept } else { Lifetime::Tied };
    let folder = folders.deployment(&name);
    let launched = Launched::start(&machine::this_program()?, &folder, lifetime)?;
    let serving = watch::Serving { launched, deployment, folder, report, show_logs: args.logs };
    serving.until_ended(&mut interrupts, lock, &args).await
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
    report.done(Stage::ModelFetch, model_line(wish, &model_folder));
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
    let mut ports = processes::free_ports(frontends + processes::WORKER_PORTS * workers)?;
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
        detached: args.settle.detach,
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
            let left = total.saturating_sub(done);
            let eta_seconds = left.checked_div(bytes_per_second);
            let stage = Stage::ModelFetch;
            report.event(&Event::Transfer { stage, done, total, bytes_per_second, eta_seconds, note });
        }
        Progress::ModelFetchWaits { waits_for } => report.waiting(Stage::ModelFetch, waits_for),
        Progress::Ready { waits_for } => report.waiting(Stage::Ready, waits_for),
        Progress::Warning { text } => report.warn(None, text, None),
    }
}
