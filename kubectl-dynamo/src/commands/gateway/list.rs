//! `gateway list`: compares the entries of a gateway with what is deployed. It only reads.

use clap::Args;

use super::access_flags::GatewayAccessArgs;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TableFormat, print_data};
use crate::render::gateway as screen;
use crate::typed_command::typed;
use crate::workflow::gateway::{SelectionPlace, compare_with_proxy, warn_compromised};
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::gateway::{ComparedEntry, EntryStatus};

/// Compare the entries of LiteLLM with the deployments
///
/// An entry is ok if it routes to a deployment. It is stale if its deployment or its model does not exist, for example
/// because the proxy was not restarted after a change of its file. It is foreign if it does not belong to a deployment
/// of the namespace, or with -A of the cluster. A model that a deployment serves without an entry is missing.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct GatewayListArgs {
    /// Compare with the local deployments
    #[arg(long)]
    pub local: bool,
    #[command(flatten)]
    pub access: GatewayAccessArgs,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "table")]
    pub output: PrintFormat<TableFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo gateway list -A --url http://127.0.0.1:4000 --api-key-env LITELLM_MASTER_KEY
  kubectl dynamo gateway list -n serving --url https://llm.example.com \\
    --api-key-secret litellm/master-key --gateway-namespace litellm";

pub(super) async fn run(args: GatewayListArgs, context: &Context) -> Result<Exit> {
    let proxy = args.access.connect(context).await?;
    let place = SelectionPlace::from_local_flag(args.local);
    let entries = compare_with_proxy(&proxy, place, context).await?;
    let version = proxy.version().await;
    warn_compromised(version.as_deref(), &context.report);
    let document = || screen::list_document(&proxy.url, version.as_deref(), &entries);
    if entries.is_empty() && !args.output.is_document() {
        context.report.info("the proxy does not have entries, and no deployment serves a model");
        return Ok(Exit::Ok);
    }
    print_data(&args.output.text(document, |TableFormat::Table| screen::list_table(&entries))?)?;
    let needs_change =
        |entry: &ComparedEntry| [EntryStatus::Stale, EntryStatus::Missing].contains(&entry.status);
    if entries.iter().any(needs_change) {
        let config = SuggestedCommand::plugin("gateway config");
        let config = if args.local { config.flag("--local") } else { config };
        let text = "LiteLLM reads its file only when it starts: write the entries into it and restart it: ";
        context.report.info(typed(config.after(text)));
    }
    Ok(Exit::Ok)
}
