//! The end of an `up` that failed: the chain of causes on the screen, the evidence on this machine, and of a general
//! failure the exact cause. Nothing is deleted.

use std::time::Duration;

use crate::cluster::{Cluster, Kind};
use crate::commands::evidence::{Gathered, Logs, gather, gather_fetch, save};
use crate::commands::status::tree;
use crate::commands::up::deploy::Awaited;
use crate::diagnosis::{Cause, Verdict, diagnose, redacted, unserved};
use crate::error::{Error, Exit, Explain};
use crate::report::Report;

/// How long looking for the cause may take; a cluster that does not answer is not waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// The codes of troubles as `readiness` names them; a diagnosis may know better.
const GENERAL: [&str; 8] = ["KD0206", "KD0216", "KD0302", "KD0309", "KD0501", "KD0502", "KD0602", "KD0702"];

/// The error, or the cause behind it; on the way the chain is shown and the evidence kept.
pub(in crate::commands) async fn explained(
    error: Error,
    cluster: &Cluster,
    awaited: Option<&Awaited>,
    report: &Report,
) -> Error {
    let Some(awaited) = awaited.filter(|_| is_about_the_deployment(&error)) else { return error };
    let looked = tokio::time::timeout(PATIENCE, look(&error, cluster, awaited));
    let Ok(Some(gathered)) = looked.await else { return error };
    let diagnosis = diagnose(&gathered.evidence);
    for line in redacted(&tree(&diagnosis.chain)).lines() {
        report.detail(line.trim_start_matches("  ").to_owned());
    }
    match save(&gathered, &diagnosis, &cluster.namespace, &awaited.name) {
        Ok(folder) => report.detail(format!("evidence: {}", folder.display())),
        Err(error) => report.warn(error.code(), format!("the evidence is not kept: {error}"), error.hint()),
    }
    let cause: Option<Cause> = match diagnosis.verdict {
        Verdict::Reported => unserved(&gathered.evidence),
        verdict => verdict.cause().cloned(),
    };
    match cause {
        Some(cause) if error.code().is_some_and(|code| GENERAL.contains(&code)) => {
            without_secrets(Box::new(cause))
        }
        _ => without_secrets(error),
    }
}

/// An error whose text, a container's last words perhaps, held what looks like a secret.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct WithoutSecrets {
    text: String,
    error: Error,
}

impl Explain for WithoutSecrets {
    fn code(&self) -> Option<&'static str> {
        self.error.code()
    }

    fn hint(&self) -> Option<String> {
        self.error.hint()
    }

    fn exit(&self) -> Exit {
        self.error.exit()
    }
}

fn without_secrets(error: Error) -> Error {
    let said = error.to_string();
    let text = redacted(&said);
    if text == said { error } else { WithoutSecrets { text, error }.into() }
}

/// Everything below the graph, or what there is of the fetch before there is one.
async fn look(error: &Error, cluster: &Cluster, awaited: &Awaited) -> Option<Gathered> {
    let logs = if error.exit() == Exit::SmokeTest { Logs::OfAll } else { Logs::OfWaiting };
    match cluster.get(Kind::Graph(awaited.graph_api), &awaited.name).await.ok()? {
        Some(graph) => gather(cluster, graph, awaited.graph_api, logs).await.ok(),
        None => gather_fetch(cluster, &awaited.name, Logs::OfAll)
            .await
            .ok()
            .filter(|gathered| !gathered.jobs.is_empty()),
    }
}

/// Not a flag, a right or a missing platform: those are known without looking at pods.
fn is_about_the_deployment(error: &Error) -> bool {
    match (error.exit(), error.code()) {
        _ if error.is_preflight() => false,
        // A hub that refuses the model to the fetcher.
        (Exit::Access, Some("KD0410")) => true,
        (Exit::Usage | Exit::Access | Exit::Platform | Exit::Interrupted, _) => false,
        // Refused before the graph was written, or gone.
        (_, code) => !code.is_some_and(|code| ["KD0204", "KD0205", "KD0208", "KD0245"].contains(&code)),
    }
}
