//! `list`: lists the deployments of one namespace or of all namespaces, once or with `--watch` after each
//! change. It only reads.

use clap::Args;

use super::output_flag::output_parser;
use crate::context::Context;
use crate::output::{DocumentCount, DocumentSeparator, ListFormat, PrintFormat, print_data};
use crate::render::list::{ListColumns, document, rows};
use crate::signals::follow_until_signal;
use crate::workflow::deployments::{ListEntry, ListQuery, report_no_deployments};
use kubectl_dynamo_cluster::NamespaceScope;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
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
    #[arg(short, long, value_parser = output_parser::<ListFormat>(), default_value = "table")]
    pub output: PrintFormat<ListFormat>,
}

pub(super) async fn run(args: ListArgs, context: &Context) -> Result<Exit> {
    if args.local {
        return super::local::list(&args.output, context);
    }
    let cluster = context.cluster().await?;
    let api = cluster.platform().await?.graph_api;
    let query = ListQuery { selector: &args.selector, scope: context.kube.scope() };
    let count = if args.watch { DocumentCount::Many } else { DocumentCount::One };
    let mut separator = DocumentSeparator::new(count);
    let mut print = |entries: Vec<ListEntry>| {
        if entries.is_empty() && !args.output.is_document() {
            report_no_deployments(query.scope, &cluster, context);
            return Ok(());
        }
        print_data(&separator.separate(text(entries, &args.output, query.scope)?, &args.output))
    };
    if !args.watch {
        print(query.list(&cluster, api).await?)?;
        return Ok(Exit::Ok);
    }
    follow_until_signal(query.follow(&cluster, api, context, print)).await
}

fn text(entries: Vec<ListEntry>, output: &PrintFormat<ListFormat>, scope: NamespaceScope) -> Result<String> {
    match output {
        PrintFormat::Document(format) => format.text(&document(&entries)),
        PrintFormat::Own(ListFormat::Table) => Ok(rows(entries, scope, ListColumns::Standard)),
        PrintFormat::Own(ListFormat::Wide) => Ok(rows(entries, scope, ListColumns::Wide)),
        PrintFormat::Own(ListFormat::Name) => {
            Ok(entries.iter().map(|one| format!("{}\n", one.summary.name)).collect())
        }
    }
}
