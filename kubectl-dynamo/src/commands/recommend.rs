//! `recommend`: predicts the speed of a model on GPUs, and prints the sizes, the command, and the request that serve it.

use clap::{ArgGroup, Args};

use super::gpu_flag::hardware_of;
use super::output_flag::output_parser;
use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::output::{PrintFormat, RecommendFormat, print_data};
use crate::render::recommendation as screen;
use crate::signals::run_until_signal;
use crate::workflow::recommend::{RecommendOptions, recommend};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::recommend::{Latency, PredictionTarget, RecommendObjective, Sizing};

#[derive(Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("load").args(["request_rate", "concurrency"]))]
pub(super) struct RecommendArgs {
    /// Model ID on the hub (ORG/NAME, optionally with @REVISION), or a folder with config.json
    pub model: String,
    /// GPU model, GPUs per node, and number of nodes, or auto for the nodes of the cluster
    #[arg(long, value_name = "NAME[:GPUS[xNODES]]", default_value = "auto")]
    pub gpu: String,
    /// Input tokens of a request
    #[arg(long, value_name = "TOKENS", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    pub isl: u32,
    /// Output tokens of a request
    #[arg(long, value_name = "TOKENS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    pub osl: u32,
    /// Maximum time to the first token, such as 500ms or 2s
    #[arg(long, value_name = "LATENCY", default_value = "2s", value_parser = parse_latency)]
    pub ttft: Latency,
    /// Maximum time between two tokens, such as 30ms
    #[arg(long, value_name = "LATENCY", default_value = "30ms", value_parser = parse_latency)]
    pub itl: Latency,
    /// Requests per second to serve with the fewest GPUs
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub request_rate: Option<f64>,
    /// Requests in flight to serve with the fewest GPUs
    #[arg(long, value_name = "N")]
    pub concurrency: Option<u32>,
    /// What to optimize (default: throughput, or min-gpus with a load)
    #[arg(long, value_parser = enum_value_parser::<RecommendObjective>())]
    pub objective: Option<RecommendObjective>,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<RecommendFormat>(), default_value = "table")]
    pub output: PrintFormat<RecommendFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo recommend Qwen/Qwen3-32B-FP8                              the GPUs of the current cluster
  kubectl dynamo recommend Qwen/Qwen3-32B-FP8 --gpu h200:8 --ttft 500ms --itl 20ms
  kubectl dynamo recommend Qwen/Qwen3-32B-FP8 --gpu h200:8x4 --request-rate 10
  kubectl dynamo recommend ./model --gpu h100:4 --isl 2000 --osl 256 -o command";

/// Parses a value and keeps the hint of its error.
fn parse_latency(text: &str) -> std::result::Result<Latency, kubectl_dynamo_core::recommend::RecommendError> {
    text.parse()
}

pub(super) async fn run(args: RecommendArgs, context: &Context) -> Result<Exit> {
    let load = args.request_rate.map(Sizing::RequestRate).or(args.concurrency.map(Sizing::Concurrency));
    // Contradicting flags are reported before a cluster is contacted.
    Sizing::resolve(args.objective, load, 0)?;
    let hardware = hardware_of(&args.gpu, context).await?;
    let options = RecommendOptions {
        model: args.model,
        sizing: Sizing::resolve(args.objective, load, hardware.gpus())?,
        hardware,
        target: PredictionTarget {
            input_tokens: args.isl,
            output_tokens: args.osl,
            ttft: args.ttft,
            itl: args.itl,
        },
    };
    let Some(found) = run_until_signal(recommend(options, context)).await else {
        return Ok(Exit::Interrupted);
    };
    let found = found?;
    let enough_gpus = found.check_gpus();
    match &args.output {
        PrintFormat::Own(RecommendFormat::Table) => print_data(&screen::table_text(&found)?)?,
        PrintFormat::Own(RecommendFormat::Command) => {
            // A script would run a command that cannot work.
            enough_gpus?;
            print_data(&screen::command_text(&found))?;
            return Ok(Exit::Ok);
        }
        PrintFormat::Document(format) => print_data(&format.text(&screen::document(&found))?)?,
    }
    enough_gpus?;
    Ok(Exit::Ok)
}
