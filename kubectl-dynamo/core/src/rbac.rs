//! The Kubernetes API permissions that each command uses. RBAC objects and the messages about missing
//! permissions are derived from one table. A test compares the table with the requests that the commands send
//! to an API server.

mod manifest;
pub mod table;

use std::collections::{BTreeMap, BTreeSet};

use crate::intent::StringEnum;
pub use manifest::{RbacSubject, RuleScope, generate_command, needs_cluster_role, render_rbac, to_rules};
pub use table::TABLE;

/// A set of permissions for a kind of user. Each persona includes the permissions of the personas before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Persona {
    /// Reads deployments and does not change anything.
    Viewer,
    /// Deploys models and sends requests to them.
    Deployer,
    /// Operates the platform in all namespaces.
    Platform,
}

impl StringEnum for Persona {
    const ALL: &'static [Self] = &[Self::Viewer, Self::Deployer, Self::Platform];

    fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Platform => "platform",
        }
    }
}

/// What a command does without a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// The command's persona does not grant the permission. The command uses it if another persona grants it,
    /// and otherwise reports what it skips.
    Inherited,
    /// The command continues and reports what it skips.
    Optional,
    /// The command fails.
    Required,
}

/// Permissions on one resource.
#[derive(Debug, Clone, Copy)]
pub struct ResourcePermissions {
    /// Resource in kubectl's notation, with its group or subresource: `jobs.batch`, `pods/log`.
    pub resource: &'static str,
    /// RBAC verbs.
    pub verbs: &'static [&'static str],
    pub requirement: Requirement,
}

/// The permissions that one command uses.
#[derive(Debug, Clone, Copy)]
pub struct CommandPermissions {
    /// The command as the user types it, for example `up` or `cache rm`.
    pub command: &'static str,
    /// The first persona that has all required permissions.
    pub persona: Persona,
    pub permission_groups: &'static [&'static [ResourcePermissions]],
}

/// One RBAC verb on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    pub resource: &'static str,
    pub verb: &'static str,
}

impl std::fmt::Display for Permission {
    /// Writes the notation of `kubectl auth can-i`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)
    }
}

impl Permission {
    /// The API group (empty for the core group) and the resource with its subresource. For `jobs.batch`:
    /// group `batch`, resource `jobs`.
    pub fn group_and_resource(&self) -> (&'static str, &'static str) {
        match self.resource.split_once('.') {
            Some((plural, group)) => (group, plural),
            None => ("", self.resource),
        }
    }
}

impl CommandPermissions {
    /// Every permission and whether the command requires it.
    pub fn permissions(&self) -> BTreeMap<Permission, Requirement> {
        let mut permissions = BTreeMap::new();
        for rule in self.permission_groups.iter().copied().flatten() {
            for verb in rule.verbs {
                let requirement = permissions
                    .entry(Permission { resource: rule.resource, verb })
                    .or_insert(rule.requirement);
                *requirement = rule.requirement.max(*requirement);
            }
        }
        permissions
    }

    fn has_permission(&self, verb: &str, resource: &str) -> bool {
        self.permissions().iter().any(|(permission, requirement)| {
            permission.verb == verb
                && permission.resource == resource
                && *requirement != Requirement::Inherited
        })
    }
}

/// The permissions of a command. `None` if the command does not query a cluster.
pub fn command_permissions(command: &str) -> Option<&'static CommandPermissions> {
    TABLE.iter().find(|row| row.command == command)
}

/// All permissions of a persona.
pub fn persona_permissions(persona: Persona) -> BTreeSet<Permission> {
    let rows = TABLE.iter().filter(|row| row.persona <= persona);
    let granted = rows
        .flat_map(CommandPermissions::permissions)
        .filter(|(_, requirement)| *requirement != Requirement::Inherited);
    granted.map(|(permission, _)| permission).collect()
}

/// The persona that grants a permission: the persona of the command if it grants the permission, otherwise
/// the first one that does. `None` if no persona grants it.
pub fn persona_granting(command: &str, verb: &str, resource: &str) -> Option<Persona> {
    let for_command =
        command_permissions(command).filter(|row| row.has_permission(verb, resource)).map(|row| row.persona);
    let least = TABLE.iter().filter(|row| row.has_permission(verb, resource)).map(|row| row.persona).min();
    for_command.or(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_one_row_and_permissions_use_known_verbs() {
        let commands: BTreeSet<&str> = TABLE.iter().map(|row| row.command).collect();
        assert_eq!(commands.len(), TABLE.len());
        for row in TABLE {
            assert!(
                !row.permissions().is_empty(),
                "{} does not use permissions: remove the row",
                row.command
            );
            for permission in row.permissions().keys() {
                let known = ["get", "list", "watch", "create", "patch", "delete"];
                assert!(known.contains(&permission.verb), "{}: {permission}", row.command);
            }
        }
    }

    #[test]
    fn each_persona_includes_the_previous_one() {
        let [viewer, deployer, platform] =
            [Persona::Viewer, Persona::Deployer, Persona::Platform].map(persona_permissions);
        assert!(viewer.is_subset(&deployer) && deployer.is_subset(&platform));
    }

    #[test]
    fn viewer_is_read_only_and_cannot_read_secrets() {
        for permission in persona_permissions(Persona::Viewer) {
            assert!(["get", "list", "watch"].contains(&permission.verb), "{permission}");
            assert!(
                !["secrets", "pods/portforward", "pods/exec"].contains(&permission.resource),
                "{permission}"
            );
        }
    }

    #[test]
    fn prefers_the_persona_of_the_running_command() {
        assert_eq!(persona_granting("up", "list", "pods"), Some(Persona::Deployer));
        assert_eq!(persona_granting("status", "list", "pods"), Some(Persona::Viewer));
        assert_eq!(persona_granting("status", "create", "pods/portforward"), Some(Persona::Deployer));
        assert_eq!(persona_granting("status", "delete", "nodes"), None);
    }
}
