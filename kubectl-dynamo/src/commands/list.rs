//! `list`: lists the deployments of one namespace or of all namespaces, once or with `--watch` after each
//! change. It only reads.

use clap::Args;

use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::output::{ListFormat, print_data, yaml};
use crate::render::list::{ListColumns, document, rows};
use crate::signals::follow_until_signal;
use crate::workflow::deployments::{ListEntry, ListQuery, report_no_deployments};
use kubectl_dynamo_cluster::{Cluster, NamespaceScope};
use kubectl_dynamo_core::error::{Exit, Result};

/// List deployments
#[derive(Args)]
#[command(visible_alias = "ls")]
pub(super) struct ListArgs {
    /// Label selector, such as team=ml
    #[arg(short = 'l', long, value_name = "LABELS", default_value = "")]
    pub selector: String,
    /// List local deployments
    #[arg(long)]
    pub local: bool,
    /// Watch for changes and print the list after each one
    #[arg(short, long, conflicts_with = "local")]
    pub watch: bool,
    /// Output format
    #[arg(short, long, value_parser = enum_value_parser::<ListFormat>(), default_value = "table")]
    pub output: ListFormat,
}

pub(super) async fn run(args: ListArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::list(args.output, context);
    }
    let cluster = context.cluster().await?;
    let api = cluster.platform().await?.graph_api;
    let query = ListQuery { selector: &args.selector, scope: context.kube.scope() };
    let print = |entries| print(entries, args.output, query.scope, &cluster, context);
    if !args.watch {
        print(query.list(&cluster, api).await?)?;
        return Ok(Exit::Ok);
    }
    follow_until_signal(query.follow(&cluster, api, context, print)).await
}

fn print(
    entries: Vec<ListEntry>,
    output: ListFormat,
    scope: NamespaceScope,
    cluster: &Cluster,
    context: &Context,
) -> Result<()> {
    if entries.is_empty() && !matches!(output, ListFormat::Json | ListFormat::Yaml) {
        report_no_deployments(scope, cluster, context);
        return Ok(());
    }
    print_data(&match output {
        ListFormat::Table => rows(entries, scope, ListColumns::Standard),
        ListFormat::Wide => rows(entries, scope, ListColumns::Wide),
        ListFormat::Name => entries.iter().map(|one| format!("{}\n", one.summary.name)).collect(),
        ListFormat::Json => format!("{:#}\n", document(&entries)),
        ListFormat::Yaml => yaml(&document(&entries)),
    })
}
