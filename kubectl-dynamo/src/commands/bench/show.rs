//! `bench show`: prints the result of a run in any format.

use clap::Args;

use super::StoreArgs;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{BenchFormat, PrintFormat, print_data, print_styled};
use crate::render::{bench as screen, bench_html};
use crate::typed_command::typed;
use crate::workflow::bench::{BenchRuns, follow_command};
use kubectl_dynamo_core::bench::BenchStatus;
use kubectl_dynamo_core::error::{Exit, Result};

/// Show the result of a benchmark run
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct BenchShowArgs {
    /// Name of the run
    #[arg(value_name = "RUN")]
    pub name: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<BenchFormat>(), default_value = "table")]
    pub output: PrintFormat<BenchFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo bench show tiny-check-1
  kubectl dynamo bench show tiny-sweep-1 -o csv > sweep.csv
  kubectl dynamo bench show tiny-sweep-1 -o html > sweep.html
  kubectl dynamo bench show tiny-sweep-1 -o jsonpath='{.verdict.isGood}'";

pub(super) async fn run(args: &BenchShowArgs, context: &Context) -> Result<Exit> {
    let runs = BenchRuns::new(args.store.output_dir.as_deref(), context).await?;
    let run = runs.find(&args.name).await?;
    if let Some(namespace) = run.namespace_of_job() {
        let state = if run.status == BenchStatus::Running { "is running" } else { "has ended" };
        let follow = follow_command(&run.name, namespace);
        context.report.info(typed(follow.after(format!("its Job {state}; store the results: "))));
    }
    match &args.output {
        PrintFormat::Own(BenchFormat::Table) => print_styled(&screen::screen(&run))?,
        PrintFormat::Own(BenchFormat::Csv) => print_data(&screen::csv(&run))?,
        PrintFormat::Own(BenchFormat::Md) => print_data(&screen::markdown(&run))?,
        PrintFormat::Own(BenchFormat::Html) => print_data(&bench_html::page(&run))?,
        PrintFormat::Document(format) => {
            print_data(&format.text(&serde_json::to_value(&run).unwrap_or_default())?)?;
        }
    }
    Ok(Exit::Ok)
}
