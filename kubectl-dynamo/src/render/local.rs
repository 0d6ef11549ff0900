//! The texts that `up --local` prints before and after the work: plan, runtime, model, and closing lines. It
//! only formats; the report prints.

use std::path::Path;

use crate::local::local_command;
use crate::local::runtime::Runtime;
use crate::local::state::LocalDeploymentSpec;
use crate::workflow::local::resolve::LocalIntent;
use kubectl_dynamo_core::intent::{Backend, ModelRef, StringEnum, WorkerRole};

/// Returns the lines of the plan: the deployment, its components, and their GPUs.
pub(crate) fn plan_lines(local_intent: &LocalIntent) -> Vec<String> {
    let intent = &local_intent.intent;
    let mut lines = vec![format!(
        "{} · this machine · Dynamo {} · {} · {} router",
        intent.name,
        local_intent.version,
        intent.topology.mode(),
        intent.router.mode.as_str(),
    )];
    let mut component = |role: WorkerRole, replicas: u32, gpus: u32| {
        let gpus =
            if gpus > 0 { format!("  {gpus} of {} GPUs each", local_intent.gpus) } else { String::new() };
        lines.push(format!("  {:<9} ×{replicas}{gpus}", role.component_name()));
    };
    component(WorkerRole::Frontend, intent.frontend_replicas, 0);
    for (role, group) in intent.topology.groups() {
        let gpus = if intent.backend == Backend::Vllm { group.parallelism.gpus() } else { 0 };
        component(role, group.replicas, gpus);
    }
    if intent.backend == Backend::Mocker {
        lines.push("  engine    mocker (generates placeholder text)".into());
    }
    lines
}

/// Returns the line that reports the installed runtime.
pub(crate) fn runtime_line(local_intent: &LocalIntent, runtime: &Runtime) -> String {
    let state = if runtime.reused { "already installed" } else { "installed" };
    format!("Dynamo {} {state}", local_intent.version)
}

/// Returns the line that reports where the model files are.
pub(crate) fn model_line(local_intent: &LocalIntent, folder: &Path) -> String {
    match &local_intent.intent.model {
        ModelRef::BuiltIn => "built-in tiny model".into(),
        ModelRef::Folder { path } => format!("{} (local folder)", path.display()),
        ModelRef::Hub { .. } => format!("{} at {}", local_intent.intent.model, folder.display()),
    }
}

/// Returns the endpoint and the next commands. `end` is how to stop the deployment, by default `down`.
pub(crate) fn closing_lines(deployment: &LocalDeploymentSpec, stop_hint: Option<&str>) -> Vec<String> {
    let name = &deployment.name;
    let mut lines = vec![
        String::new(),
        format!("  endpoint  {}", deployment.base_url()),
        format!("  try       {}", local_command("chat", name)),
    ];
    match stop_hint {
        Some(hint) => lines.push(format!("  stop      {hint}")),
        None => lines.push(format!("  stop      {}", local_command("down", name))),
    }
    lines
}
