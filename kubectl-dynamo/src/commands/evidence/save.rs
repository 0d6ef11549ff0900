//! Evidence as files without secrets: objects, events and logs, and a folder of them on this machine.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use serde_json::Value;

use super::{Gathered, event_time};
use crate::commands::local;
use crate::diagnosis::{Diagnosis, redacted, redacted_object};
use crate::error::Result;

/// Below the user's state folder.
const FOLDER: &str = "evidence";

/// A file of evidence.
pub(in crate::commands) struct KeptFile {
    pub name: String,
    pub text: String,
}

/// Everything as files, without secrets.
pub(in crate::commands) fn files(gathered: &Gathered, diagnosis: Option<&Diagnosis>) -> Vec<KeptFile> {
    let evidence = &gathered.evidence;
    let mut files = Vec::new();
    let mut keep = |name: String, text: String| files.push(KeptFile { name, text });
    for (name, objects) in [
        ("graph", evidence.seen.graph.as_slice()),
        ("components", &evidence.seen.components),
        ("workloads", &evidence.seen.workloads),
        ("pods", &evidence.seen.pods),
        ("claims", &evidence.claims),
        ("jobs", &gathered.jobs),
    ] {
        let clean: Vec<Value> = objects.iter().map(redacted_object).collect();
        keep(format!("{name}.json"), format!("{:#}\n", Value::from(clean)));
    }
    keep("events.txt".into(), redacted(&event_lines(&evidence.events)));
    keep("diagnosis.txt".into(), redacted(&diagnosis_text(gathered, diagnosis)));
    for log in &evidence.logs {
        let text: String = log.lines.iter().map(|line| redacted(line) + "\n").collect();
        keep(format!("{}.{}.log", log.pod, log.container), text);
    }
    files
}

/// Writes everything into a new folder and answers its path.
pub(in crate::commands) fn save(
    gathered: &Gathered,
    diagnosis: &Diagnosis,
    namespace: &str,
    name: &str,
) -> Result<PathBuf> {
    let folder = local::folders()?.state.join(FOLDER).join(unique_name(namespace, name));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    for file in files(gathered, Some(diagnosis)) {
        fs::write(folder.join(file.name), file.text)?;
    }
    Ok(folder)
}

/// A name for what is kept of a deployment now.
pub(in crate::commands) fn unique_name(namespace: &str, name: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
    format!("{namespace}-{name}-{now}")
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

fn diagnosis_text(gathered: &Gathered, diagnosis: Option<&Diagnosis>) -> String {
    let chain = diagnosis.iter().flat_map(|diagnosis| &diagnosis.chain);
    let mut lines: Vec<String> =
        chain.map(|link| format!("{} {}: {}", link.kind, link.name, link.says)).collect();
    if let Some(cause) = diagnosis.and_then(|diagnosis| diagnosis.verdict.cause()) {
        lines.push(format!("{} {cause}\nfix: {}", cause.code, cause.fix));
    }
    lines.extend(gathered.unseen.iter().map(|one| format!("not seen: {}", one.error)));
    lines.join("\n") + "\n"
}
