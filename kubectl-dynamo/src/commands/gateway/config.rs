//! `gateway config`: prints the entries of LiteLLM's configuration that route to deployments, or writes them into the
//! ConfigMap of a proxy.

use clap::Args;

use super::apply_flags::GatewayApplyArgs;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{DocumentFormat, GatewayConfigFormat, PrintFormat, print_data};
use crate::workflow::gateway::{GatewaySelection, SelectionPlace};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::gateway::GatewayConfig;

/// Print the LiteLLM entries of deployments, or write them into a ConfigMap
///
/// The entries name the models exactly as the frontends list them, and the frontend Services inside the cluster.
/// Deployments of one model form a group, whose requests LiteLLM distributes by the number of their workers. Settings
/// for the group are added, so that LiteLLM avoids a deployment that fails.
///
/// With --apply-to, the entries replace those between the marker comments of kubectl-dynamo in the ConfigMap. Every
/// other byte of the ConfigMap stays as it is.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct GatewayConfigArgs {
    /// Names of the deployments (default: all in the namespace, or with -A in all namespaces)
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Use local deployments (default: all that run)
    #[arg(long)]
    pub local: bool,
    /// Name that clients use for the model of all deployments (default: the served names)
    #[arg(long, value_name = "NAME")]
    pub model_name: Option<String>,
    #[command(flatten)]
    pub apply: GatewayApplyArgs,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<GatewayConfigFormat>(), default_value = "yaml")]
    pub output: PrintFormat<GatewayConfigFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo gateway config qwen32 -n serving
  kubectl dynamo gateway config -A > litellm.yaml
  kubectl dynamo gateway config qwen32 qwen32-b --model-name qwen
  kubectl dynamo gateway config -A --apply-to configmap/litellm-config --key config.yaml \\
    --gateway-namespace litellm --restart deployment/litellm";

pub(super) async fn run(args: GatewayConfigArgs, context: &Context) -> Result<Exit> {
    // A missing ConfigMap is found before the frontends are asked.
    let live = args.apply.read(context).await?;
    let selection = GatewaySelection::new(args.names, SelectionPlace::from_local_flag(args.local));
    let deployments = selection.find_serving(context).await?;
    if deployments.is_empty() {
        return Ok(Exit::Ok);
    }
    let config = GatewayConfig::new(&deployments, args.model_name.as_deref())?;
    if let Some(live) = live {
        return args.apply.apply(&live, &config, context).await;
    }
    print_data(&text(&config, &args.output)?)?;
    Ok(Exit::Ok)
}

/// Returns the configuration in a format. YAML has the order of LiteLLM's documentation.
fn text(config: &GatewayConfig, output: &PrintFormat<GatewayConfigFormat>) -> Result<String> {
    match output {
        PrintFormat::Own(own) => match *own {},
        PrintFormat::Document(DocumentFormat::Yaml) => Ok(config.to_yaml()),
        PrintFormat::Document(format) => format.text(&config.to_document()),
    }
}
