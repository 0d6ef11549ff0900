//! `list` and `status` with `--local`.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::find::{find, names};
use super::machine;
use crate::commands::list::{ListFormat, yaml};
use crate::commands::status::StatusFormat;
use crate::commands::summary::age;
use crate::commands::table::table;
use crate::commands::{Context, print_data};
use crate::error::{Exit, Result};
use crate::intent::{ServingIntent, Word};
use crate::local::state::{self, Found};
use crate::smoke_test;

/// How long a frontend may take to list its models.
const PATIENCE: Duration = Duration::from_secs(3);

/// `list --local`.
pub(in crate::commands) fn list(output: ListFormat, context: &Context) -> Result<Exit> {
    let all = state::list(&machine::folders()?);
    if all.is_empty() && !matches!(output, ListFormat::Json | ListFormat::Yaml) {
        context.report.detail("no deployments on this machine");
        return Ok(Exit::Ok);
    }
    print_data(&match output {
        ListFormat::Table => rows(&all, false),
        ListFormat::Wide => rows(&all, true),
        ListFormat::Name => names(&all).iter().map(|name| format!("{name}\n")).collect(),
        ListFormat::Json => format!("{:#}\n", document(&all)),
        ListFormat::Yaml => yaml(&document(&all)),
    })?;
    Ok(Exit::Ok)
}

fn document(all: &[Found]) -> Value {
    let items: Vec<Value> = all.iter().map(|found| facts(found, standing(found))).collect();
    json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "DeploymentList", "items": items })
}

fn rows(all: &[Found], wide: bool) -> String {
    let now = jiff::Timestamp::now();
    let mut headings = vec!["NAME", "MODEL", "MODE", "READY", "STATUS", "AGE", "ENDPOINT"];
    if wide {
        headings.extend(["ROUTER", "RELEASE", "BACKEND", "LIFE"]);
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
            age(&deployment.started_at, now),
            deployment.base_url(),
        ];
        if wide {
            let life = if deployment.detached { "detached" } else { "foreground" };
            row.push(intent.router.mode.as_str().to_owned());
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
    let ServingIntent { topology, router, backend, .. } = intent;
    let _ = writeln!(text, "  model     {}", intent.model);
    let (mode, router) = (topology.mode(), router.mode.as_str());
    let _ = writeln!(
        text,
        "  engine    {} · Dynamo {} · {mode} · {router} router",
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
        "router": intent.router.mode.as_str(), "backend": intent.backend.as_str(),
        "release": deployment.version, "created": deployment.started_at, "endpoint": deployment.base_url(),
        "detached": deployment.detached, "folder": found.folder, "processes": processes,
    })
}
