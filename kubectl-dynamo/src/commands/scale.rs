//! `scale`: changes the replica counts of a deployment and nothing else.

use clap::Args;

use super::change_flags::ChangeArgs;
use crate::context::Context;
use crate::workflow::scale::{self, RequestedReplicas};
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(super) struct ScaleArgs {
    /// Name of the deployment
    pub name: String,
    /// Number of workers; in a disaggregated deployment, of prefill and of decode workers each
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: Option<u32>,
    /// Number of prefill workers
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub prefill_replicas: Option<u32>,
    /// Number of decode workers
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub decode_replicas: Option<u32>,
    /// Number of frontends
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub frontend_replicas: Option<u32>,
    #[command(flatten)]
    pub change: ChangeArgs,
}

pub(super) async fn run(args: ScaleArgs, context: &Context) -> Result<Exit> {
    let requested = RequestedReplicas {
        workers: args.replicas,
        prefill: args.prefill_replicas,
        decode: args.decode_replicas,
        frontend: args.frontend_replicas,
    };
    let options = args.change.options()?;
    args.change.print_outcome(&scale::scale(&args.name, &requested, &options, context).await?)
}
