//! The RBAC objects of a persona: a role with the rights of the table, and a binding for each subject.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Persona, Right, of_persona};
use crate::intent::Word;
use crate::intent::request::quoted;
use crate::resources::{MANAGER, Resource};

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// What stands outside of every namespace, or is looked at in another one than the deployment's: a Role of its
/// namespace cannot give it.
const OUTSIDE: [&str; 9] = [
    "configmaps",
    "endpointslices.discovery.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "selfsubjectrulesreviews.authorization.k8s.io",
    "storageclasses.storage.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
];

/// Whether only a role of the whole cluster gives a right to it.
pub fn is_outside(resource: &str) -> bool {
    OUTSIDE.contains(&resource)
}

/// Where the rights hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach<'a> {
    Namespace(&'a str),
    /// Every namespace, and what stands outside of them.
    Cluster,
}

/// Who gets the rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

impl Subject {
    /// As a binding names it.
    pub fn object(&self) -> Value {
        match self {
            Self::User(name) => json!({ "kind": "User", "apiGroup": RBAC_GROUP, "name": name }),
            Self::Group(name) => json!({ "kind": "Group", "apiGroup": RBAC_GROUP, "name": name }),
            Self::ServiceAccount { namespace, name } => {
                json!({ "kind": "ServiceAccount", "namespace": namespace, "name": name })
            }
        }
    }

    /// The part of a binding's name that tells it from another subject's: applying one never takes another's rights
    /// away. Names of RBAC objects may hold anything but slashes and per cents.
    fn slug(&self) -> String {
        let text = match self {
            Self::User(name) => format!("user:{name}"),
            Self::Group(name) => format!("group:{name}"),
            Self::ServiceAccount { namespace, name } => format!("{namespace}:{name}"),
        };
        text.replace(['/', '%'], "-")
    }
}

/// The role of a persona, and one binding for each subject.
pub fn manifest(persona: Persona, reach: Reach<'_>, subjects: &[Subject]) -> Vec<Resource> {
    let name = format!("{MANAGER}-{}", persona.as_str());
    let (role_kind, binding_kind) = match reach {
        Reach::Namespace(_) => ("Role", "RoleBinding"),
        Reach::Cluster => ("ClusterRole", "ClusterRoleBinding"),
    };
    let metadata = |name: &str| match reach {
        Reach::Namespace(namespace) => json!({ "name": name, "namespace": namespace }),
        Reach::Cluster => json!({ "name": name }),
    };
    let object = |kind: &str, name: &str| json!({ "apiVersion": format!("{RBAC_GROUP}/v1"), "kind": kind, "metadata": metadata(name) });
    let mut role = object(role_kind, &name);
    role["rules"] = rules(of_persona(persona), reach);
    let bindings = subjects.iter().map(|subject| {
        let mut binding = object(binding_kind, &format!("{name}:{}", subject.slug()));
        binding["roleRef"] = json!({ "apiGroup": RBAC_GROUP, "kind": role_kind, "name": name });
        binding["subjects"] = json!([subject.object()]);
        binding
    });
    let all = std::iter::once(role).chain(bindings);
    all.map(|object| Resource { object }).collect()
}

/// The command that gives a persona's rights to a user, as the API server calls them; in all namespaces where none is
/// named.
pub fn generate_command(persona: Persona, user: Option<&str>, namespace: Option<&str>) -> String {
    let subject = match user.map(|user| (user, user.strip_prefix("system:serviceaccount:"))) {
        Some((_, Some(account))) => format!("--service-account {account}"),
        Some((user, None)) => format!("--user {}", quoted(&[user.to_owned()])),
        None => "--user NAME".into(),
    };
    let place = namespace.map_or_else(|| "-A".into(), |namespace| format!("-n {namespace}"));
    let persona = persona.as_str();
    format!("kubectl dynamo rbac generate --persona {persona} {subject} {place} | kubectl apply -f -")
}

/// RBAC rules for these rights: one for the resources of a group that share their verbs.
pub fn rules(rights: impl IntoIterator<Item = Right>, reach: Reach<'_>) -> Value {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for right in rights {
        if reach == Reach::Cluster || !is_outside(right.resource) {
            verbs.entry(right.group_and_resource()).or_default().insert(right.verb);
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
    fn resources_that_share_their_verbs_share_a_rule() {
        let right = |resource, verb| Right { resource, verb };
        let rights = [
            right("jobs.batch", "get"),
            right("pods", "list"),
            right("pods", "get"),
            right("pods/log", "get"),
            right("events", "get"),
            right("nodes", "list"),
        ];
        assert_eq!(
            rules(rights, Reach::Namespace("serving")),
            json!([
                { "apiGroups": [""], "resources": ["events", "pods/log"], "verbs": ["get"] },
                { "apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"] },
                { "apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get"] },
            ])
        );
        assert!(rules(rights, Reach::Cluster).to_string().contains("nodes"));
    }

    #[test]
    fn each_subject_has_a_binding_of_its_own() {
        let account = Subject::ServiceAccount { namespace: "ci".into(), name: "deploy".into() };
        let subjects = [Subject::User("a/b@example.com".into()), account];
        let objects = manifest(Persona::Viewer, Reach::Namespace("serving"), &subjects);
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
