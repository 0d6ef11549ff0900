//! Evidence of a failure on this machine: objects, events and logs in a folder of their own, without secrets.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Gathered, event_time};
use crate::commands::local;
use crate::diagnosis::{Diagnosis, redacted, redacted_object};
use crate::error::Result;

/// Below the user's state folder.
const FOLDER: &str = "evidence";

/// Writes everything into a new folder and answers its path.
pub(in crate::commands) fn save(
    gathered: &Gathered,
    diagnosis: &Diagnosis,
    namespace: &str,
    name: &str,
) -> Result<PathBuf> {
    let evidence = &gathered.evidence;
    let folder = folder(namespace, name)?;
    for (name, objects) in [
        ("graph", evidence.seen.graph.as_slice()),
        ("components", &evidence.seen.components),
        ("workloads", &evidence.seen.workloads),
        ("pods", &evidence.seen.pods),
        ("claims", &evidence.claims),
        ("jobs", &gathered.jobs),
    ] {
        let clean: Vec<Value> = objects.iter().map(redacted_object).collect();
        write(&folder, &format!("{name}.json"), &format!("{:#}\n", Value::from(clean)))?;
    }
    write(&folder, "events.txt", &redacted(&event_lines(&evidence.events)))?;
    write(&folder, "diagnosis.txt", &redacted(&diagnosis_text(gathered, diagnosis)))?;
    for log in &evidence.logs {
        let text: String = log.lines.iter().map(|line| redacted(line) + "\n").collect();
        write(&folder, &format!("{}.{}.log", log.pod, log.container), &text)?;
    }
    Ok(folder)
}

fn folder(namespace: &str, name: &str) -> Result<PathBuf> {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
    let name = format!("{namespace}-{name}-{now}");
    let folder = local::folders()?.state.join(FOLDER).join(name);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    Ok(folder)
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    Ok(fs::write(folder.join(name), text)?)
}

fn event_lines(events: &[Value]) -> String {
    let mut lines = String::new();
    for event in events {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let time = event_time(event).map(|time| time.to_string()).unwrap_or_default();
        let about = &event["involvedObject"];
        let _ = writeln!(
            lines,
            "{time} {} {} {}/{}: {}",
            text(&event["type"]),
            text(&event["reason"]),
            text(&about["kind"]),
            text(&about["name"]),
            text(&event["message"])
        );
    }
    lines
}

fn diagnosis_text(gathered: &Gathered, diagnosis: &Diagnosis) -> String {
    let mut lines: Vec<String> =
        diagnosis.chain.iter().map(|link| format!("{} {}: {}", link.kind, link.name, link.says)).collect();
    if let Some(cause) = diagnosis.verdict.cause() {
        lines.push(format!("{} {cause}\nfix: {}", cause.code, cause.fix));
    }
    lines.extend(gathered.unseen.iter().map(|what| format!("not seen: {what}")));
    lines.join("\n") + "\n"
}
