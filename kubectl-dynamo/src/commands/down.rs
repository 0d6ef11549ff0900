//! `down`: deletes deployments and lists what is retained.

use std::time::Duration;

use clap::Args;

use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::kube_flags;
use crate::workflow::confirm::{self, confirm};
use crate::workflow::down::{self, DeleteCache, DeletionTargets, DownOptions};
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(super) struct DownArgs {
    /// Names of the deployments
    #[arg(required_unless_present_any = ["all", "local", "selector"])]
    pub names: Vec<String>,
    /// Operate on local deployments (default: the only one)
    #[arg(long, conflicts_with_all = ["delete_cache", "wait"])]
    pub local: bool,
    /// Delete all deployments in the namespace that this plugin manages
    #[arg(long, conflicts_with_all = ["names", "selector"])]
    pub all: bool,
    /// Delete the deployments that match this label selector
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with_all = ["names", "local"])]
    pub selector: Option<String>,
    /// Also delete the model's folder, or the PVC with all models (refused while another workload uses it)
    #[arg(long, value_name = "WHAT", value_parser = enum_value_parser::<DeleteCache>())]
    pub delete_cache: Option<DeleteCache>,
    /// Wait until the deployment and its pods are deleted
    #[arg(long)]
    pub wait: bool,
    /// Maximum time for the complete operation
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

impl DownArgs {
    fn targets(&self) -> DeletionTargets {
        match (&self.selector, self.all) {
            (Some(selector), _) => DeletionTargets::Selector(selector.clone()),
            (None, true) => DeletionTargets::AllManaged,
            (None, false) => DeletionTargets::Names(self.names.clone()),
        }
    }
}

pub(super) async fn run(args: DownArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return match args.all {
            true => super::local::down_all(context).await,
            false => super::local::down(&args.names, context).await,
        };
    }
    context.kube.refuse_all_namespaces()?;
    if !args.yes {
        confirm::require_interactive()?;
    }
    let options =
        DownOptions { delete_cache: args.delete_cache, wait_until_deleted: args.wait, timeout: args.timeout };
    let deletion = down::plan(&args.targets(), options, context).await?;
    let question = format!(
        "Delete {}{}?",
        deletion.names.join(", "),
        if args.delete_cache.is_some() { " and the cache" } else { "" }
    );
    if deletion.names.is_empty() || !(args.yes || confirm(&question, context)?) {
        context.report.info("nothing was deleted");
        return Ok(Exit::Ok);
    }
    deletion.run().await?;
    Ok(Exit::Ok)
}
