//! What can stand at the cursor: the parser knows verbs, flags and closed sets; names come from where they live.
//! A question is answered in about two seconds or without names, and never with an error.

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgMatches, Command, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};

use crate::cluster::{Access, Cluster, Kind, contexts};
use crate::commands::kube_flags::KubeFlags;
use crate::commands::local::folders;
use crate::local::state;
use crate::release::CATALOG;

/// How long a person at the prompt is kept waiting for names.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the words before the cursor say of where names live.
#[derive(Clone)]
struct Place {
    access: Access,
    local: bool,
    /// Whether no name can stand at the cursor: `chat` takes one word as a name, and with --url none.
    nameless: bool,
}

/// kubectl's protocol, which is cobra's: a candidate a line, with a tab before its description, and a last
/// line with what the shell is to do. The last of `typed` is the word at the cursor.
pub(super) fn for_kubectl(command: Command, typed: &[OsString]) -> String {
    let current = typed.last().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
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
        .map(|candidate| text_of(candidate, &current))
        .filter(|o| is_asked(o, &current))
        .collect();
    let directive = directive(&offered, &current);
    let mut answer: String = offered
        .into_iter()
        .map(
            |(value, help)| if help.is_empty() { format!("{value}\n") } else { format!("{value}\t{help}\n") },
        )
        .collect();
    answer += &format!(":{directive}\n");
    answer
}

/// A candidate and its description. After `--flag=` the shell wants the value alone.
fn text_of(candidate: &CompletionCandidate, current: &str) -> (String, String) {
    let value = candidate.get_value().to_string_lossy();
    let flag = current.split_once('=').map(|(flag, _)| flag).filter(|flag| flag.starts_with('-'));
    let value = flag.and_then(|flag| value.strip_prefix(flag)?.strip_prefix('=')).unwrap_or(&value);
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    (value.into(), help.lines().next().unwrap_or_default().into())
}

/// As in kubectl, flags are offered once a hyphen is typed.
fn is_asked((value, _): &(String, String), current: &str) -> bool {
    current.starts_with('-') || !value.starts_with('-')
}

/// Bits that cobra defines: 2 asks for no space behind the candidate, 4 keeps the shell from offering files.
fn directive(offered: &[(String, String)], current: &str) -> u8 {
    const NO_SPACE: u8 = 2;
    const NO_FILES: u8 = 4;
    match offered {
        // A path that is not an argument of the parser's own, such as a model folder.
        [] if current.starts_with(['.', '/', '~']) => 0,
        [(only, _)] if only.ends_with('/') => NO_FILES | NO_SPACE,
        _ => NO_FILES,
    }
}

/// The parser, with names where it only knows that there is one.
pub(super) fn with_live_names(command: Command, typed: &[OsString]) -> Command {
    let Some(place) = place(command.clone(), typed) else {
        return command;
    };
    offer_in(command, &place)
}

/// Names for a command, and for those below it.
fn offer_in(command: Command, place: &Place) -> Command {
    let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().into()).collect();
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "name" | "names" | "words" | "target" if arg.is_positional() => arg.add(offer(place, deployments)),
        "namespace" => arg.add(offer(place, namespaces)),
        "context" => arg.add(offer(place, |place| contexts(&place.access))),
        "release" => arg.add(ArgValueCandidates::new(releases)),
        _ => arg,
    });
    verbs
        .into_iter()
        .fold(command, |command, verb| command.mut_subcommand(verb, |verb| offer_in(verb, place)))
}

fn offer<N>(place: &Place, names: N) -> ArgValueCandidates
where
    N: Fn(&Place) -> Vec<String> + Send + Sync + 'static,
{
    let place = place.clone();
    ArgValueCandidates::new(move || names(&place).into_iter().map(CompletionCandidate::new).collect())
}

/// Reads the flags typed so far, which may be wrong or incomplete.
fn place(command: Command, typed: &[OsString]) -> Option<Place> {
    let line = std::iter::once(super::PROGRAM.into()).chain(typed.iter().cloned());
    let matches = command.ignore_errors(true).try_get_matches_from(line).ok()?;
    let mut access = KubeFlags::from_arg_matches(&matches).ok()?.access().ok()?;
    access.request_timeout = Some(PATIENCE);
    access.verb = "completion";
    let verb = matches.subcommand().map(|(_, verb)| verb);
    let local = |verb: &ArgMatches| matches!(verb.try_get_one::<bool>("local"), Ok(Some(true)));
    let nameless = |verb: &ArgMatches| {
        let words = verb.try_get_many::<String>("words").ok().flatten().map_or(0, Iterator::count);
        words > 1 || matches!(verb.try_get_one::<String>("url"), Ok(Some(_)))
    };
    Some(Place { access, local: verb.is_some_and(local), nameless: verb.is_some_and(nameless) })
}

fn deployments(place: &Place) -> Vec<String> {
    if place.nameless {
        return Vec::new();
    }
    if place.local {
        let found = folders().map(|folders| state::list(&folders)).unwrap_or_default();
        return found.into_iter().map(|found| found.deployment.name).collect();
    }
    soon(async {
        let cluster = Cluster::connect(&place.access).await.ok()?;
        let api = cluster.platform().await.ok()?.graph_api;
        cluster.list(Kind::Graph(api), "", false).await.ok()
    })
}

fn namespaces(place: &Place) -> Vec<String> {
    soon(async {
        let cluster = Cluster::connect(&place.access).await.ok()?;
        cluster.list(Kind::Namespace, "", true).await.ok()
    })
}

fn releases() -> Vec<CompletionCandidate> {
    CATALOG.iter().rev().map(|release| CompletionCandidate::new(release.version)).collect()
}

/// The names of objects that arrive in time.
fn soon(objects: impl Future<Output = Option<Vec<serde_json::Value>>>) -> Vec<String> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let objects = runtime.block_on(async { tokio::time::timeout(PATIENCE, objects).await });
    runtime.shutdown_background();
    let objects = objects.ok().flatten().unwrap_or_default();
    objects.iter().filter_map(|object| object["metadata"]["name"].as_str().map(Into::into)).collect()
}
