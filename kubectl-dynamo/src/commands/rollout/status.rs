//! `rollout status`: waits until the operator reports the present spec as ready, as kubectl's does.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::error::RolloutError;
use super::{There, there};
use crate::change::revision::number;
use crate::cluster::{Cluster, Kind};
use crate::commands::settle::{self, SettleArgs};
use crate::commands::up::deploy::Awaited;
use crate::commands::up::leaving::Stands;
use crate::commands::{Context, kube_flags, print_data};
use crate::error::{Exit, Explain, Result};
use crate::readiness::{GRAPH_LABEL, Observation, Standing, standing};

/// Wait until the present revision of a deployment is rolled out
#[derive(Args)]
pub(super) struct StatusArgs {
    /// Name of the deployment
    pub name: String,
    /// Wait until it is over; with --watch=false only say where it stands
    #[arg(short, long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub watch: bool,
    /// Fail unless this is the present revision
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub revision: Option<i64>,
    /// Longest time to wait
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = kube_flags::duration)]
    pub timeout: Duration,
}

pub(super) async fn run(args: StatusArgs, context: &Context) -> Result<Exit> {
    let There { cluster, platform, graph } = there(&args.name, context).await?;
    let present = number(&graph);
    if let Some(asked) = args.revision.filter(|asked| Some(*asked) != present) {
        let present = present.map_or_else(|| "none that is numbered".into(), |number| number.to_string());
        return Err(RolloutError::OtherRevision { name: args.name, present, asked }.into());
    }
    let awaited = Awaited::graph(&graph, platform.graph_api);
    let name = &args.name;
    if !args.watch {
        let (line, exit) = now(&cluster, &awaited, graph).await;
        print_data(&format!("{line}\n"))?;
        return Ok(exit);
    }
    let settle = SettleArgs { wait: true, detach: false, no_smoke_test: true, timeout: args.timeout };
    let story = settle::serve_again(&awaited, &graph, BTreeMap::new(), &settle, &cluster, &context.report);
    let exit = settle::in_time(story, &settle, &awaited, &Stands::Applied.into(), &cluster, context).await?;
    if exit == Exit::Ok {
        print_data(&format!("dynamographdeployment \"{name}\" successfully rolled out\n"))?;
    }
    Ok(exit)
}

/// Where it stands at this moment, in a line.
async fn now(cluster: &Cluster, awaited: &Awaited, graph: serde_json::Value) -> (String, Exit) {
    let (name, of_graph) = (&awaited.name, format!("{GRAPH_LABEL}={}", awaited.name));
    let (components, pods) = futures::join!(
        cluster.list(Kind::ComponentDeployment(awaited.graph_api), &of_graph, false),
        cluster.list(Kind::Pod, &of_graph, false),
    );
    let seen = Observation {
        graph: Some(graph),
        components: components.unwrap_or_default(),
        pods: pods.unwrap_or_default(),
        ..Observation::default()
    };
    match standing(&seen) {
        Standing::Reported => (format!("dynamographdeployment \"{name}\" successfully rolled out"), Exit::Ok),
        Standing::Waiting { waits_for } => (format!("{name} waits for {waits_for}"), Exit::NotReadyInTime),
        Standing::Troubled { trouble } if trouble.may_heal() => {
            (format!("{name} waits: {trouble}"), Exit::NotReadyInTime)
        }
        Standing::Troubled { trouble } => (format!("{name}: {trouble}"), trouble.exit()),
        Standing::Absent => (format!("{name} is gone"), Exit::Failed),
    }
}
