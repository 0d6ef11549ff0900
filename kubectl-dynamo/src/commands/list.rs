//! `list`: the deployments of a namespace or of all.

use std::collections::HashMap;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use serde_json::{Value, json};

use super::interruption::unless_left;
use super::status::StatusFormat;
use super::summary::{Stand, Summary, age, stand, summary};
use super::table::table;
use super::{Context, print_data, words};
use crate::cluster::{Cluster, Kind, Reach, Seen, Watched};
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::resources::GraphApi;

/// A burst of changes is shown once.
const SETTLES: Duration = Duration::from_millis(300);

/// List deployments
#[derive(Args)]
#[command(visible_alias = "ls")]
pub(super) struct ListArgs {
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "")]
    pub selector: String,
    /// Those of this machine
    #[arg(long)]
    pub local: bool,
    /// Show it again whenever it changes
    #[arg(short, long, conflicts_with = "local")]
    pub watch: bool,
    /// Output format
    #[arg(short, long, value_parser = words::<ListFormat>(), default_value = "table")]
    pub output: ListFormat,
}

/// How lists are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListFormat {
    Table,
    Wide,
    Name,
    Json,
    Yaml,
}

impl Word for ListFormat {
    const ALL: &'static [Self] = &[Self::Table, Self::Wide, Self::Name, Self::Json, Self::Yaml];

    fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Wide => "wide",
            Self::Name => "name",
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

pub(super) async fn run(args: ListArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::list(args.output, context);
    }
    let cluster = context.cluster().await?;
    let api = cluster.platform().await?.graph_api;
    if !args.watch {
        return print(&args, context, &cluster, api).await;
    }
    unless_left(follow(&args, context, &cluster, api)).await.unwrap_or(Ok(Exit::Interrupted))
}

/// Prints the list again whenever a deployment of it changes, at most once in [`SETTLES`].
async fn follow(args: &ListArgs, context: &Context, cluster: &Cluster, api: GraphApi) -> Result<Exit> {
    let all = if context.kube.all_namespaces { Reach::AllNamespaces } else { Reach::OneNamespace };
    let watched = Watched::labelled(Kind::Graph(api), args.selector.as_str());
    let mut changes = cluster.watch_in(&[watched], all);
    while let Some(change) = changes.next().await {
        match change {
            Seen::Trouble(_, error) if error.may_pass() => continue,
            Seen::Trouble(_, error) => return Err(error.into()),
            _ => {}
        }
        while let Ok(Some(_)) = tokio::time::timeout(SETTLES, changes.next()).await {}
        print(args, context, cluster, api).await?;
    }
    Ok(Exit::Ok)
}

async fn print(args: &ListArgs, context: &Context, cluster: &Cluster, api: GraphApi) -> Result<Exit> {
    let all = context.kube.all_namespaces;
    let graphs = cluster.list(Kind::Graph(api), &args.selector, all).await?;
    if graphs.is_empty() && !matches!(args.output, ListFormat::Json | ListFormat::Yaml) {
        say_none(all, cluster, context);
        return Ok(Exit::Ok);
    }
    let listed = listed(&graphs, cluster, api, all).await?;
    print_data(&match args.output {
        ListFormat::Table => rows(listed, all, false),
        ListFormat::Wide => rows(listed, all, true),
        ListFormat::Name => listed.iter().map(|one| format!("{}\n", one.summary.name)).collect(),
        ListFormat::Json => format!("{:#}\n", document(&listed)),
        ListFormat::Yaml => yaml(&document(&listed)),
    })?;
    Ok(Exit::Ok)
}

/// `status` of a whole namespace: the worst of all first.
pub(super) async fn status(output: StatusFormat, context: &Context) -> Result<Exit> {
    let all = context.kube.all_namespaces;
    let cluster = context.cluster().await?;
    let api = cluster.platform().await?.graph_api;
    let graphs = cluster.list(Kind::Graph(api), "", all).await?;
    let listed = listed(&graphs, &cluster, api, all).await?;
    if listed.is_empty() && output == StatusFormat::Text {
        say_none(all, &cluster, context);
        return Ok(Exit::Ok);
    }
    let of = |stand| -> Vec<&str> {
        let those = listed.iter().filter(|one| one.stand == stand);
        those.map(|one| one.summary.name.as_str()).collect()
    };
    let (failed, coming, count) = (of(Stand::Failed), of(Stand::ComingUp), listed.len());
    let (line, exit) = match (failed.as_slice(), coming.as_slice()) {
        ([], []) => (format!("✔ {count} of {count} are reported ready"), Exit::Ok),
        ([], coming) => {
            let names = coming.join(", ");
            (format!("… {} of {count} come up: {names}", coming.len()), Exit::NotReadyInTime)
        }
        (failed, _) => (format!("✗ {} of {count} failed: {}", failed.len(), failed.join(", ")), Exit::Failed),
    };
    print_data(&match output {
        StatusFormat::Text => format!("{line}\n{}", rows(listed, all, false)),
        StatusFormat::Json => format!("{:#}\n", document(&listed)),
    })?;
    Ok(exit)
}

fn say_none(all_namespaces: bool, cluster: &Cluster, context: &Context) {
    let place =
        if all_namespaces { "any namespace".into() } else { format!("namespace {}", cluster.namespace) };
    context.report.detail(format!("no deployments in {place}"));
}

/// A value as YAML; what came as JSON always goes.
pub(super) fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).expect("a JSON value is a YAML value")
}

/// One deployment of the list.
struct Listed {
    summary: Summary,
    stand: Stand,
}

async fn listed(
    graphs: &[Value],
    cluster: &Cluster,
    api: GraphApi,
    all_namespaces: bool,
) -> Result<Vec<Listed>> {
    let components = component_deployments(cluster, api, all_namespaces).await?;
    let one = |graph: &Value| {
        let own = graph["metadata"]["uid"].as_str().and_then(|uid| components.get(uid));
        let own = own.map(Vec::as_slice).unwrap_or_default();
        Listed { summary: summary(graph), stand: stand(graph, own) }
    };
    Ok(graphs.iter().map(one).collect())
}

/// A status of 0.9.1 does not say which spec it belongs to; the component deployments do. By the graph's uid, so
/// that a list of a thousand graphs looks at each of theirs once.
async fn component_deployments(
    cluster: &Cluster,
    api: GraphApi,
    all_namespaces: bool,
) -> Result<HashMap<String, Vec<Value>>> {
    let mut by_graph: HashMap<String, Vec<Value>> = HashMap::new();
    match api {
        GraphApi::V1Beta1 => {}
        GraphApi::V1Alpha1 => {
            for deployment in cluster.list(Kind::ComponentDeployment(api), "", all_namespaces).await? {
                let owner = deployment["metadata"]["ownerReferences"][0]["uid"].as_str();
                by_graph.entry(owner.unwrap_or_default().to_owned()).or_default().push(deployment);
            }
        }
    }
    Ok(by_graph)
}

fn rows(listed: Vec<Listed>, all_namespaces: bool, wide: bool) -> String {
    let now = jiff::Timestamp::now();
    let mut headings = vec!["NAME", "MODEL", "MODE", "READY", "STATUS", "GPUS", "ROUTER", "AGE"];
    if all_namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.extend(["RELEASE", "BACKEND", "ENDPOINT"]);
    }
    let row = |Listed { summary: one, stand }: Listed| {
        let gpus = one.gpus.map_or_else(|| "-".into(), |gpus| gpus.to_string());
        let (readiness, endpoint) = (one.readiness(), one.in_cluster_url());
        let Summary { name, namespace, model, mode, router, backend, release, created, .. } = one;
        let mut row = vec![name, model, mode, readiness, stand.as_str().into(), gpus, router];
        row.push(age(&created, now));
        if all_namespaces {
            row.insert(0, namespace);
        }
        if wide {
            row.extend([release, backend, endpoint]);
        }
        row
    };
    table(&headings, listed.into_iter().map(row).collect())
}

fn document(listed: &[Listed]) -> Value {
    let items: Vec<Value> = listed
        .iter()
        .map(|Listed { summary: one, stand }| {
            json!({
                "name": one.name, "namespace": one.namespace, "model": one.model, "mode": one.mode,
                "ready": one.ready, "wanted": one.wanted, "status": stand.as_str(), "gpus": one.gpus,
                "router": one.router, "backend": one.backend, "release": one.release,
                "created": one.created, "endpoint": one.in_cluster_url(),
            })
        })
        .collect();
    json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "DeploymentList", "items": items })
}
