//! Permissions that the API server denied: parses its "forbidden" message into verb, resource, scope, and
//! user. It also builds the hint with the command that grants the permission. Whether a command can continue
//! without the permission is not decided here.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::Regex;

use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::rbac::{Persona, generate_command};

/// Where a permission is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PermissionScope {
    Namespace(String),
    /// All namespaces, or a resource without a namespace.
    Cluster,
}

/// A missing permission, as RBAC describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingPermission {
    pub verb: String,
    /// As kubectl writes it: `jobs.batch`, `pods/log`.
    pub resource: String,
    pub scope: PermissionScope,
    /// The user name known to the API server, if its message contains it.
    pub user: Option<String>,
    /// The rest of the API server's message.
    pub note: String,
}

/// The message of `kube-apiserver` (`k8s.io/apiserver`, `responsewriters.forbiddenMessage`).
static FORBIDDEN_MESSAGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"User "(?<user>[^"]*)" cannot (?<verb>\w+) resource "(?<resource>[^"]+)" in API group "(?<group>[^"]*)""#,
        r#"(?: in the namespace "(?<namespace>[^"]+)"| at the cluster scope)?:?\s*(?<note>.*)"#,
    ))
    .expect("the pattern is a constant that a test compiles")
});

impl MissingPermission {
    /// Parses the API server's message. It names the exact permission, which can differ from the request:
    /// server-side apply of a new object also needs `create`. For an unknown message, the requested
    /// permission is used.
    pub(super) fn parse(message: &str, verb: &str, resource: &str, namespace: &str) -> Self {
        let Some(captures) = FORBIDDEN_MESSAGE.captures(message) else {
            return Self {
                verb: verb.into(),
                resource: resource.into(),
                scope: PermissionScope::Namespace(namespace.into()),
                user: None,
                note: message.into(),
            };
        };
        let part = |name: &str| captures.name(name).map_or("", |part| part.as_str());
        let resource = match (part("resource"), part("group")) {
            (resource, "") => resource.to_owned(),
            (resource, group) => match resource.split_once('/') {
                Some((resource, sub)) => format!("{resource}.{group}/{sub}"),
                None => format!("{resource}.{group}"),
            },
        };
        let scope =
            captures.name("namespace").map(|namespace| PermissionScope::Namespace(namespace.as_str().into()));
        Self {
            verb: part("verb").into(),
            resource,
            scope: scope.unwrap_or(PermissionScope::Cluster),
            user: Some(part("user").into()),
            note: part("note").into(),
        }
    }

    /// The verb and the resource as `kubectl auth can-i` expects them: `list pods`.
    pub fn permission(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    /// The hint: how to get the permission, with commands to paste.
    pub(super) fn hint(&self, persona: Option<Persona>) -> Fix {
        let check = SuggestedCommand::kubectl("auth can-i")
            .operand(&self.verb, "VERB")
            .operand(&self.resource, "RESOURCE");
        let check = match &self.scope {
            PermissionScope::Namespace(namespace) => check.in_namespace(namespace),
            PermissionScope::Cluster => check.flag("-A"),
        };
        let request = match persona {
            Some(persona) => {
                Fix::from("ask an administrator: ").then(self.grant_command(persona)).text("; then check: ")
            }
            None => Fix::from("ask an administrator for it; then check: "),
        };
        request.command(check)
    }

    /// The commands that generate and apply the role and the role binding.
    pub fn grant_command(&self, persona: Persona) -> Fix {
        let namespace = match &self.scope {
            PermissionScope::Namespace(namespace) => Some(namespace.as_str()),
            PermissionScope::Cluster => None,
        };
        generate_command(persona, self.user.as_deref(), namespace)
    }
}

impl std::fmt::Display for PermissionScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "in namespace \"{namespace}\""),
            Self::Cluster => f.write_str("at the cluster scope"),
        }
    }
}

impl std::fmt::Display for MissingPermission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.permission(), self.scope)?;
        if let Some(user) = &self.user {
            write!(f, " as user \"{user}\"")?;
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, ": {}", self.note) }
    }
}

/// The permissions that were denied during a command, without duplicates. A command that continues without a
/// permission reports it at the end.
#[derive(Debug, Clone, Default)]
pub struct MissingPermissions(Arc<Mutex<BTreeSet<MissingPermission>>>);

impl MissingPermissions {
    pub(super) fn record(&self, permission: &MissingPermission) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(permission.clone());
    }

    pub(super) fn remove(&self, permission: &MissingPermission) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(permission);
    }

    /// Drops entries outside `namespace`, which a role in this namespace cannot grant.
    pub(super) fn retain_namespace(&self, namespace: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|permission| permission.scope == PermissionScope::Namespace(namespace.into()));
    }

    /// Removes all entries after they were reported.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All entries, sorted.
    pub fn all(&self) -> Vec<MissingPermission> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(message: &str) -> MissingPermission {
        MissingPermission::parse(message, "patch", "jobs.batch", "serving")
    }

    #[test]
    fn parses_permission_from_forbidden_message() {
        let permission = parse(
            r#"dynamographdeployments.nvidia.com "tiny" is forbidden: User "jane" cannot create resource "dynamographdeployments" in API group "nvidia.com" in the namespace "prod""#,
        );
        assert_eq!(
            permission.to_string(),
            "create dynamographdeployments.nvidia.com in namespace \"prod\" as user \"jane\""
        );
        assert_eq!(
            permission.hint(Some(Persona::Deployer)).to_string(),
            "ask an administrator: kubectl dynamo rbac generate --persona deployer --user jane -n prod \
             | kubectl apply -f -; then check: kubectl auth can-i create dynamographdeployments.nvidia.com -n prod"
        );
    }

    #[test]
    fn parses_service_account_and_cluster_scope() {
        let permission = parse(
            r#"pods is forbidden: User "system:serviceaccount:ci:bot" cannot list resource "pods" in API group "" at the cluster scope: RBAC: role "x" not found"#,
        );
        assert_eq!(permission.scope, PermissionScope::Cluster);
        assert!(permission.to_string().ends_with(
            r#"at the cluster scope as user "system:serviceaccount:ci:bot": RBAC: role "x" not found"#
        ));
        assert!(
            permission.grant_command(Persona::Viewer).to_string().contains("--service-account ci:bot -A")
        );
    }

    #[test]
    fn retain_namespace_drops_other_scopes() {
        let permission = |scope: &str| {
            parse(&format!(r#"User "jane" cannot get resource "configmaps" in API group "" {scope}"#))
        };
        let missing_permissions = MissingPermissions::default();
        for scope in
            [r#"in the namespace "kube-system""#, "at the cluster scope", r#"in the namespace "serving""#]
        {
            missing_permissions.record(&permission(scope));
        }
        missing_permissions.retain_namespace("serving");
        assert_eq!(missing_permissions.all(), [permission(r#"in the namespace "serving""#)]);
    }

    #[test]
    fn unknown_message_falls_back_to_requested_permission() {
        let permission = parse("denied by the authorization webhook");
        assert_eq!(
            permission.to_string(),
            "patch jobs.batch in namespace \"serving\": denied by the authorization webhook"
        );
        assert_eq!(
            permission.hint(None).to_string(),
            "ask an administrator for it; then check: kubectl auth can-i patch jobs.batch -n serving"
        );
    }
}
