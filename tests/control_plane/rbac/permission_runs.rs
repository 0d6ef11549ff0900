//! Runs a verb with the permissions of its persona, and once without each permission that it uses.

use std::collections::BTreeMap;

use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::rbac::{CommandPermissions, Permission, Requirement, needs_cluster_role};
use kubectl_dynamo_tests::Outcome;
use kubectl_dynamo_tests::plugin::PluginOutput;

use super::fixture::{RbacFixture, VerbRun};
use super::{is_not_exercised_here, is_not_reached};

/// The runs that use each permission.
pub(super) type UsedPermissions = BTreeMap<Permission, Vec<usize>>;

/// Runs a verb with its persona's permissions; returns which runs used which permission.
pub(super) async fn run_with_persona(
    stage: &mut RbacFixture<'_>,
    row: &CommandPermissions,
    runs: &[VerbRun],
    failures: &mut String,
) -> Outcome<UsedPermissions> {
    let user = stage.grant_persona(row.persona).await?;
    let permissions = row.permissions();
    let mut used = UsedPermissions::new();
    let is_unused = |used: &UsedPermissions, permission: &Permission| {
        !used.contains_key(permission) && !is_not_exercised_here(row.command, *permission)
    };
    let longer = runs.iter().map(VerbRun::with_longer_timeout);
    for (index, run) in runs.iter().cloned().chain(longer).enumerate() {
        if index >= runs.len() && !permissions.keys().any(|permission| is_unused(&used, permission)) {
            break;
        }
        let (index, run) = (index % runs.len(), &run);
        let (output, requested) = stage.run(run, &user).await?;
        for (permission, need) in &permissions {
            let is_granted = *need != Requirement::Inherited && !needs_cluster_role(permission.resource);
            if is_granted && names_missing_permission(&output, permission, stage) {
                *failures += &format!(
                    "{run}: {} lacks a permission\n{}{}\n",
                    row.persona.as_str(),
                    output.out,
                    output.err
                );
            }
        }
        if output.code == Some(4) {
            *failures += &format!("{run}: no access\n{}\n", output.err);
        }
        for request in requested {
            match permissions.keys().find(|permission| permission.to_string() == request) {
                Some(permission) => {
                    used.entry(*permission).or_default().push(index);
                }
                None => {
                    *failures += &format!("{run} uses {request}, which its row of the table does not have\n")
                }
            }
        }
    }
    for permission in permissions.keys().filter(|permission| is_unused(&used, permission)) {
        *failures += &format!("{} never uses {permission}, which its row of the table has\n", row.command);
    }
    Ok(used)
}

/// Runs a verb once for each permission that it uses, without that permission. A permission that is optional
/// in one run may be required in a later one.
pub(super) async fn run_without_each_permission(
    stage: &mut RbacFixture<'_>,
    row: &CommandPermissions,
    runs: &[VerbRun],
    used: &UsedPermissions,
    failures: &mut String,
) -> Outcome {
    let permissions = row.permissions();
    // Cluster-scoped permissions were missing in all runs.
    // Only the status of the autoscaler in another namespace is read.
    let is_elsewhere =
        |permission: &Permission| permission.resource == "configmaps" && row.command == "check";
    let inside = used.keys().filter(|one| !needs_cluster_role(one.resource) && !is_elsewhere(one));
    let users = stage.grant_all_but_one(row, inside).await?;
    for (permission, user) in users {
        let need = if is_not_reached(row.command, permission) {
            Requirement::Optional
        } else {
            permissions[&permission]
        };
        let mut failure = String::new();
        for run in used[&permission].iter().map(|index| &runs[*index]) {
            let run = VerbRun { until_request: None, ..run.clone() };
            let (mut output, mut requested) = stage.run(&run, &user).await?;
            if output.code == Some(3) && !names_missing_permission(&output, &permission, stage) {
                (output, requested) = stage.run(&run.with_longer_timeout(), &user).await?;
            }
            failure = format!(
                "{run} without permission {permission} ({need:?}): {:?}\n{}{}\n",
                output.code, output.out, output.err
            );
            let has_continued = output.code != Some(4);
            let is_expected_exit = has_continued
                || (need == Requirement::Required && is_access_error_with_hint(&output, row, &user, stage));
            // It may exit before it uses every permission, or before the answer about a log that broke off arrives.
            let is_about_broken_log = (permission.resource, permission.verb) == ("pods", "get");
            let must_be_reported = need == Requirement::Required
                || (requested.contains(&permission.to_string()) && !is_about_broken_log);
            if !is_expected_exit
                || (must_be_reported && !names_missing_permission(&output, &permission, stage))
            {
                break;
            }
            if !has_continued || need != Requirement::Required {
                failure.clear();
                break;
            }
        }
        *failures += &failure;
    }
    Ok(())
}

/// Returns whether it ended because of missing access and printed the command that grants it.
fn is_access_error_with_hint(
    output: &PluginOutput,
    row: &CommandPermissions,
    user: &str,
    stage: &RbacFixture<'_>,
) -> bool {
    // A preflight check knows the permissions of the user but not the user's name.
    let has_hint = [user, "NAME"].iter().any(|user| {
        let (persona, namespace) = (row.persona.as_str(), stage.name());
        output.err.contains(&format!("rbac generate --persona {persona} --user {user} -n {namespace}"))
    });
    output.code == Some(4) && output.err.contains("KD0105") && has_hint
}

/// Returns whether the missing permission and its namespace are printed. A preflight check prints all missing
/// ones at once.
fn names_missing_permission(output: &PluginOutput, permission: &Permission, stage: &RbacFixture<'_>) -> bool {
    let (permission, location) = (permission.to_string(), format!("in namespace \"{}\"", stage.name()));
    [&output.out, &output.err].iter().any(|text| {
        let lists =
            text.split("missing permission to ").skip(1).filter_map(|rest| rest.split_once(&location));
        lists.flat_map(|(list, _)| list.trim_end().split(", ")).any(|one| one == permission)
    })
}
