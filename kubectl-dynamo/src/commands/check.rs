//! `check`: runs the preflight checks of `up` as a verb, for the cluster alone or for a plan.

use clap::Args;

use super::output_flag::output_parser;
use crate::context::Context;
use crate::output::{FindingsFormat, PrintFormat, print_data, print_styled};
use crate::render::{check as screen, junit};
use crate::workflow::check;
use crate::workflow::serving_input::ServingInput;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ClusterCheckArgs {
    #[command(flatten)]
    pub serving: ServingInput,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<FindingsFormat>(), default_value = "table")]
    pub output: PrintFormat<FindingsFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo check                                     only the cluster
  kubectl dynamo check Qwen/Qwen3-32B --tp 4 --replicas 2  a new deployment
  kubectl dynamo check qwen32 --decode-replicas 3          a change of a deployment
  kubectl dynamo check -o junit > check.xml";

pub(super) async fn run(args: ClusterCheckArgs, context: &Context) -> Result<Exit> {
    let report = check::check(&args.serving, context).await?;
    // Removes the waiting line from a terminal.
    context.report.summary(Vec::new());
    match args.output {
        PrintFormat::Own(FindingsFormat::Table) => print_styled(&screen::screen(&report))?,
        PrintFormat::Own(FindingsFormat::Junit) => {
            print_data(&junit::document("check", &report.findings)?)?;
        }
        PrintFormat::Document(format) => print_data(&format.text(&screen::document(&report))?)?,
    }
    Ok(report.exit())
}
