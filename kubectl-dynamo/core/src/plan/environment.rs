//! Environment variables of components: common variables, user variables, and the frontend's router settings.
//! Secret values never appear here, only references to Secret keys.

use crate::intent::{Router, RouterMode, ServingIntent, StringEnum};
use crate::release::{MigrationLimit, Release};

/// One environment variable of a container or process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentVariable {
    pub name: String,
    pub value: EnvironmentValue,
}

/// The value of a variable, or a reference to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentValue {
    Literal(String),
    /// A key of a Secret. The plugin never reads the value.
    Secret {
        name: String,
        key: String,
    },
}

impl EnvironmentVariable {
    /// Creates a variable with a literal value.
    pub fn literal(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: EnvironmentValue::Literal(value.into()) }
    }
}

/// Log format of the components.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Logging {
    /// Text for humans.
    #[default]
    Plain,
    /// One JSON object per line, for the log collection of the cluster.
    Json,
}

/// Variable that enables JSON logs in every release.
pub const JSON_LOGGING: &str = "DYN_LOGGING_JSONL";

/// Flag that sets the migration limit. Some releases accept it in workers, others need the frontend's
/// variable.
pub(super) const MIGRATION_LIMIT: &str = "--migration-limit";

/// Variables of every Dynamo process. The user's variables come last and win.
pub(super) fn common_variables(intent: &ServingIntent, logging: Logging) -> Vec<EnvironmentVariable> {
    let logging_variable = match logging {
        Logging::Plain => None,
        Logging::Json => Some(EnvironmentVariable::literal(JSON_LOGGING, "true")),
    };
    merge_variables(logging_variable.into_iter().chain(user_variables(&intent.placement.env)))
}

/// Variables from `--env` or `--fetcher-env`.
pub(super) fn user_variables(pairs: &[(String, String)]) -> impl Iterator<Item = EnvironmentVariable> + '_ {
    pairs.iter().map(|(name, value)| EnvironmentVariable::literal(name, value))
}

/// Merges variables. If a name occurs twice, the later value wins.
pub(super) fn merge_variables(
    all: impl IntoIterator<Item = EnvironmentVariable>,
) -> Vec<EnvironmentVariable> {
    let mut merged: Vec<EnvironmentVariable> = Vec::new();
    for variable in all {
        match merged.iter_mut().find(|earlier| earlier.name == variable.name) {
            Some(earlier) => *earlier = variable,
            None => merged.push(variable),
        }
    }
    merged
}

/// Router variables of the frontend, with the names of the release. Settings that are not set keep Dynamo's
/// default.
pub(super) fn router_variables(router: &Router, release: &Release) -> Vec<EnvironmentVariable> {
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

/// The migration limit as a frontend variable, for releases whose workers no longer accept the flag.
pub(super) fn frontend_migration_limit(
    intent: &ServingIntent,
    release: &Release,
) -> Option<EnvironmentVariable> {
    let limit = match release.migration_limit {
        MigrationLimit::Worker => None,
        MigrationLimit::Frontend => {
            let groups = intent.topology.groups();
            let lists = std::iter::once(&intent.engine_args)
                .chain(groups.iter().map(|(_, group)| &group.engine_args));
            lists.rev().find_map(|args| migration_limit_value(args))
        }
    };
    limit.map(|limit| EnvironmentVariable::literal("DYN_MIGRATION_LIMIT", limit))
}

/// Engine arguments for a worker of this release, without flags that belong to the frontend.
pub(super) fn worker_args<'a>(args: &'a [String], release: &Release) -> impl Iterator<Item = &'a String> {
    let is_frontend_flag = release.migration_limit == MigrationLimit::Frontend;
    let mut is_value = false;
    args.iter().filter(move |arg| {
        let is_flag = !is_value && is_migration_limit(arg);
        let is_removed = is_flag || is_value;
        is_value = is_flag && !arg.contains('=');
        !(is_removed && is_frontend_flag)
    })
}

/// Returns the last migration limit in these arguments: it overrides earlier ones.
fn migration_limit_value(args: &[String]) -> Option<&str> {
    let index = args.iter().rposition(|arg| is_migration_limit(arg))?;
    match args[index].split_once('=') {
        Some((_, limit)) => Some(limit),
        None => args.get(index + 1).map(String::as_str),
    }
}

fn is_migration_limit(arg: &str) -> bool {
    arg.split('=').next().unwrap_or(arg).replace('_', "-") == MIGRATION_LIMIT
}
