//! `cache list`: prints the models on PVCs, as far as the API objects show them.
//! It must not start a pod; `cache verify` inspects a volume.

use clap::Args;
use serde_json::{Value, json};

use super::inventory::{self, CacheInventory, CacheState, CacheVolume, CachedModel, PermissionPolicy};
use crate::commands::output_flag::output_parser;
use crate::context::Context;
use crate::output::{ListFormat, PrintFormat, print_data};
use crate::render::list::ListColumns;
use crate::render::table::table;
use crate::typed_command::typed;
use crate::workflow::summary::age;
use kubectl_dynamo_cluster::NamespaceScope;
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::{Exit, Result};

/// List the models on PVCs with revision, size, completeness, and users
#[derive(Args)]
#[command(visible_alias = "ls")]
pub(in crate::commands) struct CacheListArgs {
    /// Output format
    #[arg(short, long, value_parser = output_parser::<ListFormat>(), default_value = "table")]
    pub output: PrintFormat<ListFormat>,
}

pub(super) async fn run(args: &CacheListArgs, context: &Context) -> Result<Exit> {
    let cluster = context.cluster().await?;
    let scope = context.kube.scope();
    let inventory = inventory::gather(&cluster, scope, PermissionPolicy::BestEffort).await?;
    let is_data_format = args.output.is_document();
    if inventory.volumes.is_empty() && inventory.models.is_empty() && !is_data_format {
        let place = match scope {
            NamespaceScope::AllNamespaces => "any namespace".into(),
            NamespaceScope::OneNamespace => format!("namespace \"{}\"", cluster.namespace),
        };
        context.report.info(format!("no model PVCs found in {place}"));
        return Ok(Exit::Ok);
    }
    let own_text = |own| match own {
        ListFormat::Table => rows(&inventory, scope, ListColumns::Standard),
        ListFormat::Wide => rows(&inventory, scope, ListColumns::Wide),
        ListFormat::Name => inventory.models.iter().map(|one| format!("{}\n", one.name())).collect(),
    };
    print_data(&args.output.text(|| document(&inventory), own_text)?)?;
    if !is_data_format {
        if args.output == PrintFormat::Own(ListFormat::Table) {
            report_failures(&inventory, context);
        }
        report_unknown(&inventory, context);
    }
    Ok(Exit::Ok)
}

impl CachedModel {
    /// Returns the name in the form `org/name@revision`.
    pub(super) fn name(&self) -> String {
        format!("{}@{}", self.repository, self.revision)
    }
}

fn has_no_models(inventory: &CacheInventory, volume: &CacheVolume) -> bool {
    !inventory.models.iter().any(|one| one.namespace == volume.namespace && one.pvc == volume.name)
}

/// Reports why the fetch of a model failed. The reason is too long for a column.
fn report_failures(inventory: &CacheInventory, context: &Context) {
    for one in &inventory.models {
        if let CacheState::Failed { reason, .. } = &one.state {
            context.report.info(format!("failed: {} on PVC \"{}\": {reason}", one.name(), one.pvc));
        }
    }
}

/// Reports how to inspect what API objects do not show: only a pod can read the files of a volume.
fn report_unknown(inventory: &CacheInventory, context: &Context) {
    let unknown = inventory.models.iter().find(|one| one.state == CacheState::Unknown);
    if let Some(one) = unknown {
        let verify = verify_command(&one.name(), &one.pvc, &one.namespace);
        context.report.info(typed(verify.after("unknown: only the volume has the state; run ")));
    } else if let Some(volume) = inventory.volumes.iter().find(|volume| has_no_models(inventory, volume)) {
        let verify = verify_command("", &volume.name, &volume.namespace);
        let text = "unknown: only the volume has the other models; to check one, run ";
        context.report.info(typed(verify.after(text)));
    }
}

fn verify_command(model: &str, pvc: &str, namespace: &str) -> SuggestedCommand {
    let verify = SuggestedCommand::plugin("cache verify").operand(model, "MODEL").in_namespace(namespace);
    verify.flag("--cache").flag(pvc)
}

fn rows(inventory: &CacheInventory, scope: NamespaceScope, columns: ListColumns) -> String {
    let (all_namespaces, wide) = (scope == NamespaceScope::AllNamespaces, columns == ListColumns::Wide);
    let now = jiff::Timestamp::now();
    let mut headings = vec!["PVC", "MODEL", "REVISION", "SIZE", "FILES", "STATE", "USED BY"];
    if all_namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if wide {
        headings.extend(["COMMIT", "JOB", "PVC SIZE", "ACCESS", "PHASE"]);
    }
    let dash = || "-".to_owned();
    let join_or_dash = |names: &[String]| if names.is_empty() { dash() } else { names.join(",") };
    let add_optional_columns =
        |namespace: &str, mut row: Vec<String>, wide_columns: [String; 2], volume: Option<&CacheVolume>| {
            if all_namespaces {
                row.insert(0, namespace.into());
            }
            if wide {
                row.extend(wide_columns);
                row.extend(match volume {
                    Some(volume) => [volume.size.clone(), volume.access_modes.clone(), volume.phase.clone()],
                    None => [dash(), dash(), "not found".into()],
                });
            }
            row
        };
    let model_row = |one: &CachedModel| {
        let volume = inventory
            .volumes
            .iter()
            .find(|volume| volume.namespace == one.namespace && volume.name == one.pvc);
        let fetch_summary = one.fetch_summary.as_ref();
        let row = vec![
            one.pvc.clone(),
            one.repository.clone(),
            one.revision.clone(),
            fetch_summary.map_or_else(dash, |fetch_summary| fetch_summary.size.clone()),
            fetch_summary.map_or_else(dash, |fetch_summary| fetch_summary.files.to_string()),
            state(&one.state, now, columns),
            join_or_dash(&one.users),
        ];
        let commit = fetch_summary.map_or_else(dash, |fetch_summary| fetch_summary.commit.clone());
        add_optional_columns(&one.namespace, row, [commit, join_or_dash(&one.jobs)], volume)
    };
    let volume_row = |volume: &CacheVolume| {
        let mut row = vec![volume.name.clone()];
        row.extend(std::iter::repeat_n(dash(), 4));
        row.extend(["unknown".into(), join_or_dash(&volume.users)]);
        add_optional_columns(&volume.namespace, row, [dash(), dash()], Some(volume))
    };
    let volumes_without_models = inventory.volumes.iter().filter(|volume| has_no_models(inventory, volume));
    table(
        &headings,
        inventory.models.iter().map(model_row).chain(volumes_without_models.map(volume_row)).collect(),
    )
}

/// Returns the text of the `STATE` column. The reason of a failure has its own line, unless the table is wide.
fn state(state: &CacheState, now: jiff::Timestamp, columns: ListColumns) -> String {
    match state {
        CacheState::Complete { at } => format!("complete, verified {} ago", age(at, now)),
        CacheState::Fetching => "fetching".into(),
        CacheState::Failed { reason, .. } if columns == ListColumns::Wide => format!("failed: {reason}"),
        CacheState::Failed { .. } => "failed".into(),
        CacheState::Unknown => "unknown".into(),
    }
}

fn document(inventory: &CacheInventory) -> Value {
    let model = |one: &CachedModel| {
        let (state, at, reason) = match &one.state {
            CacheState::Complete { at } => ("complete", Some(at), None),
            CacheState::Fetching => ("fetching", None, None),
            CacheState::Failed { at, reason } => ("failed", Some(at), Some(reason)),
            CacheState::Unknown => ("unknown", None, None),
        };
        let fetch_summary = one.fetch_summary.as_ref();
        json!({
            "namespace": one.namespace, "pvc": one.pvc, "model": one.repository, "revision": one.revision,
            "state": state, "at": at, "reason": reason, "size": fetch_summary.map(|fetch_summary| &fetch_summary.size),
            "files": fetch_summary.map(|fetch_summary| fetch_summary.files), "commit": fetch_summary.map(|fetch_summary| &fetch_summary.commit),
            "users": one.users, "jobs": one.jobs,
        })
    };
    let volume = |one: &CacheVolume| {
        json!({
            "namespace": one.namespace, "name": one.name, "phase": one.phase, "size": one.size,
            "accessModes": one.access_modes, "users": one.users,
        })
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "ModelCacheList",
        "items": inventory.models.iter().map(model).collect::<Vec<_>>(),
        "pvcs": inventory.volumes.iter().map(volume).collect::<Vec<_>>(),
    })
}
