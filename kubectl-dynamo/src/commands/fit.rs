//! `fit`: prints the weights and the KV cache per GPU for each parallelism, and the number of concurrent
//! requests. It must not download weights.

use clap::Args;

use super::gpu_flag::hardware_of;
use super::output_flag::output_parser;
use super::serving_flags::MemoryFlags;
use crate::context::Context;
use crate::output::{PrintFormat, TableFormat, print_data};
use crate::render::{fit as screen, role_fit};
use crate::workflow::fit::{self, FitOptions, FitReport};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::fit::RequestedLength;
use kubectl_dynamo_core::intent::request::MergedSettings;
use kubectl_dynamo_core::release::Release;

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct FitArgs {
    /// Model ID on the hub (ORG/NAME, optionally with @REVISION), or a folder
    pub model: String,
    /// GPU model, GPUs per node, and number of nodes, or auto for the nodes of the cluster
    #[arg(long, value_name = "NAME[:GPUS[xNODES]]", default_value = "h100-80g:8")]
    pub gpu: String,
    #[command(flatten)]
    pub memory: MemoryFlags,
    /// Maximum request length in tokens, or auto (default: the length with which the engine starts)
    #[arg(long, value_name = "TOKENS", value_parser = RequestedLength::parse, allow_negative_numbers = true)]
    pub max_model_len: Option<RequestedLength>,
    /// Dynamo release (default: those rules of all releases that need the most memory)
    #[arg(long, value_name = "VERSION")]
    pub release: Option<String>,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "table")]
    pub output: PrintFormat<TableFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo fit Qwen/Qwen3-32B                          one node with eight H100 GPUs
  kubectl dynamo fit Qwen/Qwen3-32B --gpu auto               the GPUs of the current cluster
  kubectl dynamo fit Qwen/Qwen3-32B --gpu l40s:4 --max-model-len 32K
  kubectl dynamo fit ./model --gpu h200-141g:8x2 -- --kv-cache-dtype fp8
  kubectl dynamo fit Qwen/Qwen3-32B --gpu h100-80g:8x2 --mode disagg --prefill-tp 2 --decode-tp 4";

pub(super) async fn run(args: FitArgs, context: &Context) -> Result<Exit> {
    let options = FitOptions {
        hardware: hardware_of(&args.gpu, context).await?,
        release: args.release.as_deref().map(Release::find).transpose()?,
        model: args.model,
        max_model_len: args.max_model_len,
        settings: MergedSettings::from_layers([args.memory.layer()?]),
    };
    let (query, report) = fit::fit(options, context).await?;
    let document = || match &report {
        FitReport::Shapes(rows) => screen::document(&query, rows),
        FitReport::Roles(fits) => role_fit::document(&query, fits),
    };
    print_data(&args.output.text(document, |TableFormat::Table| match &report {
        FitReport::Shapes(rows) => screen::table_text(&query, rows),
        FitReport::Roles(fits) => role_fit::table_text(&query, fits),
    })?)?;
    Ok(if report.fits() { Exit::Ok } else { Exit::DoesNotFit })
}
