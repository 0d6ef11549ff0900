//! `status`: one screen that answers "is it fine?" in its first line.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use super::frontend::{self, Sought};
use super::summary::{Summary, age, summary};
use super::{Context, endpoint, list, print_data, words};
use crate::cluster::{Cluster, Kind, Platform};
use crate::error::{Exit, Explain, Result};
use crate::intent::Word;
use crate::readiness::{
    ComponentStanding, GRAPH_LABEL, Observation, PodStanding, Standing, components, standing,
};
use crate::resources::GraphApi;

/// Show whether a deployment is fine, and why not
#[derive(Args)]
pub(super) struct StatusArgs {
    /// Name of the deployment; all of the namespace when absent
    pub name: Option<String>,
    /// The deployment is one of this machine
    #[arg(long)]
    pub local: bool,
    /// Output format
    #[arg(short, long, value_parser = words::<StatusFormat>(), default_value = "text")]
    pub output: StatusFormat,
}

/// How a status is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StatusFormat {
    Text,
    Json,
}

impl Word for StatusFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// The answer to "is it fine?".
enum Verdict {
    Up { models: Vec<String> },
    ComingUp { waits_for: String },
    Down { why: String, code: Option<&'static str>, hint: Option<String> },
}

impl Verdict {
    fn word(&self) -> &'static str {
        match self {
            Self::Up { .. } => "UP",
            Self::ComingUp { .. } => "COMING UP",
            Self::Down { .. } => "DOWN",
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Up { .. } => Exit::Ok,
            Self::ComingUp { .. } => Exit::NotReadyInTime,
            Self::Down { .. } => Exit::Failed,
        }
    }
}

pub(super) async fn run(args: StatusArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::status(args.name.as_deref(), args.output, context).await;
    }
    let Some(name) = &args.name else {
        let output = match args.output {
            StatusFormat::Text => list::ListFormat::Table,
            StatusFormat::Json => list::ListFormat::Json,
        };
        return list::run(list::ListArgs { selector: String::new(), output, local: false }, context).await;
    };
    let Sought { cluster, platform, graph } = frontend::look(name, context).await?;
    let Some(graph) = graph else { return fetching(name, &cluster, &platform).await };
    let of_graph = format!("{GRAPH_LABEL}={name}");
    let deployments = cluster.list(Kind::ComponentDeployment(platform.graph_api), &of_graph, false).await;
    let deployments = match (deployments, platform.graph_api) {
        (Ok(deployments), _) => deployments,
        // Only a v1alpha1 status needs them, to tell which spec it belongs to.
        (Err(_), GraphApi::V1Beta1) => Vec::new(),
        (Err(error), GraphApi::V1Alpha1) => return Err(error.into()),
    };
    let seen = Observation {
        pods: cluster.list(Kind::Pod, &of_graph, false).await?,
        components: deployments,
        graph: Some(graph.clone()),
        ..Observation::default()
    };
    let verdict = verdict(&cluster, name, &seen).await;
    let summary = summary(&graph);
    let components = components(&graph, &seen.pods);
    print_data(&match args.output {
        StatusFormat::Text => screen(&summary, &verdict, &components),
        StatusFormat::Json => format!("{:#}\n", document(&summary, &verdict, &components)),
    })?;
    Ok(verdict.exit())
}

async fn verdict(cluster: &Cluster, name: &str, seen: &Observation) -> Verdict {
    match standing(seen) {
        Standing::Reported => match endpoint::models(cluster, name).await {
            Ok(models) if !models.is_empty() => Verdict::Up { models },
            Ok(_) => Verdict::Down {
                why: "everything reports ready and no model is listed".into(),
                code: Some("KD0702"),
                hint: Some(format!(
                    "see what the workers say: kubectl dynamo logs {name} -n {}",
                    cluster.namespace
                )),
            },
            Err(error) => Verdict::Down { why: error.to_string(), code: error.code(), hint: error.hint() },
        },
        Standing::Absent => Verdict::ComingUp { waits_for: "the deployment itself".into() },
        Standing::Waiting { waits_for } => Verdict::ComingUp { waits_for },
        Standing::Troubled { trouble } if trouble.may_heal() => {
            Verdict::ComingUp { waits_for: format!("{trouble} ({})", trouble.code().unwrap_or_default()) }
        }
        Standing::Troubled { trouble } => {
            Verdict::Down { why: trouble.to_string(), code: trouble.code(), hint: trouble.hint() }
        }
    }
}

/// A deployment that is not created yet may have its model on the way: then that is its status.
async fn fetching(name: &str, cluster: &Cluster, platform: &Platform) -> Result<Exit> {
    let jobs = frontend::fetch_jobs(cluster, name).await?;
    let Some(job) = jobs.last() else { return Err(frontend::absent(cluster, platform, name).into()) };
    let job_name = job["metadata"]["name"].as_str().unwrap_or_default();
    let state = match (job["status"]["succeeded"].as_u64(), job["status"]["active"].as_u64()) {
        (Some(_), _) => "complete",
        (None, Some(_)) => "running",
        (None, None) => "not running",
    };
    print_data(&format!(
        "{name} is not created yet: its model fetch job/{job_name} is {state}\n  continue  run the same `kubectl dynamo up` again\n"
    ))?;
    Ok(Exit::NotReadyInTime)
}

fn screen(summary: &Summary, verdict: &Verdict, components: &[ComponentStanding]) -> String {
    let name = &summary.name;
    let mut text = match verdict {
        Verdict::Up { models } => format!("✔ UP  {name} serves {}\n", models.join(", ")),
        Verdict::ComingUp { waits_for } => format!("… COMING UP  {name} waits for {waits_for}\n"),
        Verdict::Down { why, code, hint } => {
            let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
            let hint = hint.as_ref().map(|hint| format!("  fix       {hint}\n")).unwrap_or_default();
            format!("✗ DOWN  {name}: {why}{code}\n{hint}")
        }
    };
    let Summary { model, mode, router, backend, release, .. } = summary;
    let _ = writeln!(text, "  model     {model}   {mode} · {router} router · {backend} · Dynamo {release}");
    let now = jiff::Timestamp::now();
    for component in components {
        let mark = if component.ready >= component.wanted { "✔" } else { "…" };
        let _ = writeln!(text, "  {:<9} {}/{} {mark}", component.name, component.ready, component.wanted);
        for pod in &component.pods {
            let _ = writeln!(text, "  └ {}", pod_line(pod, now));
        }
    }
    if let Some(claim) = &summary.claim {
        let _ = writeln!(text, "  cache     pvc/{claim}");
    }
    let _ = writeln!(text, "  endpoint  {}", summary.in_cluster_url());
    text
}

fn pod_line(pod: &PodStanding, now: jiff::Timestamp) -> String {
    let node = pod.node.as_deref().unwrap_or("no node");
    let gpus = if pod.gpus > 0 { format!("  {} GPU", pod.gpus) } else { String::new() };
    let doing = pod.trouble.as_ref().map_or_else(|| pod.doing.clone(), ToString::to_string);
    format!("{}  {node}{gpus}  {doing}  {}  {} restarts", pod.name, age(&pod.created, now), pod.restarts)
}

fn document(summary: &Summary, verdict: &Verdict, components: &[ComponentStanding]) -> Value {
    let (models, waits_for, why, code) = match verdict {
        Verdict::Up { models } => (models.clone(), None, None, None),
        Verdict::ComingUp { waits_for } => (vec![], Some(waits_for), None, None),
        Verdict::Down { why, code, .. } => (vec![], None, Some(why), *code),
    };
    let components: Vec<Value> = components
        .iter()
        .map(|component| {
            let pods: Vec<Value> = component.pods.iter().map(|pod| json!({
                "name": pod.name, "node": pod.node, "ready": pod.ready, "doing": pod.doing,
                "restarts": pod.restarts, "gpus": pod.gpus, "trouble": pod.trouble.as_ref().map(ToString::to_string),
            })).collect();
            json!({ "name": component.name, "ready": component.ready, "wanted": component.wanted, "pods": pods })
        })
        .collect();
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Status",
        "name": summary.name, "namespace": summary.namespace, "verdict": verdict.word(),
        "waitsFor": waits_for, "why": why, "code": code, "models": models,
        "model": summary.model, "mode": summary.mode, "release": summary.release,
        "components": components, "endpoint": summary.in_cluster_url(),
    })
}
