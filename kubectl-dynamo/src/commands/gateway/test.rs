//! `gateway test`: sends requests through a gateway and reports whether they arrive at a deployment.

use std::time::Instant;

use clap::Args;

use super::access_flags::GatewayAccessArgs;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{FindingsFormat, PrintFormat, print_data, print_styled};
use crate::render::{gateway as screen, junit};
use crate::workflow::gateway::{GatewaySelection, RouteTest, SelectionPlace};
use crate::workflow::probes::{ProbeTarget, TargetName};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::finding::FindingCounts;

/// Verify with requests that LiteLLM routes to a deployment
///
/// Sends one request and one streamed request through the proxy. They must be answered by the deployment, according to
/// the proxy's headers and to the counters of the deployment's frontends. Exits 0 if no check fails, and 9 if a check
/// fails.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::commands) struct GatewayTestArgs {
    /// Name of the deployment
    pub name: String,
    /// Test with a local deployment
    #[arg(long)]
    pub local: bool,
    /// Name that clients use for the model (default: that of the entry of the deployment)
    #[arg(long, value_name = "NAME")]
    pub model_name: Option<String>,
    #[command(flatten)]
    pub access: GatewayAccessArgs,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<FindingsFormat>(), default_value = "table")]
    pub output: PrintFormat<FindingsFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo gateway test qwen32 --url http://127.0.0.1:4000 --api-key-env LITELLM_MASTER_KEY
  kubectl dynamo gateway test qwen32 -n serving --url https://llm.example.com \\
    --api-key-secret litellm/master-key --gateway-namespace litellm";

pub(super) async fn run(args: GatewayTestArgs, context: &Context) -> Result<Exit> {
    let proxy = args.access.connect(context).await?;
    let place = SelectionPlace::from_local_flag(args.local);
    let deployments = GatewaySelection::new(vec![args.name.clone()], place).find_serving(context).await?;
    let deployment = deployments.first().expect("a named deployment is found, or finding it fails");
    let target = match place {
        SelectionPlace::Local => TargetName::Local(Some(args.name)),
        SelectionPlace::Cluster => TargetName::Cluster(args.name),
    };
    let target =
        ProbeTarget::find(&target, deployment.models.first().map(|model| model.name.as_str()), context)
            .await?;
    let started = Instant::now();
    let test = RouteTest {
        proxy: &proxy,
        deployment,
        target: &target,
        model_name: args.model_name.as_deref(),
        timeout: args.access.timeout,
    };
    let findings = test.run(&context.report).await;
    // Removes the waiting line from a terminal.
    context.report.summary(Vec::new());
    let report = screen::GatewayTestReport {
        deployment,
        url: &proxy.url,
        findings: &findings,
        elapsed: started.elapsed(),
    };
    match args.output {
        PrintFormat::Own(FindingsFormat::Table) => print_styled(&screen::test_screen(&report))?,
        PrintFormat::Own(FindingsFormat::Junit) => print_data(&junit::document("gateway test", &findings)?)?,
        PrintFormat::Document(format) => print_data(&format.text(&screen::test_document(&report))?)?,
    }
    Ok(match FindingCounts::from_findings(&findings).failed {
        0 => Exit::Ok,
        _ => Exit::SmokeTest,
    })
}
