//! `status`: shows the state of a deployment. The first line is the overall state. With `--wait` or `--watch`
//! it follows changes. It only reads.

mod all;

use std::time::Duration;

use clap::Args;

use super::output_flag::output_parser;
use crate::context::Context;
use crate::kube_flags;
use crate::output::{DocumentCount, DocumentSeparator, PrintFormat, TextFormat, print_data, print_styled};
use crate::render::fetch_status;
use crate::render::status::{self as screen, StatusDetail};
use crate::workflow::fetch_status::FetchStatus;
use crate::workflow::follow_status::{FollowEnd, FollowOptions, ObservedStatus, StatusFollow};
use crate::workflow::interrupt;
use crate::workflow::lookup::{self, DeploymentLookup};
use crate::workflow::status::{StatusView, collect_view_with_requests};
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(super) struct StatusArgs {
    /// Name of the deployment (default: all in the namespace)
    pub name: Option<String>,
    /// Show a local deployment
    #[arg(long, conflicts_with_all = ["watch", "wait", "details"])]
    pub local: bool,
    /// Watch for changes and print the status after each one
    #[arg(short, long, requires = "name")]
    pub watch: bool,
    /// Wait until the deployment is ready or has failed
    #[arg(long, requires = "name", conflicts_with = "watch")]
    pub wait: bool,
    /// Maximum time for --wait or --watch, such as 90s or 30m
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
    /// Also show the object chain and the latest events
    #[arg(long, requires = "name")]
    pub details: bool,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
}

pub(super) async fn run(args: StatusArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::status(args.name.as_deref(), &args.output, context).await;
    }
    let Some(name) = &args.name else { return all::status(&args.output, context).await };
    let found = lookup::find_deployment(name, context).await?;
    if args.watch || args.wait {
        return follow(&args, name, &found, context).await;
    }
    let DeploymentLookup { cluster, platform, graph } = found;
    let Some(graph) = graph else {
        let status = FetchStatus::find_unfinished(name, &cluster, &platform, &context.report).await?;
        print_data(&fetch_status::render(&status, &args.output)?)?;
        return Ok(status.exit());
    };
    let view = collect_view_with_requests(&cluster, graph, platform.graph_api).await?;
    print_data(&render_view(&args, &view)?)?;
    Ok(view.verdict.exit())
}

fn render_view(args: &StatusArgs, view: &StatusView) -> Result<String> {
    let detail = if args.details { StatusDetail::Full } else { StatusDetail::Summary };
    args.output.text(|| screen::document(view), |TextFormat::Text| screen::screen(view, detail))
}

/// The text of one observation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum StatusText {
    Data(String),
    /// The deployment does not exist, so a document cannot describe it.
    Message(String),
}

impl StatusText {
    fn new(status: &ObservedStatus, name: &str, args: &StatusArgs) -> Result<Self> {
        let message = |text: String| match args.output {
            PrintFormat::Own(TextFormat::Text) => Self::Data(text + "\n"),
            PrintFormat::Document(_) => Self::Message(text),
        };
        Ok(match status {
            ObservedStatus::Deployment(view) => Self::Data(render_view(args, view)?),
            ObservedStatus::Fetch(status) => Self::Data(fetch_status::render(status, &args.output)?),
            ObservedStatus::Deleted => message(format!("deployment \"{name}\" was deleted")),
            ObservedStatus::NotCreated => message(format!("… deployment \"{name}\" is not created yet")),
        })
    }

    fn print(self, separator: &mut DocumentSeparator, args: &StatusArgs, context: &Context) -> Result<()> {
        use std::io::IsTerminal;
        let text = match self {
            Self::Data(text) => text,
            Self::Message(text) => {
                context.report.info(text);
                return Ok(());
            }
        };
        if args.watch && !args.output.is_document() && std::io::stdout().is_terminal() {
            print_styled("\u{1b}[H\u{1b}[2J")?;
        }
        print_data(&separator.separate(text, &args.output))
    }
}

/// Prints the status after each change with `--watch`, and once at the end with `--wait`.
async fn follow(args: &StatusArgs, name: &str, found: &DeploymentLookup, context: &Context) -> Result<Exit> {
    let DeploymentLookup { cluster, platform, .. } = found;
    let end = if args.wait { FollowEnd::Outcome } else { FollowEnd::Timeout };
    let options = FollowOptions { end, timeout: args.timeout };
    let follow = StatusFollow { name, cluster, platform, options, report: &context.report };
    let count = if args.watch { DocumentCount::Many } else { DocumentCount::One };
    let mut separator = DocumentSeparator::new(count);
    let mut last_text = None;
    let run = follow.run(|status| {
        let text = Some(StatusText::new(status, name, args)?);
        if text != last_text {
            last_text.clone_from(&text);
            text.filter(|_| args.watch).map_or(Ok(()), |text| text.print(&mut separator, args, context))?;
        }
        Ok(())
    });
    let Some(exit) = interrupt::with_outage_reports(run, &context.report, cluster).await.transpose()? else {
        return Ok(Exit::Interrupted);
    };
    if let Some(text) = last_text.filter(|_| args.wait) {
        text.print(&mut separator, args, context)?;
    }
    Ok(exit)
}
