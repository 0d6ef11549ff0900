//! Renders `status`: the overall state, the tree of components and pods, the cache, and the endpoint; and the
//! same data as one JSON object. It redacts secrets.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::render::top::numbers;
use crate::report::units;
use crate::typed_command::{deployment_command, typed};
use crate::workflow::status::{StatusSummary, StatusView};
use crate::workflow::summary::{DeploymentSummary, age};
use kubectl_dynamo_cluster::pvc_facts;
use kubectl_dynamo_core::diagnosis::{ChainStep, RootCause, redact};
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::intent::request::TopologyMode;
use kubectl_dynamo_core::object::ObjectFields;
use kubectl_dynamo_core::object::event_time;
use kubectl_dynamo_core::readiness::{ComponentStatus, PodStatus};

/// Number of events that `--details` shows.
const MAX_EVENTS: usize = 12;

/// How much of a status is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusDetail {
    Summary,
    /// Also the chain of objects and the latest events.
    Full,
}

/// Returns the status as text.
pub(crate) fn screen(view: &StatusView, detail: StatusDetail) -> String {
    let now = jiff::Timestamp::now();
    let mut text = first_line(view, now);
    let DeploymentSummary { model, mode, router, backend, release, .. } = &view.summary;
    let mode = mode.as_str();
    let _ = writeln!(text, "  model     {model}   {mode} · {router} router · {backend} · Dynamo {release}");
    let cause = view.verdict.cause();
    for component in &view.components {
        write_component(&mut text, component, cause, now);
    }
    let is_cause_of_pod = |cause: &&RootCause| {
        let mut pods = view.components.iter().flat_map(|one| &one.pods);
        pods.any(|pod| cause.location.is_pod(&pod.name))
    };
    if let Some(cause) = cause.filter(|cause| !is_cause_of_pod(cause)) {
        let _ =
            writeln!(text, "  cause     {} {cause}\n  fix       {}", cause.code, typed(cause.fix.clone()));
    }
    write_cache(&mut text, view, now);
    let _ = writeln!(text, "  endpoint  {}{}", view.summary.in_cluster_url(), endpoint_note(view));
    if let Some(requests) = &view.requests {
        let _ = writeln!(text, "  requests  {}", numbers::requests(requests));
    }
    for item in &view.skipped {
        let _ = writeln!(text, "  skipped   {item}");
    }
    if cause.is_some() {
        let DeploymentSummary { name, namespace, .. } = &view.summary;
        let _ = writeln!(text, "  more      {}", typed(deployment_command("diagnose", name, namespace)));
    }
    if detail == StatusDetail::Full {
        write_details(&mut text, view, now);
    }
    redact(&text)
}

fn first_line(view: &StatusView, now: jiff::Timestamp) -> String {
    let (name, word) = (&view.summary.name, view.verdict_word());
    match &view.verdict {
        StatusSummary::Up { models } if models.is_empty() => {
            format!("✔ {word}  deployment \"{name}\" is reported ready; its model list is not accessible\n")
        }
        StatusSummary::Up { models } => {
            format!("✔ {word}  deployment \"{name}\" serves {}\n", models.join(", "))
        }
        StatusSummary::Progressing { waits_for, cause } => {
            let code = cause.as_ref().map(|cause| format!(" ({})", cause.code)).unwrap_or_default();
            format!("… {word}  deployment \"{name}\" is waiting for {waits_for}{code}\n")
        }
        StatusSummary::Deleting { waits_for } => {
            format!("✗ {word}  deployment \"{name}\" is being deleted: waiting for {waits_for}\n")
        }
        StatusSummary::Down { cause } => match missing_replicas(&view.components, now) {
            Some(missing) if word == "DEGRADED" => {
                format!("! {word}  deployment \"{name}\" serves with {missing} ({})\n", cause.code)
            }
            Some(missing) => {
                format!("✗ {word}  deployment \"{name}\" is not serving: {missing} ({})\n", cause.code)
            }
            None => format!("✗ {word}  deployment \"{name}\": {cause} ({})\n", cause.code),
        },
    }
}

/// Returns which component has too few ready pods and for how long.
fn missing_replicas(components: &[ComponentStatus], now: jiff::Timestamp) -> Option<String> {
    let component = components.iter().filter(|one| one.ready < one.desired).min_by_key(|one| one.ready)?;
    let waiting = component.pods.iter().filter(|pod| !pod.ready).map(|pod| pod.created.as_str()).min();
    let since = waiting.map(|created| format!(" for {}", age(created, now))).unwrap_or_default();
    Some(format!(
        "{} of {} {} ready{since}",
        component.ready,
        component.desired,
        component.name.to_lowercase()
    ))
}

fn write_component(
    text: &mut String,
    component: &ComponentStatus,
    cause: Option<&RootCause>,
    now: jiff::Timestamp,
) {
    let has_failed_pod =
        component.pods.iter().any(|pod| pod.problem.as_ref().is_some_and(|one| !one.is_transient()));
    let mark = match (component.ready >= component.desired, has_failed_pod) {
        (true, _) => "✔",
        (false, true) => "✗",
        (false, false) => "…",
    };
    let prefix =
        format!("  {:<9} {}/{} {mark}", component.name.to_lowercase(), component.ready, component.desired);
    if let [pod] = component.pods.as_slice()
        && pod.ready
    {
        let _ = writeln!(text, "{prefix}  {}", pod_text(pod, now));
        return;
    }
    let _ = writeln!(text, "{prefix}");
    for (index, pod) in component.pods.iter().enumerate() {
        let branch = if index + 1 == component.pods.len() { "└─" } else { "├─" };
        let _ = writeln!(text, "  {branch} {}", pod_text(pod, now));
        if let Some(cause) = cause.filter(|cause| cause.location.is_pod(&pod.name)) {
            let _ =
                writeln!(text, "       {} {cause}\n       fix   {}", cause.code, typed(cause.fix.clone()));
        }
    }
}

fn pod_text(pod: &PodStatus, now: jiff::Timestamp) -> String {
    let node = pod.node.as_deref().unwrap_or("no node");
    let gpus = if pod.gpus > 0 { format!("  {} GPU", pod.gpus) } else { String::new() };
    let restarts = match pod.restarts {
        0 => String::new(),
        1 => "  1 restart".into(),
        many => format!("  {many} restarts"),
    };
    format!("{}  {node}{gpus}  {}  {}{restarts}", pod.name, pod.status_text, age(&pod.created, now))
}

fn write_cache(text: &mut String, view: &StatusView, now: jiff::Timestamp) {
    let Some(name) = &view.summary.pvc else { return };
    let _ = write!(text, "  cache     pvc/{name}");
    let pvc = view.snapshot.evidence.pvcs.iter().find(|pvc| pvc.name() == name);
    if let Some(pvc) = pvc {
        let facts = pvc_facts(pvc);
        let modes: Vec<String> = facts.access_modes.split(',').map(short_access_mode).collect();
        let size = pvc.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
        let size = size.map(|size| size.0.as_str()).unwrap_or_default();
        let _ = write!(text, "  {} {}  {size}", facts.phase, modes.join(","));
    }
    if let Some(fetch) = &view.fetch {
        let size = fetch.size.map(|(bytes, files)| format!("{}, {files} files ", units::bytes(bytes)));
        let _ = write!(
            text,
            "  {}complete, verified {} ago",
            size.unwrap_or_default(),
            age(&fetch.completed_at, now)
        );
    }
    text.push('\n');
}

/// Shortens an access mode as kubectl does.
fn short_access_mode(mode: &str) -> String {
    match mode {
        "ReadWriteOncePod" => "RWOP".into(),
        "ReadWriteMany" => "RWX".into(),
        "ReadOnlyMany" => "ROX".into(),
        other => other.chars().filter(char::is_ascii_uppercase).collect(),
    }
}

fn endpoint_note(view: &StatusView) -> String {
    match &view.verdict {
        StatusSummary::Up { .. } => String::new(),
        _ if view.components.iter().any(|one| one.ready > 0)
            && view.summary.mode == TopologyMode::Disaggregated =>
        {
            "   no model listed: disaggregated serving needs prefill and decode".into()
        }
        _ => "   not serving yet".into(),
    }
}

fn write_details(text: &mut String, view: &StatusView, now: jiff::Timestamp) {
    text.push_str(&render_chain(&view.diagnosis.chain));
    let events = &view.snapshot.evidence.events;
    for event in &events[events.len().saturating_sub(MAX_EVENTS)..] {
        let as_text = |text: &Option<String>| text.as_deref().unwrap_or_default().trim().replace('\n', " ");
        let last = event_time(event).map(|time| age(&time.to_string(), now)).unwrap_or_default();
        let object = as_text(&event.involved_object.name);
        let _ = writeln!(
            text,
            "  event     {last:>4}  {}  {object}  {}",
            as_text(&event.reason),
            as_text(&event.message)
        );
    }
}

/// Renders a chain of objects as a tree, each object below its owner.
pub(crate) fn render_chain(chain: &[ChainStep]) -> String {
    let mut text = String::new();
    for (depth, link) in chain.iter().enumerate() {
        let branch = if depth == 0 { String::new() } else { format!("{}└─ ", "   ".repeat(depth - 1)) };
        let ChainStep { kind, name, detail } = link;
        let _ = match kind.as_str() {
            "log" => writeln!(text, "  {branch}log      {detail}"),
            "container" => writeln!(text, "  {branch}container {name}  {detail}"),
            kind => writeln!(text, "  {branch}{kind}/{name}  {detail}"),
        };
    }
    text
}

pub(crate) fn document(view: &StatusView) -> Value {
    let status_text = view.verdict_word();
    let (models, waits_for) = match &view.verdict {
        StatusSummary::Up { models } => (models.clone(), None),
        StatusSummary::Progressing { waits_for, .. } | StatusSummary::Deleting { waits_for } => {
            (vec![], Some(redact(waits_for)))
        }
        StatusSummary::Down { .. } => (vec![], None),
    };
    let components: Vec<Value> = view
        .components
        .iter()
        .map(|component| {
            let pods: Vec<Value> = component.pods.iter().map(|pod| json!({
                "name": pod.name, "node": pod.node, "ready": pod.ready, "status": pod.status_text,
                "restarts": pod.restarts, "gpus": pod.gpus, "problem": pod.problem.as_ref().map(ToString::to_string),
            })).collect();
            json!({ "name": component.name, "ready": component.ready, "desired": component.desired, "pods": pods })
        })
        .collect();
    let cause = view.verdict.cause();
    let fetch = view.fetch.as_ref().map(|fetch| {
        json!({ "verifiedAt": fetch.completed_at, "bytes": fetch.size.map(|size| size.0), "files": fetch.size.map(|size| size.1) })
    });
    let summary = &view.summary;
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Status",
        "name": summary.name, "namespace": summary.namespace, "verdict": status_text,
        "waitsFor": waits_for, "text": cause.map(|cause| redact(&cause.to_string())),
        "code": cause.and_then(Explain::code), "hint": cause.map(|cause| redact(&typed(cause.fix.clone()))), "models": models,
        "model": summary.model, "mode": summary.mode.as_str(), "release": summary.release,
        "components": components, "pvc": summary.pvc, "fetched": fetch,
        "endpoint": summary.in_cluster_url(), "requests": view.requests.as_ref().map(numbers::requests_json),
        "skipped": view.skipped,
    })
}
