//! What `up --local` says before and after the work.

use std::path::Path;

use super::wish::Wish;
use crate::intent::{Backend, ModelRef, Word, WorkerRole};
use crate::local::runtime::Runtime;
use crate::local::state::Deployment;

/// What will run.
pub(super) fn plan_lines(wish: &Wish) -> Vec<String> {
    let intent = &wish.intent;
    let mut lines = vec![format!(
        "{} · this machine · Dynamo {} · {} · {} router",
        intent.name,
        wish.version,
        intent.topology.mode(),
        intent.router.mode.as_str(),
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

/// What came of the runtime.
pub(super) fn runtime_line(wish: &Wish, runtime: &Runtime) -> String {
    let how = if runtime.reused { "already installed" } else { "installed" };
    format!("Dynamo {} {how}", wish.version)
}

/// What came of the model.
pub(super) fn model_line(wish: &Wish, folder: &Path) -> String {
    match &wish.intent.model {
        ModelRef::BuiltIn => "the built-in tiny model, written by this program".into(),
        ModelRef::Folder { path } => format!("{} as it is", path.display()),
        ModelRef::Hub { .. } => format!("{} at {}", wish.intent.model, folder.display()),
    }
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
