//! Environment variables of components: where a value comes from, and what the frontend is told by them.

use crate::intent::{Router, RouterMode, ServingIntent, Word};
use crate::release::{MigrationLimit, Release};

/// One environment variable of a container or process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    pub name: String,
    pub value: EnvironmentValue,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentValue {
    Literal(String),
    /// A key of a Secret; the value itself never passes through this program.
    Secret {
        name: String,
        key: String,
    },
}

impl EnvironmentVariable {
    /// A variable with a plain value.
    pub fn literal(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: EnvironmentValue::Literal(value.into()) }
    }
}

/// How components write their logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Logging {
    /// Lines for people.
    #[default]
    Plain,
    /// One JSON object a line, for what collects logs and metrics of the cluster.
    Json,
}

/// Turns JSON lines on, in every release.
pub const JSON_LOGGING: &str = "DYN_LOGGING_JSONL";

/// Engine flags that some releases want from workers and some from the frontend.
pub(super) const MIGRATION_LIMIT: &str = "--migration-limit";

/// What every Dynamo process gets, the person's own variables last: they win.
pub(super) fn of_every_component(intent: &ServingIntent, logging: Logging) -> Vec<EnvironmentVariable> {
    let own = match logging {
        Logging::Plain => None,
        Logging::Json => Some(EnvironmentVariable::literal(JSON_LOGGING, "true")),
    };
    merged(own.into_iter().chain(of_the_person(intent)))
}

/// The person's own variables.
pub(super) fn of_the_person(intent: &ServingIntent) -> impl Iterator<Item = EnvironmentVariable> + '_ {
    intent.placement.env.iter().map(|(name, value)| EnvironmentVariable::literal(name, value))
}

/// The variables one after the other; of two with the same name the later one stays.
pub(super) fn merged(all: impl IntoIterator<Item = EnvironmentVariable>) -> Vec<EnvironmentVariable> {
    let mut merged: Vec<EnvironmentVariable> = Vec::new();
    for variable in all {
        match merged.iter_mut().find(|earlier| earlier.name == variable.name) {
            Some(earlier) => *earlier = variable,
            None => merged.push(variable),
        }
    }
    merged
}

/// What the frontend is told of routing, in the release's words. What the person left open is left to Dynamo.
pub(super) fn of_the_router(router: &Router, release: &Release) -> Vec<EnvironmentVariable> {
    let mut variables = vec![EnvironmentVariable::literal("DYN_ROUTER_MODE", router.mode.as_str())];
    if router.mode != RouterMode::Kv {
        return variables;
    }
    let settings = [
        ("DYN_ROUTER_TEMPERATURE", router.temperature),
        (release.overlap_setting.variable(), router.overlap_weight),
    ];
    variables.extend(settings.into_iter().filter_map(|(name, value)| {
        value.map(|value| EnvironmentVariable::literal(name, value.to_string()))
    }));
    if !router.kv_events {
        variables.push(EnvironmentVariable::literal(release.kv_events_switch.variable(), "false"));
    }
    variables
}

/// What the frontend is told because this release's workers no longer take it: how often a request may move.
pub(super) fn moved_to_the_frontend(
    intent: &ServingIntent,
    release: &Release,
) -> Option<EnvironmentVariable> {
    let limit = match release.migration_limit {
        MigrationLimit::Worker => None,
        MigrationLimit::Frontend => {
            let groups = intent.topology.groups();
            let lists = std::iter::once(&intent.engine_args)
                .chain(groups.iter().map(|(_, group)| &group.engine_args));
            lists.rev().find_map(|args| migration_limit(args))
        }
    };
    limit.map(|limit| EnvironmentVariable::literal("DYN_MIGRATION_LIMIT", limit))
}

/// Engine arguments for a worker of this release: those that moved to the frontend are left out.
pub(super) fn for_a_worker<'a>(
    args: &'a [String],
    release: &Release,
) -> Box<dyn Iterator<Item = &'a String> + 'a> {
    match (release.migration_limit, position(args)) {
        (MigrationLimit::Worker, _) | (_, None) => Box::new(args.iter()),
        (MigrationLimit::Frontend, Some((at, length))) => {
            Box::new(args[..at].iter().chain(&args[at + length..]))
        }
    }
}

fn migration_limit(args: &[String]) -> Option<&str> {
    let (at, length) = position(args)?;
    match length {
        1 => args[at].split_once('=').map(|(_, limit)| limit),
        _ => args.get(at + 1).map(String::as_str),
    }
}

/// Where the flag stands, and how many arguments it takes.
fn position(args: &[String]) -> Option<(usize, usize)> {
    let is_it = |arg: &String| arg.split('=').next().unwrap_or(arg).replace('_', "-") == MIGRATION_LIMIT;
    let at = args.iter().position(is_it)?;
    let length = if args[at].contains('=') { 1 } else { 2.min(args.len() - at) };
    Some((at, length))
}
