//! `bench rm`: removes runs with all their files.

use clap::Args;

use super::StoreArgs;
use crate::context::Context;
use crate::output::print_data;
use crate::workflow::bench::BenchStore;
use crate::workflow::confirm::{self, confirm};
use kubectl_dynamo_core::error::{Exit, Result};

/// Remove benchmark runs with all their files
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

pub(super) fn run(args: &BenchRmArgs, context: &Context) -> Result<Exit> {
    let store = BenchStore::new(args.store.output_dir.as_deref())?;
    for name in &args.names {
        store.existing(name)?;
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
        store.remove(name)?;
        print_data(&format!("benchmark run \"{name}\" removed\n"))?;
    }
    Ok(Exit::Ok)
}
