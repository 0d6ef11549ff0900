//! `up`: create or update a deployment, and return when it has answered a real request.

use clap::Args;

use super::serving_flags::ServingFlags;
use super::{Context, local};
use crate::error::{Exit, Result};

/// Serve a model: create or update a deployment and wait until it answers
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UpArgs {
    #[command(flatten)]
    pub serving: ServingFlags,
    /// Serve on this machine, without a cluster; without MODEL a tiny built-in one
    #[arg(long, help_heading = "Flow")]
    pub local: bool,
    /// Do not wait: leave everything running (or coming up) and return
    #[arg(long, help_heading = "Flow")]
    pub detach: bool,
    /// Port of the endpoint on this machine; a free one when absent
    #[arg(long, value_name = "PORT", requires = "local", help_heading = "Flow")]
    pub port: Option<u16>,
    /// Show the logs of every process
    #[arg(long, requires = "local", help_heading = "Flow")]
    pub logs: bool,
    /// Return when everything reports ready, without asking for a completion
    #[arg(long, help_heading = "Flow")]
    pub no_smoke_test: bool,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo up --local                       a tiny model on this machine, no GPU needed
  kubectl dynamo up Qwen/Qwen3-0.6B               on the cluster of the current context
  kubectl dynamo up Qwen/Qwen3-0.6B -- --max-model-len 8192";

pub(super) async fn run(args: UpArgs, context: &Context) -> Result<Exit> {
    local::up(args, context).await
}
