//! `bench compare`: compares two runs of the same workload.

use clap::Args;
use serde_json::json;

use super::StoreArgs;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TableFormat, print_data, print_styled};
use crate::render::bench_comparison as screen;
use crate::workflow::bench::{BenchError, BenchRuns};
use kubectl_dynamo_core::bench::{BenchComparison, LimitError, RegressionLimit};
use kubectl_dynamo_core::error::{Exit, Result};

/// Compare two benchmark runs of the same workload
///
/// Prints the second value divided by the first for each metric and level. With --runs 3 or more in both runs, it also
/// prints the 95 % interval, and whether the repeats show a difference.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct BenchCompareArgs {
    /// Name of the first run
    #[arg(value_name = "BEFORE")]
    pub before: String,
    /// Name of the second run
    #[arg(value_name = "AFTER")]
    pub after: String,
    /// Exit with 8 if a ratio exceeds this limit, such as 'ttft_p95>1.10x' (repeatable)
    #[arg(long, value_name = "LIMIT", value_parser = parse_limit)]
    pub fail_if: Vec<RegressionLimit>,
    #[command(flatten)]
    store: StoreArgs,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "table")]
    pub output: PrintFormat<TableFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo bench compare before after
  kubectl dynamo bench compare before after --fail-if 'ttft_p95>1.10x' --fail-if 'requests_per_second<0.95x'";

fn parse_limit(text: &str) -> std::result::Result<RegressionLimit, LimitError> {
    text.parse()
}

pub(super) async fn run(args: &BenchCompareArgs, context: &Context) -> Result<Exit> {
    let runs = BenchRuns::new(args.store.output_dir.as_deref(), context).await?;
    let (before, after) = runs.find_pair(&args.before, &args.after).await?;
    let comparison = BenchComparison::new(&before, &after);
    let document = || {
        json!({
            "apiVersion": "kubectl-dynamo.dev/v1", "kind": "BenchComparison",
            "before": before.name, "after": after.name,
            "changes": comparison.changes, "levels": comparison.levels,
        })
    };
    match &args.output {
        PrintFormat::Own(TableFormat::Table) => {
            print_styled(&screen::screen(&before, &after, &comparison))?;
        }
        PrintFormat::Document(format) => print_data(&format.text(&document())?)?,
    }
    for run in [&before, &after].into_iter().filter(|run| !run.verdict.is_good) {
        context.report.warn(
            None,
            format!("the numbers of benchmark run \"{}\" cannot be trusted", run.name),
            None,
        );
    }
    for limit in &args.fail_if {
        if !limit.is_measured(&comparison) {
            return Err(BenchError::LimitNotMeasured { limit: limit.to_string() }.into());
        }
        if let Some((level, ratio)) = limit.exceeded_at(&comparison).first() {
            let (level, limit) = (level.to_string(), limit.to_string());
            return Err(BenchError::LimitExceeded { limit, level, ratio: *ratio }.into());
        }
    }
    Ok(Exit::Ok)
}
