//! The screen of `status`: the verdict, the tree of components and pods, the cache, the endpoint; and the same as
//! one JSON object.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Verdict;
use super::look::View;
use crate::commands::evidence::event_time;
use crate::commands::summary::{Summary, age};
use crate::diagnosis::{Cause, Link, redacted};
use crate::error::Explain;
use crate::readiness::{ComponentStanding, PodStanding};
use crate::report::units;

/// How many events `--details` shows.
const EVENTS: usize = 12;

pub(super) fn screen(view: &View, details: bool) -> String {
    let now = jiff::Timestamp::now();
    let mut text = first_line(view, now);
    let Summary { model, mode, router, backend, release, .. } = &view.summary;
    let _ = writeln!(text, "  model     {model}   {mode} · {router} router · {backend} · Dynamo {release}");
    let cause = view.verdict.cause();
    for component in &view.components {
        write_component(&mut text, component, cause, now);
    }
    let of_pod = |cause: &&Cause| {
        let mut pods = view.components.iter().flat_map(|one| &one.pods);
        pods.any(|pod| cause.place == format!("pod {}", pod.name))
    };
    if let Some(cause) = cause.filter(|cause| !of_pod(cause)) {
        let _ = writeln!(text, "  cause     {} {cause}\n  fix       {}", cause.code, cause.fix);
    }
    write_cache(&mut text, view, now);
    let _ = writeln!(text, "  endpoint  {}{}", view.summary.in_cluster_url(), endpoint_note(view));
    for what in &view.skipped {
        let _ = writeln!(text, "  skipped   {what}");
    }
    if cause.is_some() {
        let Summary { name, namespace, .. } = &view.summary;
        let _ = writeln!(text, "  more      kubectl dynamo diagnose {name} -n {namespace}");
    }
    if details {
        write_details(&mut text, view, now);
    }
    redacted(&text)
}

fn first_line(view: &View, now: jiff::Timestamp) -> String {
    let name = &view.summary.name;
    match &view.verdict {
        Verdict::Up { models } if models.is_empty() => {
            format!("✔ UP  {name} is reported ready; which models it lists is not seen\n")
        }
        Verdict::Up { models } => format!("✔ UP  {name} serves {}\n", models.join(", ")),
        Verdict::ComingUp { waits_for, cause } => {
            let code = cause.as_ref().map(|cause| format!(" ({})", cause.code)).unwrap_or_default();
            format!("… COMING UP  {name} waits for {waits_for}{code}\n")
        }
        Verdict::Down { cause } => match lacking(&view.components, now) {
            Some((lacks, true)) => format!("! DEGRADED  {name} serves with {lacks} ({})\n", cause.code),
            Some((lacks, false)) => format!("✗ DOWN  {name} answers nothing: {lacks} ({})\n", cause.code),
            None => format!("✗ DOWN  {name}: {cause} ({})\n", cause.code),
        },
    }
}

/// Which component lacks pods, for how long, and whether every one has at least one that is ready.
fn lacking(components: &[ComponentStanding], now: jiff::Timestamp) -> Option<(String, bool)> {
    let lacking = components.iter().filter(|one| one.ready < one.wanted).min_by_key(|one| one.ready)?;
    let waiting = lacking.pods.iter().filter(|pod| !pod.ready).map(|pod| pod.created.as_str()).min();
    let since = waiting.map(|created| format!(" for {}", age(created, now))).unwrap_or_default();
    let words =
        format!("{} of {} {} ready{since}", lacking.ready, lacking.wanted, lacking.name.to_lowercase());
    Some((words, lacking.ready > 0))
}

fn write_component(
    text: &mut String,
    component: &ComponentStanding,
    cause: Option<&Cause>,
    now: jiff::Timestamp,
) {
    let broken = component.pods.iter().any(|pod| pod.trouble.as_ref().is_some_and(|one| !one.may_heal()));
    let mark = match (component.ready >= component.wanted, broken) {
        (true, _) => "✔",
        (false, true) => "✗",
        (false, false) => "…",
    };
    let head =
        format!("  {:<9} {}/{} {mark}", component.name.to_lowercase(), component.ready, component.wanted);
    if let [pod] = component.pods.as_slice()
        && pod.ready
    {
        let _ = writeln!(text, "{head}  {}", pod_words(pod, now));
        return;
    }
    let _ = writeln!(text, "{head}");
    for (index, pod) in component.pods.iter().enumerate() {
        let branch = if index + 1 == component.pods.len() { "└─" } else { "├─" };
        let _ = writeln!(text, "  {branch} {}", pod_words(pod, now));
        if let Some(cause) = cause.filter(|cause| cause.place == format!("pod {}", pod.name)) {
            let _ = writeln!(text, "       {} {cause}\n       fix   {}", cause.code, cause.fix);
        }
    }
}

fn pod_words(pod: &PodStanding, now: jiff::Timestamp) -> String {
    let node = pod.node.as_deref().unwrap_or("no node");
    let gpus = if pod.gpus > 0 { format!("  {} GPU", pod.gpus) } else { String::new() };
    let restarts = match pod.restarts {
        0 => String::new(),
        1 => "  1 restart".into(),
        many => format!("  {many} restarts"),
    };
    format!("{}  {node}{gpus}  {}  {}{restarts}", pod.name, pod.doing, age(&pod.created, now))
}

fn write_cache(text: &mut String, view: &View, now: jiff::Timestamp) {
    let Some(name) = &view.summary.claim else { return };
    let _ = write!(text, "  cache     pvc/{name}");
    let claim = view.gathered.evidence.claims.iter().find(|claim| claim["metadata"]["name"] == name.as_str());
    if let Some(claim) = claim {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let modes: Vec<String> = claim["spec"]["accessModes"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|mode| short(&word(mode)))
            .collect();
        let size = word(&claim["status"]["capacity"]["storage"]);
        let _ = write!(text, "  {} {}  {size}", word(&claim["status"]["phase"]), modes.join(","));
    }
    if let Some(fetched) = &view.fetched {
        let size = fetched.size.map(|(bytes, files)| format!("{}, {files} files ", units::bytes(bytes)));
        let _ =
            write!(text, "  {}complete, verified {} ago", size.unwrap_or_default(), age(&fetched.at, now));
    }
    text.push('\n');
}

/// An access mode as kubectl shortens it.
fn short(mode: &str) -> String {
    match mode {
        "ReadWriteOncePod" => "RWOP".into(),
        "ReadWriteMany" => "RWX".into(),
        "ReadOnlyMany" => "ROX".into(),
        other => other.chars().filter(char::is_ascii_uppercase).collect(),
    }
}

fn endpoint_note(view: &View) -> String {
    match &view.verdict {
        Verdict::Up { .. } => String::new(),
        _ if view.components.iter().any(|one| one.ready > 0) && view.summary.mode == "disagg" => {
            "   no model listed: half a pair serves nothing".into()
        }
        _ => "   answers nothing yet".into(),
    }
}

fn write_details(text: &mut String, view: &View, now: jiff::Timestamp) {
    text.push_str(&tree(&view.diagnosis.chain));
    let events = &view.gathered.evidence.events;
    for event in &events[events.len().saturating_sub(EVENTS)..] {
        let word = |value: &Value| value.as_str().unwrap_or_default().trim().replace('\n', " ");
        let last = event_time(event).map(|time| age(&time.to_string(), now)).unwrap_or_default();
        let about = word(&event["involvedObject"]["name"]);
        let _ = writeln!(
            text,
            "  event     {last:>4}  {}  {about}  {}",
            word(&event["reason"]),
            word(&event["message"])
        );
    }
}

/// A chain of objects, each below the one it belongs to.
pub(in crate::commands) fn tree(chain: &[Link]) -> String {
    let mut text = String::new();
    for (depth, link) in chain.iter().enumerate() {
        let branch = if depth == 0 { String::new() } else { format!("{}└─ ", "   ".repeat(depth - 1)) };
        let Link { kind, name, says } = link;
        let _ = match kind.as_str() {
            "log" => writeln!(text, "  {branch}log      {says}"),
            "container" => writeln!(text, "  {branch}container {name}  {says}"),
            kind => writeln!(text, "  {branch}{kind}/{name}  {says}"),
        };
    }
    text
}

pub(super) fn document(view: &View) -> Value {
    let (word, models, waits_for) = match &view.verdict {
        Verdict::Up { models } => ("UP", models.clone(), None),
        Verdict::ComingUp { waits_for, .. } => ("COMING UP", vec![], Some(redacted(waits_for))),
        Verdict::Down { .. } => ("DOWN", vec![], None),
    };
    let components: Vec<Value> = view
        .components
        .iter()
        .map(|component| {
            let pods: Vec<Value> = component.pods.iter().map(|pod| json!({
                "name": pod.name, "node": pod.node, "ready": pod.ready, "doing": pod.doing,
                "restarts": pod.restarts, "gpus": pod.gpus, "trouble": pod.trouble.as_ref().map(ToString::to_string),
            })).collect();
            json!({ "name": component.name, "ready": component.ready, "wanted": component.wanted, "pods": pods })
        })
        .collect();
    let cause = view.verdict.cause();
    let fetched = view.fetched.as_ref().map(|fetched| {
        json!({ "verifiedAt": fetched.at, "bytes": fetched.size.map(|size| size.0), "files": fetched.size.map(|size| size.1) })
    });
    let summary = &view.summary;
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Status",
        "name": summary.name, "namespace": summary.namespace, "verdict": word,
        "waitsFor": waits_for, "why": cause.map(|cause| redacted(&cause.to_string())),
        "code": cause.and_then(Explain::code), "fix": cause.map(|cause| redacted(&cause.fix)), "models": models,
        "model": summary.model, "mode": summary.mode, "release": summary.release,
        "components": components, "claim": summary.claim, "fetched": fetched,
        "endpoint": summary.in_cluster_url(), "skipped": view.skipped,
    })
}
