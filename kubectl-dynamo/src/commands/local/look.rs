//! `list`, `status`, `logs` and `down` with `--local`.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::machine;
use crate::commands::list::ListFormat;
use crate::commands::logs::LogsArgs;
use crate::commands::status::StatusFormat;
use crate::commands::summary::age;
use crate::commands::table::table;
use crate::commands::{Context, print_data};
use crate::error::{Exit, Result};
use crate::intent::{ServingIntent, Word};
use crate::local::logs::{self, Followed};
use crate::local::state::{self, Found};
use crate::local::{Folders, LocalError};
use crate::report::Stage;
use crate::smoke_test;

/// How long a frontend may take to list its models.
const PATIENCE: Duration = Duration::from_secs(3);

/// The deployment of a name, or the only one.
pub(in crate::commands) fn serving(name: Option<&str>) -> Result<Found> {
    let found = find(&machine::folders()?, name)?;
    if found.is_supervised() {
        return Ok(found);
    }
    Err(LocalError::NotServing { name: found.deployment.name }.into())
}

fn find(folders: &Folders, name: Option<&str>) -> std::result::Result<Found, LocalError> {
    if let Some(name) = name {
        return state::find(folders, name).ok_or_else(|| LocalError::NoSuchDeployment { name: name.into() });
    }
    let mut all = state::list(folders);
    match all.len() {
        0 => Err(LocalError::NoDeployment),
        1 => Ok(all.remove(0)),
        _ => Err(LocalError::WhichDeployment { names: names(&all).join(", ") }),
    }
}

fn names(all: &[Found]) -> Vec<String> {
    all.iter().map(|found| found.deployment.name.clone()).collect()
}

/// `list --local`.
pub(in crate::commands) fn list(output: ListFormat, context: &Context) -> Result<Exit> {
    let all = state::list(&machine::folders()?);
    if all.is_empty() && output != ListFormat::Json {
        context.report.detail("no deployments on this machine");
        return Ok(Exit::Ok);
    }
    print_data(&match output {
        ListFormat::Table => rows(&all, false),
        ListFormat::Wide => rows(&all, true),
        ListFormat::Name => names(&all).iter().map(|name| format!("{name}\n")).collect(),
        ListFormat::Json => {
            let items: Vec<Value> = all.iter().map(|found| facts(found, standing(found))).collect();
            let list =
                json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "DeploymentList", "items": items });
            format!("{list:#}\n")
        }
    })?;
    Ok(Exit::Ok)
}

fn rows(all: &[Found], wide: bool) -> String {
    let now = jiff::Timestamp::now();
    let mut headings = vec!["NAME", "MODEL", "MODE", "READY", "STATUS", "ROUTER", "AGE", "ENDPOINT"];
    if wide {
        headings.extend(["RELEASE", "BACKEND", "LIFE"]);
    }
    let row = |found: &Found| {
        let deployment = &found.deployment;
        let intent = &deployment.intent;
        let (alive, wanted) = counts(found);
        let mut row = vec![
            deployment.name.clone(),
            intent.served_model_name.clone(),
            intent.topology.mode().to_owned(),
            format!("{alive}/{wanted}"),
            standing(found).to_owned(),
            intent.router_mode.as_str().to_owned(),
            age(&deployment.started_at, now),
            deployment.base_url(),
        ];
        if wide {
            let life = if deployment.detached { "detached" } else { "foreground" };
            row.extend([deployment.version.clone(), intent.backend.as_str().into(), life.into()]);
        }
        row
    };
    table(&headings, all.iter().map(row).collect())
}

/// Processes that run, and processes that should.
fn counts(found: &Found) -> (usize, usize) {
    let alive = found.processes.iter().filter(|process| process.is_alive()).count();
    let workers: u32 =
        found.deployment.intent.topology.groups().iter().map(|(_, group)| group.replicas).sum();
    (alive, (found.deployment.intent.frontend_replicas + workers) as usize)
}

/// Where it stands by its processes alone.
fn standing(found: &Found) -> &'static str {
    match (found.is_supervised(), counts(found)) {
        (true, (alive, wanted)) if alive >= wanted => "running",
        (true, (0, _)) => "starting",
        (true, _) => "degraded",
        (false, _) => "ended",
    }
}

/// `status --local`: asks the endpoint, since a process that runs proves nothing.
pub(in crate::commands) async fn status(
    name: Option<&str>,
    output: StatusFormat,
    context: &Context,
) -> Result<Exit> {
    let folders = machine::folders()?;
    if name.is_none() && state::list(&folders).len() != 1 {
        let output = if output == StatusFormat::Json { ListFormat::Json } else { ListFormat::Table };
        return list(output, context);
    }
    let found = find(&folders, name)?;
    if !found.is_supervised() {
        // What outlived its supervisor serves nobody and is not found by the next `up` alone.
        found.end().await;
    }
    let intent = &found.deployment.intent;
    let listed = smoke_test::models(&found.deployment.base_url(), PATIENCE).await.unwrap_or_default();
    let serves = found.is_supervised() && listed.contains(&intent.served_model_name);
    let coming = found.is_supervised() && counts(&found).0 >= counts(&found).1;
    let (verdict, exit) = match (serves, coming) {
        (true, _) => ("UP", Exit::Ok),
        (false, true) => ("COMING UP", Exit::NotReadyInTime),
        (false, false) => ("DOWN", Exit::Failed),
    };
    print_data(&match output {
        StatusFormat::Text => screen(&found, verdict),
        StatusFormat::Json => {
            let mut document = facts(&found, standing(&found));
            document["apiVersion"] = "kubectl-dynamo.dev/v1".into();
            document["kind"] = "Status".into();
            document["verdict"] = verdict.into();
            document["models"] = json!(listed);
            format!("{document:#}\n")
        }
    })?;
    Ok(exit)
}

fn screen(found: &Found, verdict: &str) -> String {
    let deployment = &found.deployment;
    let (name, intent) = (&deployment.name, &deployment.intent);
    let mut text = match verdict {
        "UP" => format!("✔ UP  {name} serves {}\n", intent.served_model_name),
        "COMING UP" => format!("… COMING UP  {name} waits for {} to be listed\n", intent.served_model_name),
        _ => format!(
            "✗ DOWN  {name} serves nothing (KD0517)\n  fix       kubectl dynamo down {name} --local, then `up` again\n"
        ),
    };
    let ServingIntent { topology, router_mode, backend, .. } = intent;
    let _ = writeln!(
        text,
        "  model     {}   {} · {} router · {} · Dynamo {}",
        intent.model,
        topology.mode(),
        router_mode.as_str(),
        backend.as_str(),
        deployment.version
    );
    for process in &found.processes {
        let pid = process.pid().map_or_else(|| "-".into(), |pid| pid.to_string());
        let state = match &process.ended {
            Some(how) => format!("✗ ended ({how})"),
            None if process.is_alive() => format!("✔ pid {pid}"),
            None => "✗ gone".into(),
        };
        let _ = writeln!(text, "  {:<9} {state}", process.name);
    }
    let _ = writeln!(text, "  logs      kubectl dynamo logs {name} --local");
    let _ = writeln!(text, "  endpoint  {}", deployment.base_url());
    text
}

fn facts(found: &Found, standing: &str) -> Value {
    let deployment = &found.deployment;
    let intent = &deployment.intent;
    let (ready, wanted) = counts(found);
    let processes: Vec<Value> = found
        .processes
        .iter()
        .map(|process| {
            json!({
                "name": process.name, "component": process.role.component_name(), "pid": process.pid(),
                "alive": process.is_alive(), "ended": process.ended,
            })
        })
        .collect();
    json!({
        "name": deployment.name, "model": intent.model.to_string(), "servedModelName": intent.served_model_name,
        "mode": intent.topology.mode(), "ready": ready, "wanted": wanted, "status": standing,
        "router": intent.router_mode.as_str(), "backend": intent.backend.as_str(),
        "release": deployment.version, "created": deployment.started_at, "endpoint": deployment.base_url(),
        "detached": deployment.detached, "folder": found.folder, "processes": processes,
    })
}

/// `logs --local`: the logs of all processes, each line with its process's name.
pub(in crate::commands) async fn logs(args: &LogsArgs) -> Result<Exit> {
    let found = find(&machine::folders()?, Some(&args.name))?;
    let wanted = |process: &str| {
        let component = args.component.as_deref();
        component.is_none_or(|wanted| process == wanted || process.starts_with(&format!("{wanted}-")))
    };
    let mut all = state::logs(&found.folder);
    all.retain(|(process, _)| wanted(process));
    let print = |process: &str, line: &str| print_data(&format!("{process:<10} | {line}\n"));
    let mut followed = Followed::from_start(all);
    let last = args.tail.and_then(|lines| usize::try_from(lines).ok()).unwrap_or(usize::MAX);
    let said = logs::in_order_of_time(followed.new_lines(), last);
    said.iter().try_for_each(|(process, line)| print(process, line))?;
    if !args.follow {
        return Ok(Exit::Ok);
    }
    let mut printed = Ok(());
    tokio::select! {
        never = followed.follow(|process, line| printed = print(process, line)) => match never {},
        () = until_ended(&found) => {}
        _ = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    }
    printed?;
    Ok(Exit::Ok)
}

/// Returns when nothing can be added to the logs any more.
async fn until_ended(found: &Found) {
    const LOOK_AGAIN: Duration = Duration::from_millis(500);
    while found.is_supervised() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    // The last lines are read once more by whoever follows.
    tokio::time::sleep(LOOK_AGAIN).await;
}

/// `down --local`: ends deployments and forgets them. Models and runtimes stay in the cache.
pub(in crate::commands) async fn down(names: &[String], all: bool, context: &Context) -> Result<Exit> {
    let folders = machine::folders()?;
    let found = if all {
        state::list(&folders)
    } else {
        match names {
            [] => vec![find(&folders, None)?],
            names => {
                let named = names.iter().map(|name| find(&folders, Some(name)));
                named.collect::<std::result::Result<_, _>>()?
            }
        }
    };
    if found.is_empty() {
        context.report.detail("no deployments on this machine");
    }
    for found in found {
        let name = &found.deployment.name;
        context.report.waiting(Stage::Deploy, format!("the processes of {name} to end"));
        found.end().await;
        state::forget(&found.folder)?;
        context.report.done(Stage::Deploy, format!("{name} ended"));
    }
    Ok(Exit::Ok)
}
