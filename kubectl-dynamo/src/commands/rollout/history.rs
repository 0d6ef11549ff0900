//! `rollout history`: lists the recorded revisions and what each one changed, or prints the spec of one
//! revision.

use clap::Args;
use serde_json::{Value, json};

use super::find_revision;
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{DocumentFormat, PrintFormat, TableFormat, print_data};
use crate::render::table::table;
use crate::render::value::display_value;
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::revisions;
use crate::workflow::summary::age;
use kubectl_dynamo_core::change::revision::{Revision, number};
use kubectl_dynamo_core::change::{Difference, differences};
use kubectl_dynamo_core::error::{Exit, Result};

/// List the recorded revisions of a deployment, or show one
#[derive(Args)]
pub(super) struct HistoryArgs {
    /// Name of the deployment
    pub name: String,
    /// Print the spec of this revision
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub revision: Option<i64>,
    /// Output format (default: table, or yaml with --revision)
    #[arg(short, long, value_parser = output_parser::<TableFormat>())]
    pub output: Option<PrintFormat<TableFormat>>,
}

pub(super) async fn run(args: HistoryArgs, context: &Context) -> Result<Exit> {
    let ClusterDeployment { cluster, graph, .. } = lookup::get_deployment(&args.name, context).await?;
    let revisions = revisions::list(&cluster, &graph).await?;
    let document = match args.revision {
        Some(number) => find_revision(&revisions, number, &args.name)?.graph.clone(),
        None => document(&args.name, &cluster.namespace, &graph, &revisions),
    };
    let format = args.output.unwrap_or(match args.revision {
        Some(_) => PrintFormat::Document(DocumentFormat::Yaml),
        None => PrintFormat::Own(TableFormat::Table),
    });
    let table = |TableFormat::Table| rows(&select_rows(&revisions, args.revision));
    print_data(&format.text(|| document, table)?)?;
    if revisions.is_empty() {
        context.report.info(format!(
            "deployment \"{}\" does not have revisions yet; the next update records two",
            args.name
        ));
    }
    Ok(Exit::Ok)
}

/// A revision and its differences from the previous one.
type RevisionRow<'a> = (&'a Revision, Vec<Difference>);

fn select_rows(revisions: &[Revision], number: Option<i64>) -> Vec<RevisionRow<'_>> {
    with_changes(revisions)
        .into_iter()
        .filter(|(one, _)| number.is_none_or(|number| one.number == number))
        .collect()
}

fn with_changes(revisions: &[Revision]) -> Vec<RevisionRow<'_>> {
    let previous = std::iter::once(None).chain(revisions.iter().map(Some));
    let changes = |(previous, one): (Option<&Revision>, &Revision)| {
        let Some(previous) = previous else { return Vec::new() };
        // The plugin's own annotations only repeat the change.
        let all_changes = differences(&previous.graph, &one.graph).into_iter();
        all_changes.filter(|one| !one.path.contains("kubectl-dynamo.dev/")).collect()
    };
    previous.zip(revisions).map(|(previous, one)| (one, changes((previous, one)))).collect()
}

fn rows(rows: &[RevisionRow]) -> String {
    let now = jiff::Timestamp::now();
    let cells = |(one, changes): &RevisionRow| {
        vec![one.number.to_string(), age(&one.applied, now), one.cause.clone(), summarize_changes(changes)]
    };
    table(&["REVISION", "AGE", "CHANGE-CAUSE", "CHANGES"], rows.iter().map(cells).collect())
}

/// Summarizes differences: the first one and the number of others.
fn summarize_changes(changes: &[Difference]) -> String {
    const MAX_WIDTH: usize = 60;
    let Some(first) = changes.first() else { return "-".into() };
    let path = first.path.trim_start_matches("spec.");
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), display_value);
    let full = format!("{path} {} -> {}", value(&first.before), value(&first.after));
    let first = if full.chars().count() <= MAX_WIDTH { full } else { format!("{} {path}", first.sign()) };
    match changes.len() - 1 {
        0 => first,
        more => format!("{first}, {more} more"),
    }
}

fn document(name: &str, namespace: &str, graph: &Value, revisions: &[Revision]) -> Value {
    let to_json = |(one, changes): &RevisionRow| {
        let changes: Vec<Value> = changes
            .iter()
            .map(|one| json!({ "path": one.path, "before": one.before, "after": one.after }))
            .collect();
        json!({
            "revision": one.number, "created": one.created, "applied": one.applied, "cause": one.cause,
            "changes": changes,
        })
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "History", "name": name, "namespace": namespace,
        "current": number(graph), "revisions": with_changes(revisions).iter().map(to_json).collect::<Vec<_>>(),
    })
}
