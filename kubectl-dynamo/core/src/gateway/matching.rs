//! Whether an entry of a proxy routes to a deployment, and what is wrong with it otherwise.

use super::{GatewayAddress, ProxyEntry, RoutedDeployment};

/// The path below which a frontend serves the OpenAI API.
const API_PATH: &str = "/v1";

/// How an entry relates to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryMatch {
    Routes,
    /// The server of the deployment, with another path than `/v1`.
    WrongBasePath,
    /// The server of the deployment, with a name that it does not list.
    WrongServedName,
    /// The server of the deployment, whose models are not known.
    Unverified,
    OtherServer,
}

/// Compares an entry with a deployment.
pub fn match_entry(entry: &ProxyEntry, deployment: &RoutedDeployment) -> EntryMatch {
    let addresses = (address(entry), GatewayAddress::parse(&deployment.base_url));
    let (Some(own), Some(expected)) = addresses else { return EntryMatch::OtherServer };
    if !own.is_same_server(&expected) {
        return EntryMatch::OtherServer;
    }
    let lists = |name: &str| deployment.models.iter().any(|model| model.name == name);
    match entry.served_name() {
        _ if own.path() != API_PATH => EntryMatch::WrongBasePath,
        _ if deployment.models.is_empty() => EntryMatch::Unverified,
        Some(name) if !lists(name) => EntryMatch::WrongServedName,
        _ => EntryMatch::Routes,
    }
}

/// The address that an entry sends requests to.
pub(super) fn address(entry: &ProxyEntry) -> Option<GatewayAddress> {
    GatewayAddress::parse(entry.api_base.as_deref()?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gateway::entry::tests::deployment;

    /// An entry with this name, model string, and base URL.
    pub(in crate::gateway) fn proxy_entry(model_name: &str, model: &str, api_base: &str) -> ProxyEntry {
        ProxyEntry {
            model_name: model_name.into(),
            model: model.into(),
            api_base: Some(api_base.into()),
            id: format!("{model_name}-{api_base}"),
            owner: None,
        }
    }

    #[test]
    fn each_mistake_of_an_entry_is_distinguished() {
        let own = deployment("tiny", "org/tiny");
        let base = "http://tiny-frontend.serving.svc:8000";
        for (model, api_base, expected) in [
            ("hosted_vllm/org/tiny", "/v1", EntryMatch::Routes),
            ("openai/org/tiny", "/v1/", EntryMatch::Routes),
            ("hosted_vllm/*", "/v1", EntryMatch::Routes),
            ("hosted_vllm/org/tiny", "", EntryMatch::WrongBasePath),
            ("hosted_vllm/org/tiny", "/v1/chat/completions", EntryMatch::WrongBasePath),
            ("hosted_vllm/tiny", "/v1", EntryMatch::WrongServedName),
        ] {
            let entry = proxy_entry("tiny", model, &format!("{base}{api_base}"));
            assert_eq!(match_entry(&entry, &own), expected, "{model} {api_base}");
        }
        let other = proxy_entry("gpt", "openai/org/tiny", "https://api.example.com/v1");
        assert_eq!(match_entry(&other, &own), EntryMatch::OtherServer);
        assert_eq!(match_entry(&ProxyEntry::default(), &own), EntryMatch::OtherServer);
        let silent = RoutedDeployment { models: Vec::new(), ..own };
        let entry = proxy_entry("tiny", "hosted_vllm/org/tiny", &format!("{base}/v1"));
        assert_eq!(match_entry(&entry, &silent), EntryMatch::Unverified);
    }
}
