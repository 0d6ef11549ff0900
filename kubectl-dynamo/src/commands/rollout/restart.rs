//! `rollout restart`: the operator starts every component's pods anew, one component after another.

use std::cell::Cell;

use clap::Args;
use serde_json::json;

use super::{There, there};
use crate::commands::Context;
use crate::commands::settle::{self, SettleArgs};
use crate::commands::up::deploy::{self, Awaited};
use crate::commands::up::leaving::Stands;
use crate::error::{Exit, Result};
use crate::intent::Word;
use crate::report::Stage;
use crate::resources::Resource;

/// A manager of its own: were the field that of `up`, the next `up` would take it away again.
const MANAGER: &str = "kubectl-dynamo-restart";

/// Start the pods of a deployment anew, one component after another
#[derive(Args)]
pub(super) struct RestartArgs {
    /// Name of the deployment
    pub name: String,
    #[command(flatten)]
    pub settle: SettleArgs,
}

pub(super) async fn run(args: RestartArgs, context: &Context) -> Result<Exit> {
    let There { cluster, platform, graph } = there(&args.name, context).await?;
    // Every release that is supported has this field, in both shapes: it starts a restart when it changes.
    let id = jiff::Timestamp::now().to_string();
    let resource = Resource {
        object: json!({
            "apiVersion": format!("nvidia.com/{}", platform.graph_api.as_str()),
            "kind": "DynamoGraphDeployment",
            "metadata": { "name": args.name, "namespace": cluster.namespace, "uid": graph["metadata"]["uid"] },
            "spec": { "restart": { "id": id } },
        }),
    };
    let awaited = Awaited::graph(&graph, platform.graph_api);
    let stands = Cell::new(Stands::Nothing);
    let story = async {
        let before = deploy::attempts(&cluster, &awaited.name).await;
        stands.set(Stands::Applied);
        let live = cluster.apply_as(MANAGER, &resource, false).await?;
        context.report.done(Stage::Deploy, format!("{resource} restarts, one component after another"));
        settle::serve_again(&awaited, &live, before, &args.settle, &cluster, &context.report).await
    };
    settle::in_time(story, &args.settle, &awaited, &stands, &cluster, context).await
}
