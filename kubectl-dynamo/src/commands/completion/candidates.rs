//! The completion candidates at the cursor. The parser provides verbs, flags, and closed sets; names come
//! from the cluster, the kubeconfig, or local state. A request must be answered in about two seconds, without
//! names if necessary, and never with an error.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgMatches, Command, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};

use crate::kube_flags::KubeFlags;
use crate::local::state;
use crate::output::printable;
use crate::workflow::local::environment::folders;
use kubectl_dynamo_cluster::{Cluster, ConnectOptions, Kind, NamespaceScope, contexts};
use kubectl_dynamo_core::documentation::documentation_names;
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::release::CATALOG;

/// The maximum time to wait for names from the cluster.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// Where names come from, according to the arguments before the cursor.
#[derive(Clone)]
struct CompletionContext {
    access: ConnectOptions,
    is_local: bool,
    /// Whether a name is not valid at the cursor: `chat` takes one name, or none with --url.
    excludes_names: bool,
}

/// Returns candidates in kubectl's protocol, which is cobra's: one candidate per line, with a tab before its
/// description, and a last line with a directive for the shell. The last item of `typed` is the word at the
/// cursor.
pub(super) fn complete_for_kubectl(command: Command, typed: &[OsString]) -> String {
    let current = typed.last().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    let mut line = vec![super::PROGRAM.into()];
    line.extend(typed.iter().cloned());
    if typed.is_empty() {
        line.push(OsString::new());
    }
    let cursor = line.len() - 1;
    let mut command = with_live_names(command, typed);
    let folder = std::env::current_dir().ok();
    let candidates = complete(&mut command, line, cursor, folder.as_deref()).unwrap_or_default();
    let offered: Vec<(String, String)> = candidates
        .iter()
        .map(|candidate| candidate_text(candidate, &current))
        .filter(|o| is_offered(o, &current))
        .collect();
    let directive = directive(&offered, &current);
    let mut output: String = offered
        .into_iter()
        .map(
            |(value, help)| if help.is_empty() { format!("{value}\n") } else { format!("{value}\t{help}\n") },
        )
        .collect();
    output += &format!(":{directive}\n");
    output
}

/// Returns a candidate and its description. After `--flag=`, the shell expects only the value.
fn candidate_text(candidate: &CompletionCandidate, current: &str) -> (String, String) {
    let value = candidate.get_value().to_string_lossy();
    let flag = current.split_once('=').map(|(flag, _)| flag).filter(|flag| flag.starts_with('-'));
    let value = flag.and_then(|flag| value.strip_prefix(flag)?.strip_prefix('=')).unwrap_or(&value);
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    (value.into(), help.lines().next().unwrap_or_default().into())
}

/// Returns whether to offer a candidate: as in kubectl, flags are offered only after a hyphen.
fn is_offered((value, _): &(String, String), current: &str) -> bool {
    current.starts_with('-') || !value.starts_with('-')
}

/// Returns cobra's directive bits: 2 suppresses the space after the candidate, 4 suppresses file names.
fn directive(offered: &[(String, String)], current: &str) -> u8 {
    const NO_SPACE: u8 = 2;
    const NO_FILES: u8 = 4;
    match offered {
        // A path that the parser does not complete, such as a model folder.
        [] if current.starts_with(['.', '/', '~']) => 0,
        // A path or a value that continues, such as `jsonpath=`.
        [(only, _)] if only.ends_with(['/', '=']) => NO_FILES | NO_SPACE,
        _ => NO_FILES,
    }
}

/// Returns the parser with live names for the arguments that take a name.
pub(super) fn with_live_names(command: Command, typed: &[OsString]) -> Command {
    let Some(context) = completion_context(command.clone(), typed) else {
        return command;
    };
    let mut command = command;
    command.build();
    add_names(command, &context)
}

/// Adds names to a command and its subcommands.
fn add_names(command: Command, context: &CompletionContext) -> Command {
    let subcommands: Vec<String> =
        command.get_subcommands().map(|subcommand| subcommand.get_name().into()).collect();
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "name" | "names" | "name_and_prompt" | "target" if arg.is_positional() => {
            arg.add(name_candidates(context, deployment_names))
        }
        "namespace" => arg.add(name_candidates(context, namespace_names)),
        "context" => arg.add(name_candidates(context, |context| contexts(&context.access))),
        "release" => arg.add(ArgValueCandidates::new(release_candidates)),
        "page" => arg.add(ArgValueCandidates::new(page_candidates)),
        _ => arg,
    });
    subcommands.into_iter().fold(command, |command, subcommand| {
        command.mut_subcommand(subcommand, |subcommand| add_names(subcommand, context))
    })
}

fn name_candidates<N>(context: &CompletionContext, names: N) -> ArgValueCandidates
where
    N: Fn(&CompletionContext) -> Vec<String> + Send + Sync + 'static,
{
    let context = context.clone();
    let candidate = |name: String| CompletionCandidate::new(printable(&name).into_owned());
    ArgValueCandidates::new(move || names(&context).into_iter().map(candidate).collect())
}

/// Parses the arguments typed so far, which may be invalid or incomplete.
fn completion_context(command: Command, typed: &[OsString]) -> Option<CompletionContext> {
    let line = std::iter::once(super::PROGRAM.into()).chain(typed.iter().cloned());
    let matches = command.ignore_errors(true).try_get_matches_from(line).ok()?;
    let mut access = KubeFlags::from_arg_matches(&matches).ok()?.access().ok()?;
    access.request_timeout = Some(LOOKUP_TIMEOUT);
    access.verb = "completion";
    let verb = matches.subcommand().map(|(_, verb)| verb);
    let is_local = |verb: &ArgMatches| matches!(verb.try_get_one::<bool>("local"), Ok(Some(true)));
    let excludes_names = |verb: &ArgMatches| {
        let positionals =
            verb.try_get_many::<String>("name_and_prompt").ok().flatten().map_or(0, Iterator::count);
        positionals > 1 || matches!(verb.try_get_one::<String>("url"), Ok(Some(_)))
    };
    Some(CompletionContext {
        access,
        is_local: verb.is_some_and(is_local),
        excludes_names: verb.is_some_and(excludes_names),
    })
}

fn deployment_names(context: &CompletionContext) -> Vec<String> {
    if context.excludes_names {
        return Vec::new();
    }
    if context.is_local {
        let found = folders().map(|folders| state::list(&folders)).unwrap_or_default();
        return found.into_iter().map(|found| found.spec.name).collect();
    }
    names_within_timeout(async {
        let cluster = Cluster::connect(&context.access).await.ok()?;
        let api = cluster.platform().await.ok()?.graph_api;
        cluster.list(Kind::Graph(api), "").await.ok()
    })
}

fn namespace_names(context: &CompletionContext) -> Vec<String> {
    names_within_timeout(async {
        let cluster = Cluster::connect(&context.access).await.ok()?;
        cluster.list_in(NamespaceScope::AllNamespaces, Kind::Namespace, "").await.ok()
    })
}

fn release_candidates() -> Vec<CompletionCandidate> {
    CATALOG.iter().rev().map(|release| CompletionCandidate::new(release.version)).collect()
}

/// A name with a space would be completed as two words.
fn page_candidates() -> Vec<CompletionCandidate> {
    documentation_names().iter().map(|name| CompletionCandidate::new(name.replace(' ', "-"))).collect()
}

/// Returns the names of the objects, or none if the query does not finish within the time limit.
fn names_within_timeout(objects: impl Future<Output = Option<Vec<serde_json::Value>>>) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let objects = runtime.block_on(async { tokio::time::timeout(LOOKUP_TIMEOUT, objects).await });
    runtime.shutdown_background();
    let objects = objects.ok().flatten().unwrap_or_default();
    objects.iter().map(|object| ObjectView::new(object).name().to_owned()).collect()
}
