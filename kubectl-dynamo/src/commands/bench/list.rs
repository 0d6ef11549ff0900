//! `bench list`: lists the runs on this machine and in the namespace.

use clap::Args;
use serde_json::json;

use super::StoreArgs;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TableFormat, print_data};
use crate::render::bench as screen;
use crate::workflow::bench::BenchRuns;
use kubectl_dynamo_core::error::{Exit, Result};

/// List benchmark runs, oldest first
///
/// Lists the runs on this machine, and those of the namespace that other machines started.
#[derive(Args)]
pub(in crate::commands) struct BenchListArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "table")]
    pub output: PrintFormat<TableFormat>,
}

pub(super) async fn run(args: &BenchListArgs, context: &Context) -> Result<Exit> {
    let runs = BenchRuns::new(args.store.output_dir.as_deref(), context).await?.list(context).await;
    if runs.is_empty() && !args.output.is_document() {
        context.report.info("no benchmark runs found");
        return Ok(Exit::Ok);
    }
    let document = || json!({ "apiVersion": "kubectl-dynamo.dev/v1", "kind": "BenchRunList", "items": runs });
    print_data(&args.output.text(document, |TableFormat::Table| screen::list(&runs))?)?;
    Ok(Exit::Ok)
}
