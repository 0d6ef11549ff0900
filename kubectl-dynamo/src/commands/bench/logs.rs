//! `bench logs`: prints AIPerf's output, or follows a Job until its results are stored.

use clap::Args;

use super::StoreArgs;
use super::run::print_result;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TableFormat, print_data, printable};
use crate::workflow::bench::BenchRuns;
use kubectl_dynamo_core::error::{Exit, Result};

/// Print the output of AIPerf, or follow a run
///
/// With -f, it follows the Job of a run until its results are stored, and prints them. Any machine can follow a run, also
/// after its Job has ended. Ctrl-C does not stop the Job.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct BenchLogsArgs {
    /// Name of the run
    #[arg(value_name = "RUN")]
    pub name: String,
    /// Follow the Job and store its results
    #[arg(short, long)]
    pub follow: bool,
    #[command(flatten)]
    store: StoreArgs,
    /// Output format with -f
    #[arg(short, long, requires = "follow", value_parser = output_parser::<TableFormat>(), default_value = "table")]
    pub output: PrintFormat<TableFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo bench logs tiny-check-1 -n serving
  kubectl dynamo bench logs -f tiny-check-1 -n serving";

pub(super) async fn run(args: &BenchLogsArgs, context: &Context) -> Result<Exit> {
    let runs = BenchRuns::new(args.store.output_dir.as_deref(), context).await?;
    let found = runs.find(&args.name).await?;
    if args.follow && found.namespace_of_job().is_some() {
        return print_result(runs.follow(found, context).await?, &args.output, context);
    }
    if args.follow {
        return print_result(found, &args.output, context);
    }
    for line in runs.output(&found).await? {
        print_data(&format!("{}\n", printable(&line)))?;
    }
    Ok(Exit::Ok)
}
