//! `logs`: prints the logs of all pods of a deployment as one stream. Each line starts with the pod name.
//! With `-f` it includes pods and restarts that come later.

use std::time::Duration;

use clap::Args;
use regex::Regex;

use crate::context::Context;
use crate::kube_flags;
use crate::output::print_styled;
use crate::workflow::logs::{self, LineFilter, LogRequest};
use kubectl_dynamo_cluster::LogOptions;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(super) struct LogsArgs {
    /// Name of the deployment
    pub name: String,
    /// Use a local deployment
    #[arg(long, conflicts_with_all = ["since", "previous", "include", "exclude", "timestamps"])]
    pub local: bool,
    /// Component: frontend, worker, prefill, decode, or fetch (the model download) (default: all)
    #[arg(short, long, value_name = "COMPONENT")]
    pub component: Option<String>,
    /// Stream new lines, including those of pods that start later
    #[arg(short, long)]
    pub follow: bool,
    /// Number of most recent lines of each pod (default: all)
    #[arg(long, value_name = "N")]
    pub tail: Option<u32>,
    /// Only lines newer than this, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = kube_flags::parse_duration)]
    pub since: Option<Duration>,
    /// Print the logs of the previous container instances
    #[arg(short, long, conflicts_with = "follow")]
    pub previous: bool,
    /// Only lines that match this regular expression (repeatable; one match is enough)
    #[arg(short, long, value_name = "REGEX")]
    pub include: Vec<Regex>,
    /// Omit lines that match this regular expression (repeatable)
    #[arg(short, long, value_name = "REGEX")]
    pub exclude: Vec<Regex>,
    /// Include the timestamp of each line
    #[arg(long)]
    pub timestamps: bool,
}

pub(super) async fn run(args: LogsArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::logs(&super::local::LocalLogsOptions {
            name: &args.name,
            component: args.component.as_deref(),
            follow: args.follow,
            tail: args.tail,
        })
        .await;
    }
    let options = LogOptions {
        follow: args.follow,
        previous: args.previous,
        tail: args.tail.map(i64::from),
        since_seconds: args.since.map(|since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
        ..LogOptions::default()
    };
    let filter = LineFilter { include: args.include, exclude: args.exclude, timestamps: args.timestamps };
    let request = LogRequest { name: &args.name, component: args.component.as_deref(), options, filter };
    // Each line is printable, except for the color of its prefix.
    logs::read(request, context, print_styled).await
}
