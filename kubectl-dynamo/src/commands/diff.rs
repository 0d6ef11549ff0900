//! `diff`: what `up` would change, field by field and pod by pod, as the API server itself says by a dry run.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value, json};

use super::asked::{Wanted, wanted};
use super::serving_flags::ServingFlags;
use super::{Context, changes, deployment, print_data, words};
use crate::change::{Difference, Effect, GraphChange, differences};
use crate::cluster::{Change, Outcome};
use crate::error::{Error, Exit, Explain, Result};
use crate::intent::Word;

/// Show what `up` with the same words would change; exits 0 for nothing, 1 for something, more for a failure
#[derive(Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    pub serving: ServingFlags,
    /// As if fields that another manager holds were taken over
    #[arg(long)]
    pub force_conflicts: bool,
    /// Output format
    #[arg(short, long, value_parser = words::<DiffFormat>(), default_value = "text")]
    pub output: DiffFormat,
}

/// How differences are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DiffFormat {
    Text,
    Json,
    Yaml,
}

impl Word for DiffFormat {
    const ALL: &'static [Self] = &[Self::Text, Self::Json, Self::Yaml];

    fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }
}

/// A failure of `diff`: its exit code must not be 1, which says that there are differences.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotCompared(Error);

impl Explain for NotCompared {
    fn code(&self) -> Option<&'static str> {
        self.0.code()
    }

    fn hint(&self) -> Option<String> {
        self.0.hint()
    }

    fn exit(&self) -> Exit {
        match self.0.exit() {
            Exit::Ok | Exit::Failed => Exit::Usage,
            other => other,
        }
    }
}

pub(super) async fn run(args: DiffArgs, context: &Context) -> Result<Exit> {
    compare(&args, context).await.map_err(|error| NotCompared(error).into())
}

async fn compare(args: &DiffArgs, context: &Context) -> Result<Exit> {
    context.kube.refuse_all_namespaces()?;
    let wanted = wanted(&args.serving)?;
    if let Wanted::Request(asked) = &wanted {
        asked.check()?;
    }
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let deployment = match &wanted {
        Wanted::Request(asked) => deployment::on_cluster(asked, &cluster, &platform, false).await?,
        Wanted::Objects(objects) => deployment::as_is(objects, &cluster, &platform).await?,
    };
    for warning in &deployment.warnings {
        context.report.warn(Some("KD0416"), warning, None);
    }
    let found: Vec<Compared> = cluster
        .compare(&deployment.resources, args.force_conflicts)
        .await?
        .into_iter()
        .map(|change| Compared { effect: changes::effect(&change, &platform), change })
        .collect();
    found
        .iter()
        .flat_map(|one| changes::left_lines(&one.change))
        .for_each(|line| context.report.detail(line));
    let differs = found.iter().any(Compared::differs);
    print_data(&match args.output {
        DiffFormat::Text => found.iter().filter(|one| one.differs()).map(text).collect(),
        DiffFormat::Json => format!("{:#}\n", document(&found)),
        DiffFormat::Yaml => serde_saphyr::to_string(&document(&found)).map_err(std::io::Error::other)?,
    })?;
    if !differs {
        context.report.detail(format!("{} is as asked for", deployment.name));
    }
    Ok(if differs { Exit::Failed } else { Exit::Ok })
}

/// One object, what applying it does, and what that does to pods.
struct Compared {
    change: Change,
    effect: Option<GraphChange>,
}

impl Compared {
    fn differs(&self) -> bool {
        self.change.outcome.writes()
    }

    fn differences(&self) -> Vec<Difference> {
        match (&self.change.live, &self.change.result) {
            (Some(live), Some(result)) => differences(live, result),
            _ => Vec::new(),
        }
    }
}

fn text(one: &Compared) -> String {
    let mut text = format!("{} {}\n", one.change.resource, verb(one.change.outcome));
    for difference in one.differences() {
        let values = match (&difference.was, &difference.becomes) {
            (Some(was), Some(becomes)) => format!("{} -> {}", shown(was), shown(becomes)),
            (one, other) => shown(one.as_ref().or(other.as_ref()).unwrap_or(&Value::Null)),
        };
        let _ = writeln!(text, "  {} {}: {values}", difference.sign(), difference.path);
    }
    if let Some(effect) = &one.effect {
        text.push_str("pods\n");
        for line in changes::lines(effect) {
            text.push_str(&line);
            text.push('\n');
        }
        if effect.gap {
            text.push_str(
                "  gap       prefill and decode restart together: nothing answers until both are new\n",
            );
        }
    }
    text
}

fn verb(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "is created",
        Outcome::Configured => "changes",
        Outcome::Repeated => "is tried again",
        Outcome::Unchanged | Outcome::Kept => "stays",
    }
}

/// A word as it is; anything else as JSON.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(word) if !word.is_empty() && !word.contains(char::is_whitespace) => word.clone(),
        value => value.to_string(),
    }
}

fn document(found: &[Compared]) -> Value {
    let object = |one: &Compared| {
        let changes: Vec<Value> = one
            .differences()
            .into_iter()
            .map(|one| json!({ "path": one.path, "was": one.was, "becomes": one.becomes }))
            .collect();
        let resource = &one.change.resource;
        json!({
            "apiVersion": resource.api_version(), "kind": resource.kind(), "name": resource.name(),
            "outcome": one.change.outcome.to_string(), "changes": changes,
        })
    };
    let effect = found.iter().find_map(|one| one.effect.as_ref());
    let component = |one: &crate::change::ComponentChange| {
        let effect = match one.effect {
            Effect::None => "none",
            Effect::Scaled { .. } => "scaled",
            Effect::Rolls { .. } => "rolling",
            Effect::Starts { .. } => "starts",
        };
        json!({ "name": one.name, "pods": effect, "says": one.to_string(), "gpusOnTop": one.gpus_on_top })
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1",
        "kind": "Difference",
        "objects": found.iter().map(object).collect::<Vec<_>>(),
        "components": effect.map(|effect| effect.components.iter().map(component).collect::<Vec<_>>()),
        "gap": effect.is_some_and(|effect| effect.gap),
        "gpusOnTop": effect.map_or(0, GraphChange::gpus_on_top),
    })
}
