//! `report`: one file with what somebody who helps has to see of a deployment: objects, events and logs, without
//! secrets, as far as one may look.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::evidence::{
    Gathered, KeptFile, Logs, Unseen, files, gather_fetch, gather_what_is_allowed, unique_name,
};
use super::frontend::{self, Sought};
use super::unwritable::Unwritable;
use super::{Context, print_data, summary};
use crate::cluster::{Cluster, Kind, Look, Platform};
use crate::diagnosis::{Diagnosis, diagnose};
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::preflight::Fact;
use crate::report::units;

/// Write what somebody who helps has to see into one file: objects, events and logs, without secrets
#[derive(Args)]
pub(super) struct ReportArgs {
    /// Name of the deployment
    pub name: String,
    /// The file, a gzipped tar archive; one of this folder when absent
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

pub(super) async fn run(args: ReportArgs, context: &Context) -> Result<Exit> {
    let Sought { cluster, platform, graph } = frontend::look(&args.name, context).await?;
    let look = Look { kubernetes: true, ..Look::default() };
    let (gathered, kubernetes) =
        tokio::join!(gather(&cluster, &platform, graph, &args.name), cluster.gather(&look));
    let gathered = gathered?;
    let kubernetes = match kubernetes?.kubernetes {
        Fact::Known((major, minor)) => Some(format!("{major}.{minor}")),
        Fact::Hidden(_) | Fact::Unasked => None,
    };
    // Without what decides, a verdict would be a guess.
    let diagnosis = gathered.hides_the_verdict().is_none().then(|| diagnose(&gathered.evidence));
    let mut files = files(&gathered, diagnosis.as_ref());
    let about = about(&gathered, diagnosis.as_ref(), &cluster, &platform, &args.name, kubernetes);
    files.insert(0, KeptFile { name: "report.json".into(), text: format!("{about:#}\n") });
    let folder = format!("dynamo-report-{}", unique_name(&cluster.namespace, &args.name));
    let path = args.file.unwrap_or_else(|| format!("{folder}.tar.gz").into());
    write(&path, &folder, &files).map_err(Unwritable::at(&path))?;
    let size = files.iter().map(|file| file.text.len() as u64).sum();
    context.report.detail(format!(
        "{} files, {}, without secrets that were recognised",
        files.len(),
        units::bytes(size)
    ));
    context.report.detail("look through it before you give it away: prompts may stand in logs");
    print_data(&format!("{}\n", path.display()))?;
    Ok(Exit::Ok)
}

/// The graph with all below it, and the download of its model.
async fn gather(
    cluster: &Cluster,
    platform: &Platform,
    graph: Option<Value>,
    name: &str,
) -> Result<Gathered> {
    let fetch = gather_fetch(cluster, name, Logs::ForReport);
    let Some(graph) = graph else {
        return match fetch.await? {
            gathered if gathered.jobs.is_empty() => Err(frontend::absent(cluster, platform, name).into()),
            gathered => Ok(gathered),
        };
    };
    let all = gather_what_is_allowed(cluster, graph, platform.graph_api, Logs::ForReport);
    let (mut all, fetch) = tokio::join!(all, fetch);
    match fetch {
        Ok(fetch) => all.join(fetch),
        Err(error) => all.unseen.push(Unseen { kind: Kind::Job, error }),
    }
    Ok(all)
}

fn about(
    gathered: &Gathered,
    diagnosis: Option<&Diagnosis>,
    cluster: &Cluster,
    platform: &Platform,
    name: &str,
    kubernetes: Option<String>,
) -> Value {
    let graph = gathered.evidence.seen.graph.as_ref();
    let cause = diagnosis.and_then(|diagnosis| diagnosis.verdict.cause());
    let unseen: Vec<String> = gathered.unseen.iter().map(|one| one.error.to_string()).collect();
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Report",
        "name": name, "namespace": cluster.namespace,
        "created": jiff::Timestamp::now().to_string(),
        "plugin": env!("CARGO_PKG_VERSION"),
        "kubernetes": kubernetes,
        "graphApi": platform.graph_api.as_str(),
        "dynamo": graph.map(|graph| summary::summary(graph).release),
        "grove": platform.grove, "leaderWorkerSets": platform.leader_worker_sets,
        "code": cause.map(|cause| cause.code),
        "unseen": unseen,
    })
}

/// A gzipped archive of one folder, which its owner alone may read.
fn write(path: &Path, folder: &str, files: &[KeptFile]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default();
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(now);
        archive.append_data(&mut header, format!("{folder}/{}", file.name), file.text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.flush()
}
