//! `cache list`: models on claims, as far as the API can tell. No pod is started for it.

use clap::Args;
use serde_json::{Value, json};

use super::known::{self, Known, KnownClaim, KnownModel, Sight, State};
use crate::commands::list::{ListFormat, yaml};
use crate::commands::summary::age;
use crate::commands::table::table;
use crate::commands::{Context, print_data, words};
use crate::error::{Exit, Result};

/// List the models on claims: revision, size, completeness, users
#[derive(Args)]
#[command(visible_alias = "ls")]
pub(in crate::commands) struct ListArgs {
    /// Output format
    #[arg(short, long, value_parser = words::<ListFormat>(), default_value = "table")]
    pub output: ListFormat,
}

pub(super) async fn run(args: &ListArgs, context: &Context) -> Result<Exit> {
    let cluster = context.cluster().await?;
    let all = context.kube.all_namespaces;
    let known = known::gather(&cluster, all, Sight::AsAllowed).await?;
    let as_data = matches!(args.output, ListFormat::Json | ListFormat::Yaml);
    if known.claims.is_empty() && known.models.is_empty() && !as_data {
        let place = if all { "any namespace".into() } else { format!("namespace {}", cluster.namespace) };
        context.report.detail(format!("no claim for models in {place}"));
        return Ok(Exit::Ok);
    }
    print_data(&match args.output {
        ListFormat::Table => rows(&known, all, false),
        ListFormat::Wide => rows(&known, all, true),
        ListFormat::Name => known.models.iter().map(|one| format!("{}\n", one.name())).collect(),
        ListFormat::Json => format!("{:#}\n", document(&known)),
        ListFormat::Yaml => yaml(&document(&known)),
    })?;
    if !as_data {
        say_what_is_unknown(&known, context);
    }
    Ok(Exit::Ok)
}

impl KnownModel {
    /// `org/name@revision`.
    pub(super) fn name(&self) -> String {
        format!("{}@{}", self.repository, self.revision)
    }
}

fn is_empty(known: &Known, claim: &KnownClaim) -> bool {
    !known.models.iter().any(|one| one.namespace == claim.namespace && one.claim == claim.name)
}

/// Files that no Job and no deployment tells of can only be seen by a pod.
fn say_what_is_unknown(known: &Known, context: &Context) {
    let unknown = known.models.iter().find(|one| one.state == State::Unknown);
    if let Some(one) = unknown {
        context.report.detail(format!(
            "unknown: only the volume tells; ask it: kubectl dynamo cache verify {} --cache {} -n {}",
            one.name(),
            one.claim,
            one.namespace
        ));
    } else if let Some(claim) = known.claims.iter().find(|claim| is_empty(known, claim)) {
        context.report.detail(format!(
            "unknown: what else lies on a claim only the volume tells; ask for one model: kubectl dynamo cache verify \
             MODEL --cache {} -n {}",
            claim.name, claim.namespace
        ));
    }
}

fn rows(known: &Known, all_namespaces: bool, wide: bool) -> String {
    let now = jiff::Timestamp::now();
    let mut headings = vec!["CLAIM", "MODEL", "REVISION", "SIZE", "FILES", "STATE", "USED BY"];
    if all_namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.extend(["COMMIT", "JOB", "CLAIM SIZE", "ACCESS", "PHASE"]);
    }
    let dash = || "-".to_owned();
    let joined = |names: &[String]| if names.is_empty() { dash() } else { names.join(",") };
    let finish = |namespace: &str, mut row: Vec<String>, more: [String; 2], claim: Option<&KnownClaim>| {
        if all_namespaces {
            row.insert(0, namespace.into());
        }
        if wide {
            row.extend(more);
            row.extend(match claim {
                Some(claim) => [claim.size.clone(), claim.access_modes.clone(), claim.phase.clone()],
                None => [dash(), dash(), "absent".into()],
            });
        }
        row
    };
    let of_model = |one: &KnownModel| {
        let claim =
            known.claims.iter().find(|claim| claim.namespace == one.namespace && claim.name == one.claim);
        let fetched = one.fetched.as_ref();
        let row = vec![
            one.claim.clone(),
            one.repository.clone(),
            one.revision.clone(),
            fetched.map_or_else(dash, |fetched| fetched.size.clone()),
            fetched.map_or_else(dash, |fetched| fetched.files.to_string()),
            state(&one.state, now),
            joined(&one.users),
        ];
        let commit = fetched.map_or_else(dash, |fetched| fetched.commit.clone());
        finish(&one.namespace, row, [commit, joined(&one.jobs)], claim)
    };
    let of_claim = |claim: &KnownClaim| {
        let mut row = vec![claim.name.clone()];
        row.extend(std::iter::repeat_n(dash(), 4));
        row.extend(["unknown".into(), joined(&claim.users)]);
        finish(&claim.namespace, row, [dash(), dash()], Some(claim))
    };
    let empty = known.claims.iter().filter(|claim| is_empty(known, claim));
    table(&headings, known.models.iter().map(of_model).chain(empty.map(of_claim)).collect())
}

fn state(state: &State, now: jiff::Timestamp) -> String {
    match state {
        State::Complete { at } => format!("complete, verified {} ago", age(at, now)),
        State::Fetching => "fetching".into(),
        State::Failed { reason, .. } => format!("failed: {reason}"),
        State::Unknown => "unknown".into(),
    }
}

fn document(known: &Known) -> Value {
    let model = |one: &KnownModel| {
        let (state, at, reason) = match &one.state {
            State::Complete { at } => ("complete", Some(at), None),
            State::Fetching => ("fetching", None, None),
            State::Failed { at, reason } => ("failed", Some(at), Some(reason)),
            State::Unknown => ("unknown", None, None),
        };
        let fetched = one.fetched.as_ref();
        json!({
            "namespace": one.namespace, "claim": one.claim, "model": one.repository, "revision": one.revision,
            "state": state, "at": at, "reason": reason, "size": fetched.map(|fetched| &fetched.size),
            "files": fetched.map(|fetched| fetched.files), "commit": fetched.map(|fetched| &fetched.commit),
            "users": one.users, "jobs": one.jobs,
        })
    };
    let claim = |one: &KnownClaim| {
        json!({
            "namespace": one.namespace, "name": one.name, "phase": one.phase, "size": one.size,
            "accessModes": one.access_modes, "users": one.users,
        })
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "ModelCacheList",
        "items": known.models.iter().map(model).collect::<Vec<_>>(),
        "claims": known.claims.iter().map(claim).collect::<Vec<_>>(),
    })
}
