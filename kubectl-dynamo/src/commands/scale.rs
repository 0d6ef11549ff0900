//! `scale`: other numbers of replicas, and nothing else.
//!
//! It does not render the deployment anew, as `up` does: a newer plugin might render something else as well, and then
//! pods would move that nobody asked about. It applies what was applied last with the numbers changed, in the spec and
//! in the wish that the annotation holds, so that the next `up NAME` finds both as they are. Where a scaling adapter
//! owns a component's replicas the adapter is told, and nothing is written to the graph.

mod adapters;
mod error;
mod wanted;

use std::cell::Cell;

use clap::Args;
use serde_json::Value;

use super::Context;
use super::changes::Answer;
use super::frontend::{self, Sought};
use super::settle::{self, ChangeArgs, Occasion};
use super::up::deploy::Awaited;
use super::up::leaving::Stands;
use crate::change::{applied, component_mut};
use crate::error::{Exit, Result};
use crate::report::Stage;
use crate::resources::{INTENT_ANNOTATION, MANAGER, Resource, stamp};
use error::ScaleError;
use wanted::{Wanted, wanted};

/// Change the replicas of a deployment, and nothing else
#[derive(Args)]
pub(super) struct ScaleArgs {
    /// Name of the deployment
    pub name: String,
    /// Replicas of the workers: of prefill and of decode where they are apart
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: Option<u32>,
    /// Replicas of prefill
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub prefill_replicas: Option<u32>,
    /// Replicas of decode
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub decode_replicas: Option<u32>,
    /// Replicas of the frontend
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub frontend_replicas: Option<u32>,
    #[command(flatten)]
    pub change: ChangeArgs,
}

pub(super) async fn run(args: ScaleArgs, context: &Context) -> Result<Exit> {
    let name = &args.name;
    let Sought { cluster, platform, graph } = frontend::look(name, context).await?;
    let Some(graph) = graph else { return Err(frontend::absent(&cluster, &platform, name).into()) };
    let (by_adapter, own): (Vec<Wanted>, Vec<Wanted>) =
        wanted(&args, &graph)?.into_iter().partition(|one| one.has_adapter);
    // Refused before an adapter is told anything.
    let resource = match own.as_slice() {
        [] => None,
        own => Some(scaled(&graph, own, &cluster.namespace)?),
    };
    let (dry_run, settle) = (args.change.only_says(), &args.change.settle);
    for one in &by_adapter {
        adapters::set(&cluster, platform.graph_api, name, one, dry_run).await?;
        context.report.detail(format!("{one}, through its scaling adapter"));
    }
    let awaited = Awaited::graph(&graph, platform.graph_api);
    let told = Cell::new(Stands::Applied);
    if let Some(resource) = resource {
        if !dry_run && !by_adapter.is_empty() {
            let taken = adapters::until_taken_over(&cluster, &awaited, &by_adapter, &context.report);
            let exit = settle::in_time(taken, settle, &awaited, &told, &cluster, context).await?;
            if exit != Exit::Ok {
                return Ok(exit);
            }
        }
        let occasion = Occasion { cause: "scale", answer: Answer::Yes };
        return settle::change(&resource, &occasion, &args.change, &platform, &cluster, context).await;
    }
    if dry_run || settle.detach {
        return Ok(Exit::Ok);
    }
    let story = async {
        adapters::until_taken_over(&cluster, &awaited, &by_adapter, &context.report).await?;
        context.report.done(Stage::Deploy, format!("{name} scales"));
        settle::serve_again(&awaited, &graph, Default::default(), settle, &cluster, &context.report).await
    };
    settle::in_time(story, settle, &awaited, &told, &cluster, context).await
}

/// What was applied last, with other numbers of replicas.
fn scaled(graph: &Value, wanted: &[Wanted], namespace: &str) -> Result<Resource> {
    let name = graph["metadata"]["name"].as_str().unwrap_or_default();
    let Some(mut object) = applied(graph, MANAGER) else {
        return Err(ScaleError::NotOurs { name: name.into(), namespace: namespace.into() }.into());
    };
    for one in wanted {
        if let Some(component) = component_mut(&mut object, &one.component) {
            component["replicas"] = one.to.into();
        }
    }
    if let Some(intent) = wanted::wish(graph, wanted) {
        object["metadata"]["annotations"][INTENT_ANNOTATION] = intent.into();
    }
    stamp(&mut object);
    Ok(Resource { object })
}
