//! The end of an `up` that failed: the chain of causes on the screen, the evidence on this machine, and of a general
//! failure the exact cause. Nothing is deleted.

use std::time::Duration;

use crate::cluster::{Cluster, Kind};
use crate::commands::evidence::{gather, save};
use crate::commands::status::tree;
use crate::commands::up::deploy::Awaited;
use crate::diagnosis::{diagnose, redacted};
use crate::error::{Error, Exit};
use crate::report::Report;

/// How long looking for the cause may take; a cluster that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The codes of troubles as `readiness` names them; a diagnosis may know better.
const GENERAL: [&str; 7] = ["KD0206", "KD0216", "KD0302", "KD0309", "KD0501", "KD0502", "KD0602"];

/// The error, or the cause behind it; on the way the chain is shown and the evidence kept.
pub(in crate::commands) async fn explained(
    error: Error,
    cluster: &Cluster,
    awaited: Option<&Awaited>,
    report: &Report,
) -> Error {
    let Some(awaited) = awaited.filter(|_| is_about_the_deployment(&error)) else { return error };
    let looked = async {
        let graph = cluster.get(Kind::Graph(awaited.graph_api), &awaited.name).await.ok()??;
        gather(cluster, graph, awaited.graph_api).await.ok()
    };
    let Ok(Some(gathered)) = tokio::time::timeout(PATIENCE, looked).await else { return error };
    let diagnosis = diagnose(&gathered.evidence);
    for line in redacted(&tree(&diagnosis.chain)).lines() {
        report.detail(line.trim_start_matches("  ").to_owned());
    }
    match save(&gathered, &diagnosis) {
        Ok(folder) => report.detail(format!("evidence: {}", folder.display())),
        Err(error) => report.warn(error.code(), format!("the evidence is not kept: {error}"), error.hint()),
    }
    match diagnosis.verdict.cause() {
        Some(cause) if error.code().is_some_and(|code| GENERAL.contains(&code)) => Box::new(cause.clone()),
        _ => error,
    }
}

/// Not a flag, a right or a missing platform: those are known without looking at pods.
fn is_about_the_deployment(error: &Error) -> bool {
    match error.exit() {
        _ if error.is_preflight() => false,
        Exit::Usage | Exit::Access | Exit::Platform | Exit::Interrupted => false,
        // Refused before the graph was written, or gone.
        _ => !error.code().is_some_and(|code| ["KD0204", "KD0205", "KD0208", "KD0245"].contains(&code)),
    }
}
