//! Renders the RBAC objects of a persona: a role with the permissions of the table, and a binding for each
//! subject. Bindings of different subjects must have different names, so that an apply never removes another
//! subject.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Permission, Persona, persona_permissions};
use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME};
use crate::intent::StringEnum;
use crate::resources::{FIELD_MANAGER, Resource};

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// Resources that are cluster-scoped or that the plugin reads in other namespaces. A Role in the deployment's
/// namespace cannot grant access to them.
const CLUSTER_ROLE_RESOURCES: [&str; 8] = [
    "endpointslices.discovery.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "storageclasses.storage.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];

/// Whether only a ClusterRole can grant permissions on the resource.
pub fn needs_cluster_role(resource: &str) -> bool {
    CLUSTER_ROLE_RESOURCES.contains(&resource)
}

/// Scope of the permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleScope<'a> {
    Namespace(&'a str),
    /// All namespaces and cluster-scoped resources.
    Cluster,
}

/// The subject that receives the permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RbacSubject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl RbacSubject {
    /// The subject in the notation of a binding.
    pub fn object(&self) -> Value {
        match self {
            Self::User(name) => json!({ "kind": "User", "apiGroup": RBAC_GROUP, "name": name }),
            Self::Group(name) => json!({ "kind": "Group", "apiGroup": RBAC_GROUP, "name": name }),
            Self::ServiceAccount { namespace, name } => {
                json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
            }
        }
    }

    /// Part of the binding name that is unique for the subject, so that applying one binding never replaces
    /// another. Names of RBAC objects may contain every character except slash and percent.
    fn slug(&self) -> String {
        let text = match self {
            Self::User(name) => format!("user:{name}"),
            Self::Group(name) => format!("group:{name}"),
            Self::ServiceAccount { namespace, name } => format!("{namespace}:{name}"),
        };
        text.replace(['/', '%'], "-")
    }
}

/// Renders the role of a persona and one binding for each subject.
pub fn render_rbac(persona: Persona, scope: RuleScope<'_>, subjects: &[RbacSubject]) -> Vec<Resource> {
    let name = format!("{FIELD_MANAGER}-{}", persona.as_str());
    let (role_kind, binding_kind) = match scope {
        RuleScope::Namespace(_) => ("Role", "RoleBinding"),
        RuleScope::Cluster => ("ClusterRole", "ClusterRoleBinding"),
    };
    let metadata = |name: &str| match scope {
        RuleScope::Namespace(namespace) => json!({ "name": name, "namespace": namespace }),
        RuleScope::Cluster => json!({ "name": name }),
    };
    let api_version = format!("{RBAC_GROUP}/v1");
    let role = json!({
        "apiVersion": api_version, "kind": role_kind, "metadata": metadata(&name),
        "rules": to_rules(persona_permissions(persona), scope),
    });
    let bindings = subjects.iter().map(|subject| {
        json!({
            "apiVersion": api_version, "kind": binding_kind,
            "metadata": metadata(&format!("{name}:{}", subject.slug())),
            "roleRef": { "apiGroup": RBAC_GROUP, "kind": role_kind, "name": name },
            "subjects": [subject.object()],
        })
    });
    let objects = std::iter::once(role).chain(bindings);
    objects.map(|object| Resource { object }).collect()
}

/// The command that grants a persona to a user. `user` is the name in the API server. Without a namespace,
/// the command grants the persona in all namespaces.
pub fn generate_command(persona: Persona, user: Option<&str>, namespace: Option<&str>) -> Fix {
    let [flag, subject] = match user.map(|user| (user, user.strip_prefix("system:serviceaccount:"))) {
        Some((_, Some(account))) => ["--service-account", account],
        Some((user, None)) => ["--user", user],
        None => ["--user", UNKNOWN_NAME],
    };
    let generate = SuggestedCommand::plugin("rbac generate").flag("--persona").flag(persona.as_str());
    let generate = generate.flag(flag).flag(subject);
    let generate = match namespace {
        Some(namespace) => generate.flag("-n").flag(namespace),
        None => generate.flag("-A"),
    };
    let apply = SuggestedCommand::kubectl("apply").flag("-f").flag("-").cluster_scoped();
    Fix::from(generate.on_this_machine()).text(" | ").command(apply)
}

/// Converts permissions to RBAC rules. Resources of a group with the same verbs share a rule.
pub fn to_rules(permissions: impl IntoIterator<Item = Permission>, scope: RuleScope<'_>) -> Value {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for permission in permissions {
        if scope == RuleScope::Cluster || !needs_cluster_role(permission.resource) {
            verbs.entry(permission.group_and_resource()).or_default().insert(permission.verb);
        }
    }
    let mut rules: BTreeMap<(&str, Vec<&str>), Vec<&str>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        rules.entry((group, verbs.into_iter().collect())).or_default().push(resource);
    }
    rules
        .into_iter()
        .map(|((group, verbs), resources)| {
            json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_with_equal_verbs_share_a_rule() {
        let permission = |resource, verb| Permission { resource, verb };
        let permissions = [
            permission("jobs.batch", "get"),
            permission("pods", "list"),
            permission("pods", "get"),
            permission("pods/log", "get"),
            permission("events", "get"),
            permission("nodes", "list"),
        ];
        assert_eq!(
            to_rules(permissions, RuleScope::Namespace("serving")),
            json!([
                { "apiGroups": [""], "resources": ["events", "pods/log"], "verbs": ["get"] },
                { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] },
                { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"] },
            ])
        );
        assert!(to_rules(permissions, RuleScope::Cluster).to_string().contains("nodes"));
    }

    #[test]
    fn each_subject_gets_a_separate_binding() {
        let account = RbacSubject::ServiceAccount { namespace: "ci".into(), name: "deploy".into() };
        let subjects = [RbacSubject::User("a/b@example.com".into()), account];
        let objects = render_rbac(Persona::Viewer, RuleScope::Namespace("serving"), &subjects);
        let names: Vec<&str> = objects.iter().map(Resource::name).collect();
        assert_eq!(
            names,
            [
                "kubectl-dynamo-viewer",
                "kubectl-dynamo-viewer:user:a-b@example.com",
                "kubectl-dynamo-viewer:ci:deploy"
            ]
        );
        assert_eq!(objects[1].object["subjects"][0]["name"], "a/b@example.com");
        assert_eq!(objects[2].object["roleRef"]["kind"], "Role");
    }
}
