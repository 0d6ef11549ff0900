//! Writes a support bundle: objects, events, and logs as files in a folder on this machine.
//! The files must not contain secrets.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Event;
use serde_json::Value;

use crate::file_modes::private_folder;
use crate::workflow::local::environment as local_environment;
use crate::workflow::snapshot::{DeploymentSnapshot, with_kind};
use kubectl_dynamo_core::diagnosis::{Diagnosis, redact, redact_object};
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::object::ObservedObject;
use kubectl_dynamo_core::object::event_time;
use kubectl_dynamo_core::readiness::Observation;

/// The folder of the bundles, in the user's state folder.
const BUNDLE_FOLDER: &str = "evidence";

/// The number of support bundle folders to keep. Older ones are deleted.
const MAX_FOLDERS: usize = 20;

/// A file of a support bundle.
pub(crate) struct BundleFile {
    pub name: String,
    pub text: String,
}

/// Returns the files of a support bundle, without secrets.
pub(crate) fn bundle_files(snapshot: &DeploymentSnapshot, diagnosis: Option<&Diagnosis>) -> Vec<BundleFile> {
    let evidence = &snapshot.evidence;
    let mut files = Vec::new();
    let mut add_file = |name: String, text: String| files.push(BundleFile { name, text });
    let Observation { graph, components, workloads, pods, .. } = &evidence.observation;
    let workloads: Vec<Value> =
        workloads.iter().map(|one| with_kind(one.document().clone(), one.kind())).collect();
    for (name, documents) in [
        ("graph", graph.iter().collect::<Vec<&Value>>()),
        ("components", components.iter().collect()),
        ("workloads", workloads.iter().collect()),
        ("pods", pods.iter().map(ObservedObject::document).collect()),
        ("pvcs", evidence.pvcs.iter().map(ObservedObject::document).collect()),
        ("jobs", snapshot.jobs.iter().map(ObservedObject::document).collect()),
    ] {
        let redacted_objects: Vec<Value> = documents.into_iter().map(redact_object).collect();
        add_file(format!("{name}.json"), format!("{:#}\n", Value::from(redacted_objects)));
    }
    add_file("events.txt".into(), redact(&event_lines(&evidence.events)));
    add_file("diagnosis.txt".into(), redact(&diagnosis_text(snapshot, diagnosis)));
    for log in &evidence.logs {
        let text: String = log.lines.iter().map(|line| redact(line) + "\n").collect();
        add_file(format!("{}.{}.log", log.pod, log.container), text);
    }
    files
}

/// Writes a support bundle to a new folder and returns its path.
pub(crate) fn save(
    snapshot: &DeploymentSnapshot,
    diagnosis: &Diagnosis,
    namespace: &str,
    name: &str,
) -> Result<PathBuf> {
    let all = local_environment::folders()?.state.join(BUNDLE_FOLDER);
    let folder = all.join(unique_name(namespace, name));
    private_folder().recursive(true).create(&folder)?;
    for file in bundle_files(snapshot, Some(diagnosis)) {
        fs::write(folder.join(file.name), file.text)?;
    }
    prune_folders(&all, MAX_FOLDERS);
    Ok(folder)
}

/// Deletes all folders except the newest. A folder that cannot be deleted is ignored, because the new bundle matters
/// more.
fn prune_folders(parent: &Path, max_folders: usize) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let folders = entries.filter_map(|entry| {
        let (metadata, path) = entry.ok().and_then(|entry| Some((entry.metadata().ok()?, entry.path())))?;
        metadata.is_dir().then_some(())?;
        Some((metadata.modified().ok()?, path))
    });
    let mut folders: Vec<_> = folders.collect();
    folders.sort();
    let surplus = folders.len().saturating_sub(max_folders);
    for (_, folder) in folders.drain(..surplus) {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Returns a unique name for a support bundle of a deployment, with the current time.
pub(crate) fn unique_name(namespace: &str, name: &str) -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ");
    format!("{namespace}-{name}-{now}")
}

fn event_lines(events: &[ObservedObject<Event>]) -> String {
    let mut lines = String::new();
    for event in events {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let time = event_time(event).map(|time| time.to_string()).unwrap_or_default();
        let object = &event.involved_object;
        let _ = writeln!(
            lines,
            "{time} {} {} {}/{}: {}",
            text(&event.type_),
            text(&event.reason),
            text(&object.kind),
            text(&object.name),
            text(&event.message)
        );
    }
    lines
}

fn diagnosis_text(snapshot: &DeploymentSnapshot, diagnosis: Option<&Diagnosis>) -> String {
    let chain = diagnosis.iter().flat_map(|diagnosis| &diagnosis.chain);
    let mut lines: Vec<String> =
        chain.map(|link| format!("{} {}: {}", link.kind, link.name, link.detail)).collect();
    if let Some(cause) = diagnosis.and_then(|diagnosis| diagnosis.result.cause()) {
        lines.push(format!("{} {cause}\nfix: {}", cause.code, cause.fix));
    }
    lines.extend(snapshot.unlisted.iter().map(|one| format!("skipped: {}", one.error)));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn prunes_the_oldest_folders() {
        let all = tempfile::tempdir().expect("a temporary folder");
        let oldest = SystemTime::now() - Duration::from_secs(100);
        // The names do not reflect the age, because they begin with the name of the deployment.
        for (age, name) in ["z", "y", "c", "b", "a"].into_iter().enumerate() {
            let folder = all.path().join(name);
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("graph.json"), "{}").expect("a file");
            let file = fs::File::open(&folder).expect("the folder");
            file.set_modified(oldest + Duration::from_secs(age as u64)).expect("its time");
        }
        fs::write(all.path().join("notes.txt"), "mine").expect("a file");
        prune_folders(all.path(), 2);
        let names = fs::read_dir(all.path()).expect("the folder").flatten();
        let mut names: Vec<String> =
            names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        assert_eq!(names, ["a", "b", "notes.txt"]);
    }
}
