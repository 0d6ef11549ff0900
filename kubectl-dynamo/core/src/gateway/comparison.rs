//! Compares the entries that a proxy has loaded with the deployments that exist.

use super::matching::address;
use super::{EntryMatch, EntryOwner, ProxyEntry, RoutedDeployment, match_entry};
use crate::intent::StringEnum;

/// The ending of the name of a frontend's Service.
const FRONTEND_SERVICE: &str = "-frontend";

/// The state of an entry or of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryStatus {
    /// The entry routes to a deployment.
    Ok,
    /// The deployment or the model of the entry does not exist, or its base URL is wrong.
    Stale,
    /// A deployment serves a model without an entry.
    Missing,
    /// The deployment of the entry does not list its models now.
    Unknown,
    /// The entry does not belong to a deployment that was looked at.
    Foreign,
}

impl StringEnum for EntryStatus {
    const ALL: &'static [Self] = &[Self::Ok, Self::Stale, Self::Missing, Self::Unknown, Self::Foreign];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Stale => "stale",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Foreign => "foreign",
        }
    }
}

/// Which deployments were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparedScope<'a> {
    AllNamespaces,
    Namespace(&'a str),
    ThisMachine,
}

impl ComparedScope<'_> {
    fn contains_namespace(self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Self::AllNamespaces, Some(_)) | (Self::ThisMachine, None) => true,
            (Self::Namespace(own), Some(namespace)) => own == namespace,
            _ => false,
        }
    }
}

/// One line of the comparison: an entry, or a model without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComparedEntry {
    /// The name that clients use; `None` for a model without an entry.
    pub model_name: Option<String>,
    /// The model string of the entry, or the served name of a model without an entry.
    pub model: String,
    pub api_base: Option<String>,
    pub deployment: Option<EntryOwner>,
    pub status: EntryStatus,
    /// Why the status is not ok; empty if it is.
    pub reason: String,
}

/// Compares all entries with all deployments. Models without an entry come last.
pub fn compare_entries(
    entries: &[ProxyEntry],
    deployments: &[RoutedDeployment],
    scope: ComparedScope<'_>,
) -> Vec<ComparedEntry> {
    let mut compared: Vec<ComparedEntry> =
        entries.iter().map(|entry| compare_entry(entry, deployments, scope)).collect();
    for deployment in deployments {
        let has_route = |name: &str| {
            entries.iter().any(|entry| {
                match_entry(entry, deployment) == EntryMatch::Routes
                    && entry.served_name().is_none_or(|served| served == name)
            })
        };
        let missing = deployment.models.iter().filter(|model| !has_route(&model.name));
        compared.extend(missing.map(|model| ComparedEntry {
            model_name: None,
            model: model.name.clone(),
            api_base: None,
            deployment: Some(deployment.owner.clone()),
            status: EntryStatus::Missing,
            reason: "the proxy does not have an entry for this model".into(),
        }));
    }
    compared
}

fn compare_entry(
    entry: &ProxyEntry,
    deployments: &[RoutedDeployment],
    scope: ComparedScope<'_>,
) -> ComparedEntry {
    let found = deployments
        .iter()
        .map(|deployment| (deployment, match_entry(entry, deployment)))
        .find(|(_, relation)| *relation != EntryMatch::OtherServer);
    let (deployment, status, reason) = match found {
        Some((deployment, relation)) => {
            let (status, reason) = known_server(relation, deployment);
            (Some(deployment.owner.clone()), status, reason)
        }
        None => unknown_server(entry, scope),
    };
    ComparedEntry {
        model_name: Some(entry.model_name.clone()),
        model: entry.model.clone(),
        api_base: entry.api_base.clone(),
        deployment,
        status,
        reason,
    }
}

fn known_server(relation: EntryMatch, deployment: &RoutedDeployment) -> (EntryStatus, String) {
    let names: Vec<&str> = deployment.models.iter().map(|model| model.name.as_str()).collect();
    match relation {
        EntryMatch::Routes | EntryMatch::OtherServer => (EntryStatus::Ok, String::new()),
        EntryMatch::WrongBasePath => (EntryStatus::Stale, "the api_base does not end in /v1".into()),
        EntryMatch::WrongServedName => {
            (EntryStatus::Stale, format!("the deployment serves {}", names.join(", ")))
        }
        EntryMatch::Unverified => {
            (EntryStatus::Unknown, "the deployment does not list its models now".into())
        }
    }
}

/// An entry whose server is not one of the deployments.
fn unknown_server(entry: &ProxyEntry, scope: ComparedScope<'_>) -> (Option<EntryOwner>, EntryStatus, String) {
    if let Some(owner) = &entry.owner {
        return match scope.contains_namespace(owner.namespace.as_deref()) {
            true => (
                Some(owner.clone()),
                EntryStatus::Stale,
                "the deployment does not exist, or has another address".into(),
            ),
            false => (Some(owner.clone()), EntryStatus::Foreign, outside(scope)),
        };
    }
    let address = address(entry);
    let service =
        address.as_ref().and_then(|address| Some((address.service_name()?, address.service_namespace()?)));
    match service {
        Some((name, namespace)) if name.ends_with(FRONTEND_SERVICE) => {
            match scope.contains_namespace(Some(namespace)) {
                true => (None, EntryStatus::Stale, "no deployment has this Service".into()),
                false => (None, EntryStatus::Foreign, outside(scope)),
            }
        }
        _ => (None, EntryStatus::Foreign, "the api_base is not the Service of a frontend".into()),
    }
}

fn outside(scope: ComparedScope<'_>) -> String {
    match scope {
        ComparedScope::Namespace(namespace) => format!("it belongs to another namespace than {namespace}"),
        ComparedScope::AllNamespaces => "it belongs to a deployment outside of this cluster".into(),
        ComparedScope::ThisMachine => "it belongs to a cluster".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::RoutedModel;
    use crate::gateway::entry::tests::deployment;
    use crate::gateway::matching::tests::proxy_entry;

    fn statuses(compared: &[ComparedEntry]) -> Vec<EntryStatus> {
        compared.iter().map(|one| one.status).collect()
    }

    #[test]
    fn each_entry_and_each_model_without_one_has_a_status() {
        let url = |name: &str| format!("http://{name}-frontend.serving.svc:8000/v1");
        let mut two_models = deployment("b", "m");
        two_models.models.push(RoutedModel { name: "adapter".into(), context_length: None });
        let silent = RoutedDeployment { models: Vec::new(), ..deployment("c", "m") };
        let deployments = [deployment("a", "m"), two_models, silent];
        let entries = [
            proxy_entry("m", "hosted_vllm/m", &url("a")),
            proxy_entry("m", "hosted_vllm/m", &url("b")),
            proxy_entry("old", "hosted_vllm/old-name", &url("a")),
            proxy_entry("m", "hosted_vllm/m", "http://a-frontend.serving.svc:8000"),
            proxy_entry("c", "hosted_vllm/m", &url("c")),
            proxy_entry("gone", "hosted_vllm/m", &url("gone")),
            proxy_entry("gpt", "openai/gpt-4o", "https://api.example.com/v1"),
            proxy_entry("else", "hosted_vllm/m", "http://a-frontend.other.svc:8000/v1"),
        ];
        let compared = compare_entries(&entries, &deployments, ComparedScope::Namespace("serving"));
        use EntryStatus::{Foreign, Missing, Ok, Stale, Unknown};
        assert_eq!(statuses(&compared), [Ok, Ok, Stale, Stale, Unknown, Stale, Foreign, Foreign, Missing]);
        assert_eq!(compared[2].reason, "the deployment serves m");
        assert_eq!((compared[8].model.as_str(), &compared[8].model_name), ("adapter", &None));
        assert!(compared.iter().all(|one| one.reason.is_empty() == (one.status == Ok)));
        let all = compare_entries(&entries, &deployments, ComparedScope::AllNamespaces);
        assert_eq!(all[7].status, Stale);
    }

    #[test]
    fn entry_of_a_deleted_local_deployment_is_known_by_its_owner() {
        let owner = EntryOwner { namespace: None, name: "tiny".into() };
        let entry = ProxyEntry {
            owner: Some(owner.clone()),
            ..proxy_entry("m", "hosted_vllm/m", "http://127.0.0.1:8000/v1")
        };
        let entries = [entry];
        let here = compare_entries(&entries, &[], ComparedScope::ThisMachine);
        assert_eq!((here[0].status, here[0].deployment.as_ref()), (EntryStatus::Stale, Some(&owner)));
        let cluster = compare_entries(&entries, &[], ComparedScope::AllNamespaces);
        assert_eq!(cluster[0].status, EntryStatus::Foreign);
    }
}
