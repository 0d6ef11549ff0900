//! `status`: shows the state of a deployment. The first line is the overall state. With `--wait` or `--watch`
//! it follows changes. It only reads.

mod all;

use std::time::Duration;

use clap::Args;

use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::kube_flags;
use crate::output::{StatusFormat, print_data, print_styled};
use crate::render::fetch_status;
use crate::render::status::{self as screen, StatusDetail};
use crate::workflow::fetch_status::FetchStatus;
use crate::workflow::follow_status::{FollowEnd, FollowOptions, ObservedStatus, StatusFollow};
use crate::workflow::interrupt;
use crate::workflow::lookup::{self, DeploymentLookup};
use crate::workflow::status::{StatusView, collect_view};
use kubectl_dynamo_core::error::{Exit, Result};

/// Show the status of a deployment
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
    #[arg(short, long, value_parser = enum_value_parser::<StatusFormat>(), default_value = "text")]
    pub output: StatusFormat,
}

pub(super) async fn run(args: StatusArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::status(args.name.as_deref(), args.output, context).await;
    }
    let Some(name) = &args.name else { return all::status(args.output, context).await };
    let found = lookup::find_deployment(name, context).await?;
    if args.watch || args.wait {
        return follow(&args, name, &found, context).await;
    }
    let DeploymentLookup { cluster, platform, graph } = found;
    let Some(graph) = graph else {
        let status = FetchStatus::find_unfinished(name, &cluster, &platform, &context.report).await?;
        print_data(&fetch_status::render(&status, args.output))?;
        return Ok(status.exit());
    };
    let view = collect_view(&cluster, graph, platform.graph_api).await?;
    print_data(&render_view(&args, &view))?;
    Ok(view.verdict.exit())
}

fn render_view(args: &StatusArgs, view: &StatusView) -> String {
    match args.output {
        StatusFormat::Text => {
            screen::screen(view, if args.details { StatusDetail::Full } else { StatusDetail::Summary })
        }
        StatusFormat::Json => format!("{:#}\n", screen::document(view)),
    }
}

/// Prints the status after each change with `--watch`, and once at the end with `--wait`.
async fn follow(args: &StatusArgs, name: &str, found: &DeploymentLookup, context: &Context) -> Result<Exit> {
    let DeploymentLookup { cluster, platform, .. } = found;
    let end = if args.wait { FollowEnd::Outcome } else { FollowEnd::Timeout };
    let options = FollowOptions { end, timeout: args.timeout };
    let follow = StatusFollow { name, cluster, platform, options, report: &context.report };
    let mut last_screen = String::new();
    let run = follow.run(|status| {
        let text = match status {
            ObservedStatus::Deployment(view) => render_view(args, view),
            ObservedStatus::Fetch(status) => fetch_status::render(status, args.output),
            ObservedStatus::Deleted => format!("deployment \"{name}\" was deleted\n"),
            ObservedStatus::NotCreated => format!("… deployment \"{name}\" is not created yet\n"),
        };
        if args.watch && text != last_screen {
            redraw(&text)?;
        }
        last_screen = text;
        Ok(())
    });
    let Some(exit) = interrupt::with_outage_reports(run, &context.report, cluster).await.transpose()? else {
        return Ok(Exit::Interrupted);
    };
    if args.wait {
        print_data(&last_screen)?;
    }
    Ok(exit)
}

/// Redraws the screen on a terminal, or prints the text after the previous one.
fn redraw(text: &str) -> Result<()> {
    use std::io::IsTerminal;
    if std::io::stdout().is_terminal() {
        print_styled("\u{1b}[H\u{1b}[2J")?;
    }
    print_data(text)
}
