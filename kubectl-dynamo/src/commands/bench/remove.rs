//! `bench rm`: removes runs with all their files.

use clap::Args;

use super::StoreArgs;
use crate::context::Context;
use crate::output::print_data;
use crate::workflow::bench::BenchRuns;
use crate::workflow::confirm::{self, confirm};
use kubectl_dynamo_core::error::{Exit, Result};

/// Remove benchmark runs with all their files
///
/// Also removes the record of a run in the namespace, and its Job, which stops a run.
#[derive(Args)]
pub(in crate::commands) struct BenchRmArgs {
    /// Names of the runs
    #[arg(value_name = "RUN", required = true)]
    pub names: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn run(args: &BenchRmArgs, context: &Context) -> Result<Exit> {
    let runs = BenchRuns::new(args.store.output_dir.as_deref(), context).await?;
    for name in &args.names {
        runs.find(name).await?;
    }
    if !args.yes {
        confirm::require_interactive()?;
    }
    let question = format!("Remove benchmark runs {}?", args.names.join(", "));
    if !(args.yes || confirm(&question, context)?) {
        context.report.info("nothing was removed");
        return Ok(Exit::Ok);
    }
    for name in &args.names {
        runs.remove(name).await?;
        print_data(&format!("benchmark run \"{name}\" removed\n"))?;
    }
    Ok(Exit::Ok)
}
