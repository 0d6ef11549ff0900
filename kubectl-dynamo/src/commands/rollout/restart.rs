//! `rollout restart`: sets the restart ID of a graph, so that the operator replaces its pods, one component
//! after another. It changes no other field. The new pods need the same capacity as those of an update, and the same
//! requests can be lost, so it runs the same preflight checks and asks for the same confirmation.

use std::cell::Cell;

use clap::Args;
use serde_json::json;

use crate::commands::change_flags::WaitArgs;
use crate::context::Context;
use crate::report::Stage;
use crate::workflow::confirm_change::{self, Confirmation};
use crate::workflow::interrupt::RolloutPhase;
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::preflight::Preflight;
use crate::workflow::resolve::ResolvedDeployment;
use crate::workflow::rollout::RolloutWait;
use crate::workflow::wait_ready::{self, RolloutTarget};
use kubectl_dynamo_cluster::SendMode;
use kubectl_dynamo_core::change::GraphChange;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::graph::GraphView;
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::resources::Resource;

/// A separate field manager. If `up` owned the field, the next `up` would remove it.
const MANAGER: &str = "kubectl-dynamo-restart";

/// Restart the pods of a deployment, one component after another
#[derive(Args)]
pub(super) struct RestartArgs {
    /// Name of the deployment
    pub name: String,
    #[command(flatten)]
    pub wait_args: WaitArgs,
    /// Preflight check codes to ignore, or "all" (repeatable)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub ignore_preflight: Vec<String>,
    /// Do not ask for confirmation if requests can be lost
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn run(args: RestartArgs, context: &Context) -> Result<Exit> {
    let ClusterDeployment { cluster, platform, graph } = lookup::get_deployment(&args.name, context).await?;
    // All supported releases have this field in both API versions. A new value triggers a restart.
    let id = jiff::Timestamp::now().to_string();
    let resource = Resource {
        object: json!({
            "apiVersion": format!("nvidia.com/{}", platform.graph_api.as_str()),
            "kind": "DynamoGraphDeployment",
            "metadata": { "name": args.name, "namespace": cluster.namespace, "uid": GraphView::new(&graph).uid() },
            "spec": { "restart": { "id": id } },
        }),
    };
    let effect = GraphChange::restart(&graph, confirm_change::rollout_strategy(&platform));
    let live = vec![Resource { object: graph.clone() }];
    let deployment = ResolvedDeployment {
        exists: true,
        ..ResolvedDeployment::from_objects(&args.name, platform.graph_api, live)
    };
    let ignored_codes = &args.ignore_preflight;
    let mut preflight = Preflight::new(&cluster, &platform, &deployment, ignored_codes, &context.report);
    preflight.collect().await?;
    preflight.evaluate()?;
    preflight.evaluate_restart(&effect).await?;
    // A rejection comes before the prompt.
    cluster.apply_as(MANAGER, &resource, SendMode::DryRun).await?;
    let confirmation = Confirmation::from_yes_flag(args.yes);
    if !confirm_change::confirm_effect(&graph, &effect, confirmation, context)? {
        return Ok(Exit::Ok);
    }
    let target = RolloutTarget::from_graph(&graph, platform.graph_api);
    let phase = Cell::new(RolloutPhase::NotSent);
    let wait = RolloutWait {
        options: args.wait_args.options(),
        target: &target,
        cluster: &cluster,
        report: &context.report,
    };
    let rollout = async {
        let restarts_before = wait_ready::restart_counts(&cluster, &target.name).await;
        phase.set(RolloutPhase::Sent);
        let live = cluster.apply_as(MANAGER, &resource, SendMode::Write).await?;
        context.report.done(Stage::Deploy, format!("{resource} restarted, one component after another"));
        wait.until_serving(&live, restarts_before).await
    };
    wait.with_deadline(rollout, &phase).await
}
