//! `test`: sends requests to a deployment and reports whether it does what it is configured to do.

use std::time::Duration;

use clap::Args;

use super::output_flag::output_parser;
use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::kube_flags;
use crate::output::{FindingsFormat, PrintFormat, print_data, print_styled};
use crate::render::{junit, probes as screen};
use crate::settings;
use crate::workflow::probes::{ProbeOptions, ProbeTarget, TargetName, run_probes};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::probe::Probe;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TestArgs {
    /// Name of the deployment
    #[arg(required_unless_present_any = ["local", "url"], conflicts_with = "url")]
    pub name: Option<String>,
    /// Test a local deployment
    #[arg(long, conflicts_with = "url")]
    pub local: bool,
    /// Base URL of an OpenAI-compatible server, ending in /v1
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Environment variable with the API key for --url
    #[arg(long, value_name = "NAME", requires = "url")]
    pub api_key_env: Option<String>,
    /// Model to use if the server lists several
    #[arg(short, long)]
    pub model: Option<String>,
    /// Run only these probes (comma-separated)
    #[arg(long, value_name = "PROBE", value_delimiter = ',', value_parser = enum_value_parser::<Probe>())]
    pub only: Vec<Probe>,
    /// Do not run these probes (comma-separated)
    #[arg(long, value_name = "PROBE", value_delimiter = ',', value_parser = enum_value_parser::<Probe>())]
    pub skip: Vec<Probe>,
    /// Maximum time of one request, such as 90s or 2m
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<FindingsFormat>(), default_value = "table")]
    pub output: PrintFormat<FindingsFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo test qwen32
  kubectl dynamo test tiny --local
  kubectl dynamo test qwen32 --only models,chat -o junit > test.xml
  kubectl dynamo test --url http://127.0.0.1:8000/v1";

pub(super) async fn run(args: TestArgs, context: &Context) -> Result<Exit> {
    let name = match args.url {
        Some(url) => {
            TargetName::Url { url, key: args.api_key_env.as_deref().map(settings::api_key).transpose()? }
        }
        None if args.local => TargetName::Local(args.name),
        None => TargetName::Cluster(args.name.unwrap_or_default()),
    };
    let target = ProbeTarget::find(&name, args.model.as_deref(), context).await?;
    let options = ProbeOptions { only: args.only, skip: args.skip, timeout: args.timeout };
    let report = run_probes(&target, &options, &context.report).await;
    // Removes the waiting line from a terminal.
    context.report.summary(Vec::new());
    match args.output {
        PrintFormat::Own(FindingsFormat::Table) => print_styled(&screen::screen(&report))?,
        PrintFormat::Own(FindingsFormat::Junit) => {
            print_data(&junit::document("test", &report.findings)?)?;
        }
        PrintFormat::Document(format) => print_data(&format.text(&screen::document(&report))?)?,
    }
    Ok(report.exit())
}
