//! `rollout status`: waits until the operator reports the current spec as ready, like `kubectl rollout
//! status`.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::error::RevisionError;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::kube_flags;
use crate::output::{PrintFormat, TextFormat, print_data};
use crate::render::rollout_status;
use crate::workflow::interrupt::RolloutPhase;
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::rollout::{FinalTest, RolloutWait, WaitOptions};
use crate::workflow::wait_ready::RolloutTarget;
use kubectl_dynamo_cluster::{Cluster, Kind};
use kubectl_dynamo_core::change::revision::number;
use kubectl_dynamo_core::diagnosis::{DiagnosisResult, Snapshot, diagnose};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::readiness::{GRAPH_LABEL, Observation};
use kubectl_dynamo_core::resources::GraphApi;

/// Show the status of the rollout and wait until it completes
#[derive(Args)]
pub(super) struct RolloutStatusArgs {
    /// Name of the deployment
    pub name: String,
    /// Watch the rollout until it completes (--watch=false prints the current status)
    #[arg(short, long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub watch: bool,
    /// Fail if this is not the current revision
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub revision: Option<i64>,
    /// Maximum time to wait, such as 90s or 30m
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
}

pub(super) async fn run(args: RolloutStatusArgs, context: &Context) -> Result<Exit> {
    let ClusterDeployment { cluster, platform, graph } = lookup::get_deployment(&args.name, context).await?;
    let current = number(&graph);
    if let Some(requested) = args.revision.filter(|asked| Some(*asked) != current) {
        let current = current.map_or_else(|| "(unknown)".into(), |number| number.to_string());
        return Err(RevisionError::RevisionMismatch { name: args.name, current, requested }.into());
    }
    let target = RolloutTarget::from_graph(&graph, platform.graph_api);
    let name = &args.name;
    if !args.watch {
        let result = current_result(&cluster, &target, graph).await?;
        print_data(&rollout_status::text(name, current, &cluster.namespace, &result, &args.output)?)?;
        return Ok(rollout_status::exit(&result));
    }
    let wait = RolloutWait {
        options: WaitOptions { detach: false, final_test: FinalTest::None, timeout: args.timeout },
        target: &target,
        cluster: &cluster,
        report: &context.report,
    };
    let rollout = wait.until_serving(&graph, BTreeMap::new());
    let exit = wait.with_deadline(rollout, &RolloutPhase::Sent.into()).await?;
    if exit == Exit::Ok {
        let result = DiagnosisResult::Ready;
        print_data(&rollout_status::text(name, current, &cluster.namespace, &result, &args.output)?)?;
    }
    Ok(exit)
}

/// Returns what the rollout waits for, or that it is complete.
async fn current_result(
    cluster: &Cluster,
    target: &RolloutTarget,
    graph: serde_json::Value,
) -> Result<DiagnosisResult> {
    let selector = format!("{GRAPH_LABEL}={}", target.name);
    let (components, pods) = futures::join!(
        cluster.list(Kind::ComponentDeployment(target.graph_api), &selector),
        cluster.list_objects(&selector),
    );
    let observation = Observation {
        graph: Some(graph),
        components: match target.graph_api {
            // Without them, a graph of 0.9.1 never counts as ready.
            GraphApi::V1Alpha1 => components?,
            GraphApi::V1Beta1 => components.unwrap_or_default(),
        },
        pods: pods.unwrap_or_default(),
        ..Observation::default()
    };
    Ok(diagnose(&Snapshot { observation, ..Snapshot::default() }).result)
}
