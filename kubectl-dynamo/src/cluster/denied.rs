//! A right that the API server refused: which one, to whom and where, read from its own words; and who gives it.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use regex::Regex;

use crate::rights::{Persona, generate_command};

/// Where a right is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Namespace(String),
    /// Asked of all namespaces, or of something outside of them.
    Cluster,
}

/// A right that is missing, in RBAC's words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    pub verb: String,
    /// As kubectl spells it: `jobs.batch`, `pods/log`.
    pub resource: String,
    pub place: Place,
    /// The user as the API server knows them, where it says so.
    pub user: Option<String>,
    /// What else the API server says.
    pub note: String,
}

/// `kube-apiserver`'s sentence (`k8s.io/apiserver`, `responsewriters.forbiddenMessage`).
static SENTENCE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r#"User "(?<user>[^"]*)" cannot (?<verb>\w+) resource "(?<resource>[^"]+)" in API group "(?<group>[^"]*)""#,
        r#"(?: in the namespace "(?<namespace>[^"]+)"| at the cluster scope)?:?\s*(?<note>.*)"#,
    ))
    .expect("the pattern is a constant, and a test compiles it")
});

impl Denied {
    /// Reads the API server's message. It names the very right, which what was asked for only hints at: a server-side
    /// apply of a new object needs `create` too. Where its words are others, what was asked for stands.
    pub(super) fn read(message: &str, verb: &str, resource: &str, namespace: &str) -> Self {
        let Some(said) = SENTENCE.captures(message) else {
            return Self {
                verb: verb.into(),
                resource: resource.into(),
                place: Place::Namespace(namespace.into()),
                user: None,
                note: message.into(),
            };
        };
        let resource = match (&said["resource"], &said["group"]) {
            (resource, "") => resource.to_owned(),
            (resource, group) => match resource.split_once('/') {
                Some((resource, sub)) => format!("{resource}.{group}/{sub}"),
                None => format!("{resource}.{group}"),
            },
        };
        let place = said.name("namespace").map(|namespace| Place::Namespace(namespace.as_str().into()));
        Self {
            verb: said["verb"].into(),
            resource,
            place: place.unwrap_or(Place::Cluster),
            user: Some(said["user"].into()),
            note: said["note"].into(),
        }
    }

    /// `list pods`, as `kubectl auth can-i` takes it.
    pub fn right(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    /// What to do about it, with commands to paste.
    pub(super) fn remedy(&self, persona: Option<Persona>) -> String {
        let place = self.place.flag();
        let check = format!("check: kubectl auth can-i {} {place}", self.right());
        match persona {
            Some(persona) => format!("ask an admin for it: {}; then {check}", self.generate(persona)),
            None => format!("ask an admin for it; then {check}"),
        }
    }

    /// The command that makes the role and the binding.
    pub fn generate(&self, persona: Persona) -> String {
        let namespace = match &self.place {
            Place::Namespace(namespace) => Some(namespace.as_str()),
            Place::Cluster => None,
        };
        generate_command(persona, self.user.as_deref(), namespace)
    }
}

impl Place {
    /// As kubectl takes it.
    fn flag(&self) -> String {
        match self {
            Self::Namespace(namespace) => format!("-n {namespace}"),
            Self::Cluster => "-A".into(),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Namespace(namespace) => write!(f, "in namespace {namespace}"),
            Self::Cluster => f.write_str("in the whole cluster"),
        }
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.right(), self.place)?;
        if let Some(user) = &self.user {
            write!(f, " as {user}")?;
        }
        if self.note.is_empty() { Ok(()) } else { write!(f, ": {}", self.note) }
    }
}

/// The rights that were refused while a verb ran, each once. A verb that goes on without one says so at its end.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Mutex<BTreeSet<Denied>>>);

impl Refusals {
    pub(super) fn note(&self, denied: &Denied) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(denied.clone());
    }

    pub(super) fn forget(&self, denied: &Denied) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(denied);
    }

    /// Keeps what a role of this namespace can give.
    pub(super) fn forget_outside(&self, namespace: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|denied| denied.place == Place::Namespace(namespace.into()));
    }

    /// All of them are told.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// All of them.
    pub fn all(&self) -> Vec<Denied> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Denied {
        Denied::read(message, "patch", "jobs.batch", "serving")
    }

    #[test]
    fn the_servers_own_words_name_the_right() {
        let denied = read(
            r#"dynamographdeployments.nvidia.com "tiny" is forbidden: User "jane" cannot create resource "dynamographdeployments" in API group "nvidia.com" in the namespace "prod""#,
        );
        assert_eq!(denied.to_string(), "create dynamographdeployments.nvidia.com in namespace prod as jane");
        assert_eq!(
            denied.remedy(Some(Persona::Deployer)),
            "ask an admin for it: kubectl dynamo rbac generate --persona deployer --user jane -n prod | kubectl apply \
             -f -; then check: kubectl auth can-i create dynamographdeployments.nvidia.com -n prod"
        );
    }

    #[test]
    fn a_service_account_and_the_whole_cluster_are_told_apart() {
        let denied = read(
            r#"pods is forbidden: User "system:serviceaccount:ci:bot" cannot list resource "pods" in API group "" at the cluster scope: RBAC: role "x" not found"#,
        );
        assert_eq!(denied.place, Place::Cluster);
        assert!(
            denied.to_string().ends_with(
                r#"in the whole cluster as system:serviceaccount:ci:bot: RBAC: role "x" not found"#
            )
        );
        assert!(denied.generate(Persona::Viewer).contains("--service-account ci:bot -A"));
    }

    #[test]
    fn what_a_role_of_the_namespace_cannot_give_is_forgotten() {
        let sentence = |place: &str| {
            read(&format!(r#"User "jane" cannot get resource "configmaps" in API group "" {place}"#))
        };
        let refusals = Refusals::default();
        for place in
            [r#"in the namespace "kube-system""#, "at the cluster scope", r#"in the namespace "serving""#]
        {
            refusals.note(&sentence(place));
        }
        refusals.forget_outside("serving");
        assert_eq!(refusals.all(), [sentence(r#"in the namespace "serving""#)]);
    }

    #[test]
    fn other_words_leave_what_was_asked_for() {
        let denied = read("no, says the authorization webhook");
        assert_eq!(
            denied.to_string(),
            "patch jobs.batch in namespace serving: no, says the authorization webhook"
        );
        assert_eq!(
            denied.remedy(None),
            "ask an admin for it; then check: kubectl auth can-i patch jobs.batch -n serving"
        );
    }
}
