//! `rollout history`: the revisions that are kept, and what each changed.

use clap::Args;
use serde_json::{Value, json};

use super::{There, numbered, there};
use crate::change::revision::{Revision, number};
use crate::change::{Difference, differences};
use crate::commands::diff::shown;
use crate::commands::summary::age;
use crate::commands::table::table;
use crate::commands::{Context, print_data, revisions, words};
use crate::error::{Exit, Result};
use crate::intent::Word;

/// List the revisions that are kept of a deployment, or show one
#[derive(Args)]
pub(super) struct HistoryArgs {
    /// Name of the deployment
    pub name: String,
    /// Show what was applied as this revision
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(1..))]
    pub revision: Option<i64>,
    /// Output format; one revision is YAML where nothing is said
    #[arg(short, long, value_parser = words::<HistoryFormat>())]
    pub output: Option<HistoryFormat>,
}

/// How revisions are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HistoryFormat {
    Table,
    Json,
    Yaml,
}

impl Word for HistoryFormat {
    const ALL: &'static [Self] = &[Self::Table, Self::Json, Self::Yaml];

    fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

pub(super) async fn run(args: HistoryArgs, context: &Context) -> Result<Exit> {
    let There { cluster, graph, .. } = there(&args.name, context).await?;
    let kept = revisions::of(&cluster, &graph).await?;
    let document = match args.revision {
        Some(number) => numbered(&kept, number, &args.name)?.graph.clone(),
        None => document(&args.name, &cluster.namespace, &graph, &kept),
    };
    let format = args.output.unwrap_or(match args.revision {
        Some(_) => HistoryFormat::Yaml,
        None => HistoryFormat::Table,
    });
    print_data(&match format {
        HistoryFormat::Json => format!("{document:#}\n"),
        HistoryFormat::Yaml => serde_saphyr::to_string(&document).map_err(std::io::Error::other)?,
        HistoryFormat::Table => rows(&chosen(&kept, args.revision)),
    })?;
    if kept.is_empty() {
        context.report.detail(format!("no revision of {} is kept yet; its next change keeps two", args.name));
    }
    Ok(Exit::Ok)
}

/// A revision with what it changed of the one before it.
type Row<'a> = (&'a Revision, Vec<Difference>);

fn chosen(kept: &[Revision], number: Option<i64>) -> Vec<Row<'_>> {
    changed(kept).into_iter().filter(|(one, _)| number.is_none_or(|number| one.number == number)).collect()
}

fn changed(kept: &[Revision]) -> Vec<Row<'_>> {
    let before = std::iter::once(None).chain(kept.iter().map(Some));
    let changes = |(before, one): (Option<&Revision>, &Revision)| {
        let Some(before) = before else { return Vec::new() };
        // What this program notes of the change on the object says the same once more.
        let found = differences(&before.graph, &one.graph).into_iter();
        found.filter(|one| !one.path.contains("kubectl-dynamo.dev/")).collect()
    };
    before.zip(kept).map(|(before, one)| (one, changes((before, one)))).collect()
}

fn rows(kept: &[Row]) -> String {
    let now = jiff::Timestamp::now();
    let row = |(one, changes): &Row| {
        vec![one.number.to_string(), age(&one.created, now), one.cause.clone(), short(changes)]
    };
    table(&["REVISION", "AGE", "CHANGE-CAUSE", "CHANGES"], kept.iter().map(row).collect())
}

/// The first change, and how many more there are.
fn short(changes: &[Difference]) -> String {
    const LONGEST: usize = 60;
    let Some(first) = changes.first() else { return "-".into() };
    let path = first.path.trim_start_matches("spec.");
    let value = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), shown);
    let full = format!("{path} {} -> {}", value(&first.was), value(&first.becomes));
    let first = if full.chars().count() <= LONGEST { full } else { format!("{} {path}", first.sign()) };
    match changes.len() - 1 {
        0 => first,
        more => format!("{first}, {more} more"),
    }
}

fn document(name: &str, namespace: &str, graph: &Value, kept: &[Revision]) -> Value {
    let one = |(one, changes): &Row| {
        let changes: Vec<Value> = changes
            .iter()
            .map(|one| json!({ "path": one.path, "was": one.was, "becomes": one.becomes }))
            .collect();
        json!({ "revision": one.number, "created": one.created, "cause": one.cause, "changes": changes })
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "History", "name": name, "namespace": namespace,
        "current": number(graph), "revisions": changed(kept).iter().map(one).collect::<Vec<_>>(),
    })
}
