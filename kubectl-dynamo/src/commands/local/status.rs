//! `list --local` and `status --local`: the state of local deployments, from their processes and their
//! endpoint.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::context::Context;
use crate::local::local_command;
use crate::local::state::LocalDeployment;
use crate::output::{ListFormat, PrintFormat, TextFormat, print_data};
use crate::render::list::ListColumns;
use crate::render::table::table;
use crate::render::top::numbers;
use crate::smoke_test;
use crate::workflow::local::lookup::{all_deployments, find_deployment, names};
use crate::workflow::summary::age;
use crate::workflow::top::request_totals;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::{ServingIntent, StringEnum};
use kubectl_dynamo_core::resources::object_at;

/// Timeout for the frontend to list its models.
const MODELS_TIMEOUT: Duration = Duration::from_secs(3);

/// Prints the local deployments in the given format.
pub(in crate::commands) fn list(output: &PrintFormat<ListFormat>, context: &Context) -> Result<Exit> {
    let all = all_deployments()?;
    if all.is_empty() && !output.is_document() {
        context.report.info("no local deployments found");
        return Ok(Exit::Ok);
    }
    let own_text = |own| match own {
        ListFormat::Table => rows(&all, ListColumns::Standard),
        ListFormat::Wide => rows(&all, ListColumns::Wide),
        ListFormat::Name => names(&all).iter().map(|name| format!("{name}\n")).collect(),
    };
    print_data(&output.text(|| document(&all), own_text)?)?;
    Ok(Exit::Ok)
}

fn document(all: &[LocalDeployment]) -> Value {
    let items: Vec<Value> = all.iter().map(|found| deployment_json(found, process_status(found))).collect();
    json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "DeploymentList", "items": items })
}

fn rows(all: &[LocalDeployment], columns: ListColumns) -> String {
    let wide = columns == ListColumns::Wide;
    let now = jiff::Timestamp::now();
    let mut headings = vec!["NAME", "MODEL", "MODE", "READY", "STATUS", "AGE", "ENDPOINT"];
    if wide {
        headings.extend(["ROUTER", "RELEASE", "BACKEND", "LIFE"]);
    }
    let row = |found: &LocalDeployment| {
        let deployment = &found.spec;
        let intent = &deployment.intent;
        let (alive, desired) = process_counts(found);
        let mut row = vec![
            deployment.name.clone(),
            intent.served_model_name.clone(),
            intent.topology.mode().to_owned(),
            format!("{alive}/{desired}"),
            process_status(found).to_owned(),
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

/// Returns the numbers of running and of expected processes.
fn process_counts(found: &LocalDeployment) -> (usize, usize) {
    let alive = found.processes.iter().filter(|process| process.is_alive()).count();
    let workers: u32 = found.spec.intent.topology.groups().iter().map(|(_, group)| group.replicas).sum();
    (alive, (found.spec.intent.frontend_replicas + workers) as usize)
}

/// Returns the status of a deployment, derived only from its processes.
fn process_status(found: &LocalDeployment) -> &'static str {
    match (found.is_supervised(), process_counts(found)) {
        (true, (alive, desired)) if alive >= desired => "running",
        (true, (0, _)) => "starting",
        (true, _) => "degraded",
        (false, _) => "exited",
    }
}

/// Prints the status of one local deployment. It queries the endpoint, because a running process does not
/// prove that the model is served.
pub(in crate::commands) async fn status(
    name: Option<&str>,
    output: &PrintFormat<TextFormat>,
    context: &Context,
) -> Result<Exit> {
    if name.is_none() && all_deployments()?.len() != 1 {
        return list(&output.map_own(|TextFormat::Text| ListFormat::Table), context);
    }
    let found = find_deployment(name)?;
    report_leftovers(&found, context);
    let intent = &found.spec.intent;
    let models = smoke_test::models(&found.spec.base_url(), MODELS_TIMEOUT).await.unwrap_or_default();
    let is_serving = found.is_supervised() && models.contains(&intent.served_model_name);
    let is_starting = found.is_supervised() && process_counts(&found).0 >= process_counts(&found).1;
    let (verdict, exit) = match (is_serving, is_starting) {
        (true, _) => ("UP", Exit::Ok),
        (false, true) => ("STARTING", Exit::NotReadyInTime),
        (false, false) => ("DOWN", Exit::Failed),
    };
    let requests = if is_serving { request_totals::of_local(&found).await } else { None };
    let document = || {
        let mut document = deployment_json(&found, process_status(&found));
        object_at(&mut document, &[]).extend([
            ("apiVersion".into(), "kubectl-dynamo.dev/v1".into()),
            ("kind".into(), "Status".into()),
            ("verdict".into(), verdict.into()),
            ("models".into(), json!(models)),
            ("requests".into(), json!(requests.as_ref().map(numbers::requests_json))),
        ]);
        document
    };
    let screen = |TextFormat::Text| {
        let line = requests.as_ref().map(|totals| format!("  requests  {}\n", numbers::requests(totals)));
        screen(&found, exit) + &line.unwrap_or_default()
    };
    print_data(&output.text(document, screen)?)?;
    Ok(exit)
}

/// Reports processes that are still running without their supervisor. `up` and `down` end them.
fn report_leftovers(found: &LocalDeployment, context: &Context) {
    let name = &found.spec.name;
    let text = match found.leftover_processes() {
        0 => return,
        1 => format!("1 process of deployment \"{name}\" is still running without its supervisor"),
        many => {
            format!("{many} processes of deployment \"{name}\" are still running without their supervisor")
        }
    };
    let hint = local_command("down", name).after("end it with: ");
    context.report.warn(Some(MessageCode::LocalProcessExited), text, Some(hint));
}

fn screen(found: &LocalDeployment, exit: Exit) -> String {
    let deployment = &found.spec;
    let (name, intent) = (&deployment.name, &deployment.intent);
    let mut text = match exit {
        Exit::Ok => format!("✔ UP  deployment \"{name}\" serves {}\n", intent.served_model_name),
        Exit::NotReadyInTime => format!(
            "… STARTING  deployment \"{name}\" is waiting for model \"{}\" to be listed\n",
            intent.served_model_name
        ),
        _ => format!(
            "✗ DOWN  deployment \"{name}\" is not serving ({})\n  fix       {}, then run `up` again\n",
            MessageCode::LocalProcessExited,
            local_command("down", name)
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
        let state = match &process.exit_status {
            Some(reason) => format!("✗ exited ({reason})"),
            None if process.is_alive() => match process.metrics_url() {
                Some(url) => format!("✔ pid {pid:<8} metrics {url}"),
                None => format!("✔ pid {pid}"),
            },
            None => "✗ not running".into(),
        };
        let _ = writeln!(text, "  {:<9} {state}", process.name);
    }
    let _ = writeln!(text, "  logs      {}", local_command("logs", name));
    let _ = writeln!(text, "  endpoint  {}", deployment.base_url());
    text
}

fn deployment_json(found: &LocalDeployment, status: &str) -> Value {
    let deployment = &found.spec;
    let intent = &deployment.intent;
    let (ready, desired) = process_counts(found);
    let processes: Vec<Value> = found
        .processes
        .iter()
        .map(|process| {
            json!({
                "name": process.name, "component": process.role.component_name(), "pid": process.pid(),
                "alive": process.is_alive(), "exitStatus": process.exit_status,
                "metricsPort": process.metrics_port,
            })
        })
        .collect();
    json!({
        "name": deployment.name, "model": intent.model.to_string(), "servedModelName": intent.served_model_name,
        "mode": intent.topology.mode(), "ready": ready, "desired": desired, "status": status,
        "router": intent.router.mode.as_str(), "backend": intent.backend.as_str(),
        "release": deployment.version, "created": deployment.started_at, "endpoint": deployment.base_url(),
        "detached": deployment.detached, "folder": found.folder, "processes": processes,
    })
}
