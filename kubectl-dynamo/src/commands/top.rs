//! `top`: shows the live load of deployments, read directly from the metrics of their pods or processes.

mod view;

use std::convert::Infallible;
use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::output_flag::output_parser;
use crate::context::Context;
use crate::kube_flags;
use crate::output::{DocumentCount, DocumentSeparator, PrintFormat, TableFormat, print_data};
use crate::render::top as render;
use crate::signals::{follow_until_signal, run_until_signal};
use crate::workflow::top::{TopSession, TopTarget};
use kubectl_dynamo_core::error::{Exit, Result};

/// The shortest time between two reads.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TopArgs {
    /// Name of the deployment (default: all in the namespace)
    pub name: Option<String>,
    /// Show local deployments
    #[arg(long)]
    pub local: bool,
    /// Print one table and exit (default if stdout is not a terminal)
    #[arg(long, conflicts_with = "watch")]
    pub once: bool,
    /// Print the numbers again after each interval
    #[arg(short, long)]
    pub watch: bool,
    /// Time between two reads of the metrics, such as 500ms or 5s (at least 100ms)
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = kube_flags::parse_duration)]
    pub interval: Duration,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TableFormat>(), default_value = "table")]
    pub output: PrintFormat<TableFormat>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo top qwen32
  kubectl dynamo top -A --once
  kubectl dynamo top tiny --local -o json -w | jq .items[0].requestsPerSecond";

pub(super) async fn run(args: TopArgs, context: &Context) -> Result<Exit> {
    let target = match args.local {
        true => TopTarget::Local(args.name.clone()),
        false => TopTarget::Cluster(args.name.clone()),
    };
    let opened = run_until_signal(TopSession::open(target, context)).await.transpose()?;
    let Some(session) = opened else { return Ok(Exit::Interrupted) };
    if args.watch && !args.is_full_screen() {
        return follow_until_signal(follow(session, &args)).await;
    }
    let exit = match args.is_full_screen() {
        true => run_until_signal(view::show(session, ticks(&args))).await,
        false => run_until_signal(print_once(session, &args, context)).await,
    };
    exit.unwrap_or(Ok(Exit::Interrupted))
}

impl TopArgs {
    /// A terminal gets the full-screen view, unless another form is requested.
    fn is_full_screen(&self) -> bool {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        is_terminal && !self.once && !self.output.is_document()
    }
}

/// A tick after each interval.
fn ticks(args: &TopArgs) -> Interval {
    let interval = args.interval.max(SHORTEST_INTERVAL);
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Prints the numbers of one interval.
async fn print_once(mut session: TopSession, args: &TopArgs, context: &Context) -> Result<Exit> {
    tokio::time::sleep(args.interval.max(SHORTEST_INTERVAL)).await;
    session.refresh().await?;
    let deployments = session.report();
    for problem in deployments.iter().flat_map(|deployment| &deployment.problems) {
        problem.report(&context.report);
    }
    if deployments.is_empty() && !args.output.is_document() {
        session.report_no_deployments(context);
        return Ok(Exit::Ok);
    }
    print_data(&render::render(&deployments, &args.output)?)?;
    Ok(Exit::Ok)
}

/// Prints the numbers after each interval.
async fn follow(mut session: TopSession, args: &TopArgs) -> Result<Infallible> {
    let mut ticks = ticks(args);
    let mut separator = DocumentSeparator::new(DocumentCount::Many);
    loop {
        ticks.tick().await;
        session.refresh().await?;
        print_data(&render::render_next(&session.report(), &args.output, &mut separator)?)?;
    }
}
