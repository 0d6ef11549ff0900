//! `report`: writes a support bundle of a deployment: objects, events, and logs in one archive, as far as the
//! user's permissions allow. It removes recognized secrets and never reads a Secret.

mod archive;

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TextFormat, print_data};
use crate::report::units;
use crate::workflow::lookup::{self, DeploymentLookup};
use crate::workflow::snapshot::{
    BundleFile, DeploymentSnapshot, LogScope, UnlistedKind, bundle_files, gather_fetch, gather_permitted,
    unique_name,
};
use crate::workflow::summary;
use crate::workflow::write_error::WriteError;
use kubectl_dynamo_cluster::{Cluster, FactsRequest, Kind, Platform};
use kubectl_dynamo_core::diagnosis::{Diagnosis, diagnose};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::preflight::Fact;
use kubectl_dynamo_core::resources::object_at;

#[derive(Args)]
pub(super) struct ReportArgs {
    /// Name of the deployment
    pub name: String,
    /// Path of the gzipped tar archive (default: dynamo-report-….tar.gz in the current folder)
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Output format; text prints the path
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
}

pub(super) async fn run(args: ReportArgs, context: &Context) -> Result<Exit> {
    let DeploymentLookup { cluster, platform, graph } = lookup::find_deployment(&args.name, context).await?;
    let facts_request = FactsRequest { kubernetes: true, ..FactsRequest::default() };
    let (snapshot, kubernetes) =
        tokio::join!(collect(&cluster, &platform, graph, &args.name), cluster.collect_facts(&facts_request));
    let snapshot = snapshot?;
    let kubernetes = match kubernetes?.kubernetes {
        Fact::Known((major, minor)) => Some(format!("{major}.{minor}")),
        Fact::Unavailable(_) | Fact::NotQueried => None,
    };
    // Without the objects that decide the verdict, a diagnosis would be a guess.
    let diagnosis = snapshot.position_of_required_kind().is_none().then(|| diagnose(&snapshot.evidence));
    let mut files = bundle_files(&snapshot, diagnosis.as_ref());
    let mut metadata = ReportSubject {
        snapshot: &snapshot,
        diagnosis: diagnosis.as_ref(),
        cluster: &cluster,
        platform: &platform,
        name: &args.name,
        kubernetes,
    }
    .metadata();
    files.insert(0, BundleFile { name: "report.json".into(), text: format!("{metadata:#}\n") });
    let folder = format!("dynamo-report-{}", unique_name(&cluster.namespace, &args.name));
    let path = args.file.unwrap_or_else(|| format!("{folder}.tar.gz").into());
    archive::write(&path, &folder, &files).map_err(WriteError::for_path(&path))?;
    let size: u64 = files.iter().map(|file| file.text.len() as u64).sum();
    context.report.info(format!(
        "{} files, {}; recognized secrets are removed",
        files.len(),
        units::bytes(size)
    ));
    context.report.info("review the archive before you share it: logs may contain prompts");
    object_at(&mut metadata, &[]).extend([
        ("file".into(), path.display().to_string().into()),
        ("files".into(), files.len().into()),
        ("bytes".into(), size.into()),
    ]);
    print_data(&args.output.text(|| metadata, |TextFormat::Text| format!("{}\n", path.display()))?)?;
    Ok(Exit::Ok)
}

/// Collects the graph, all objects below it, and the fetch of its model.
async fn collect(
    cluster: &Cluster,
    platform: &Platform,
    graph: Option<Value>,
    name: &str,
) -> Result<DeploymentSnapshot> {
    let fetch = gather_fetch(cluster, name, LogScope::Bundle);
    let Some(graph) = graph else {
        return match fetch.await? {
            snapshot if snapshot.jobs.is_empty() => Err(lookup::not_found(cluster, platform, name).into()),
            snapshot => Ok(snapshot),
        };
    };
    let snapshot = gather_permitted(cluster, graph, platform.graph_api, LogScope::Bundle);
    let (mut snapshot, fetch) = tokio::join!(snapshot, fetch);
    match fetch {
        Ok(fetch) => snapshot.merge(fetch),
        Err(error) => snapshot.unlisted.push(UnlistedKind { kind: Kind::Job, error }),
    }
    Ok(snapshot)
}

/// What a report is about.
struct ReportSubject<'a> {
    snapshot: &'a DeploymentSnapshot,
    diagnosis: Option<&'a Diagnosis>,
    cluster: &'a Cluster,
    platform: &'a Platform,
    name: &'a str,
    /// Version of the API server, if known.
    kubernetes: Option<String>,
}

impl ReportSubject<'_> {
    fn metadata(&self) -> Value {
        let Self { snapshot, diagnosis, cluster, platform, name, kubernetes } = self;

        let graph = snapshot.evidence.observation.graph.as_ref();
        let cause = diagnosis.and_then(|diagnosis| diagnosis.result.cause());
        let unlisted: Vec<String> = snapshot.unlisted.iter().map(|one| one.error.to_string()).collect();
        json!({
            "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Report",
            "name": name, "namespace": cluster.namespace,
            "created": jiff::Timestamp::now().to_string(),
            "plugin": env!("CARGO_PKG_VERSION"),
            "kubernetes": kubernetes,
            "graphApi": platform.graph_api.as_str(),
            "dynamo": graph.map(|graph| summary::summarize(graph).release),
            "grove": platform.grove, "leaderWorkerSets": platform.leader_worker_sets,
            "code": cause.map(|cause| cause.code),
            "unseen": unlisted,
        })
    }
}
