//! `bench show`: prints the result of a run in any format.

use clap::Args;

use super::StoreArgs;
use crate::commands::output_flag::output_parser;
use crate::output::{BenchFormat, PrintFormat, print_data, print_styled};
use crate::render::{bench as screen, bench_html};
use crate::workflow::bench::BenchStore;
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

pub(super) fn run(args: &BenchShowArgs) -> Result<Exit> {
    let run = BenchStore::new(args.store.output_dir.as_deref())?.read(&args.name)?;
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
