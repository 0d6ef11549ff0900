//! Whether a gateway routes to a deployment: which entry to request, and what the requests prove. It does not send them.

mod verdict;

use super::{EntryMatch, ProxyEntry, RoutedDeployment, match_entry};
use crate::code::MessageCode;
use crate::command::{Fix, SuggestedCommand, UNKNOWN_NAME};
use crate::exit::Exit;
use crate::finding::{Category, CheckProblem, CheckResult, Finding};
pub use verdict::{RequestKind, RouteAnswer, RoutedRequest, judge_request};

/// The entry that a test requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChoice {
    /// The model that a request names, so that it goes to this entry only.
    pub requested_model: String,
    /// The name that the deployment serves, for its counters and for a request to itself.
    pub served_name: String,
    /// What was found, for the screen.
    pub text: String,
}

/// Chooses the entry of a deployment among those of a proxy. `model_name` limits the choice to one name.
///
/// # Errors
/// No entry routes to the deployment. The error is the failed check.
pub fn choose_route(
    entries: &[ProxyEntry],
    deployment: &RoutedDeployment,
    model_name: Option<&str>,
) -> Result<RouteChoice, CheckResult> {
    let named: Vec<&ProxyEntry> =
        entries.iter().filter(|entry| model_name.is_none_or(|name| entry.model_name == name)).collect();
    let with_match = |wanted| named.iter().copied().find(|entry| match_entry(entry, deployment) == wanted);
    if let Some(entry) = with_match(EntryMatch::Routes) {
        return Ok(choice(entry, entries, deployment));
    }
    let names = || deployment.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
    let base = |entry: &ProxyEntry| entry.api_base.clone().unwrap_or_default();
    Err(if let Some(entry) = with_match(EntryMatch::WrongBasePath) {
        let text = format!(
            "entry \"{}\" has the api_base {}, which does not end in /v1",
            entry.model_name,
            base(entry)
        );
        failed(MessageCode::GatewayBasePathWrong, text, new_entries(deployment))
    } else if let Some(entry) = with_match(EntryMatch::WrongServedName) {
        let text = format!(
            "entry \"{}\" requests {}, but the deployment serves {}",
            entry.model_name,
            entry.model,
            names()
        );
        failed(MessageCode::GatewayServedNameWrong, text, new_entries(deployment))
    } else if let (Some(name), Some(entry)) = (model_name, named.first()) {
        // Another address can reach the deployment too; only the request can tell.
        let is_served = |name: &&str| deployment.models.iter().any(|model| model.name == *name);
        let first = deployment.models.first().map(|model| model.name.as_str()).unwrap_or_default();
        let served_name = entry.served_name().filter(is_served).unwrap_or(first).to_owned();
        return Ok(RouteChoice {
            requested_model: name.to_owned(),
            served_name,
            text: format!("entry \"{name}\" uses another address of the deployment: {}", base(entry)),
        });
    } else {
        let text = match model_name {
            Some(name) => format!("the gateway does not have an entry \"{name}\""),
            None => format!("no entry of the gateway has the api_base {}", deployment.base_url),
        };
        failed(MessageCode::GatewayEntryMissing, text, new_entries(deployment))
    })
}

fn choice(entry: &ProxyEntry, entries: &[ProxyEntry], deployment: &RoutedDeployment) -> RouteChoice {
    let first = deployment.models.first().map(|model| model.name.as_str()).unwrap_or_default();
    let served_name = entry.served_name().unwrap_or(first).to_owned();
    let group = entries.iter().filter(|other| other.model_name == entry.model_name).count();
    let base = entry.api_base.as_deref().unwrap_or_default();
    let text = format!("\"{}\" routes to {} at {base}", entry.model_name, entry.model);
    let (requested_model, text) = match group {
        // The name of a group can reach another deployment.
        2.. => (entry.id.clone(), format!("{text}, one of a group of {group}")),
        _ => (entry.model_name.replace('*', &served_name), text),
    };
    RouteChoice { requested_model, served_name, text }
}

/// The commands that make the right entries. A proxy reads its file only when it starts.
fn new_entries(deployment: &RoutedDeployment) -> Fix {
    let config = SuggestedCommand::plugin("gateway config").operand(&deployment.owner.name, UNKNOWN_NAME);
    let config = match &deployment.owner.namespace {
        Some(namespace) => config.in_namespace(namespace),
        None => config.flag("--local"),
    };
    config.after("put these entries into the file of the proxy and restart it: ")
}

/// A finding about the gateway.
pub fn gateway_finding(name: &'static str, outcome: CheckResult) -> Finding {
    Finding { category: Category::Gateway, name, outcome }
}

/// A problem that fails the test.
fn failed(code: MessageCode, text: impl Into<String>, hint: impl Into<Fix>) -> CheckResult {
    CheckResult::Failed(CheckProblem { exit: Exit::SmokeTest, ..CheckProblem::new(code, text, hint) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::entry::tests::deployment;
    use crate::gateway::matching::tests::proxy_entry;

    const BASE: &str = "http://tiny-frontend.serving.svc:8000/v1";

    fn code(result: Result<RouteChoice, CheckResult>) -> MessageCode {
        match result {
            Err(CheckResult::Failed(problem)) => problem.code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn entry_of_the_deployment_is_requested_by_its_name() {
        let own = deployment("tiny", "org/tiny");
        let entries = [
            proxy_entry("gpt", "openai/gpt-4o", "https://api.example.com/v1"),
            proxy_entry("chat", "hosted_vllm/org/tiny", BASE),
        ];
        let choice = choose_route(&entries, &own, None).unwrap();
        assert_eq!((choice.requested_model.as_str(), choice.served_name.as_str()), ("chat", "org/tiny"));
        let wildcard = [proxy_entry("dyn/*", "hosted_vllm/*", BASE)];
        assert_eq!(choose_route(&wildcard, &own, None).unwrap().requested_model, "dyn/org/tiny");
    }

    #[test]
    fn entry_of_a_group_is_requested_by_its_id() {
        let own = deployment("tiny", "m");
        let entries = [
            proxy_entry("m", "hosted_vllm/m", "http://b-frontend.serving.svc:8000/v1"),
            proxy_entry("m", "hosted_vllm/m", BASE),
        ];
        let choice = choose_route(&entries, &own, None).unwrap();
        assert_eq!(choice.requested_model, entries[1].id);
        assert!(choice.text.ends_with("one of a group of 2"), "{}", choice.text);
    }

    #[test]
    fn each_mistake_has_its_code() {
        let own = deployment("tiny", "m");
        for (model, base, expected) in [
            ("hosted_vllm/m", "http://tiny-frontend.serving.svc:8000", MessageCode::GatewayBasePathWrong),
            ("hosted_vllm/org/m", BASE, MessageCode::GatewayServedNameWrong),
            ("hosted_vllm/m", "http://b-frontend.serving.svc:8000/v1", MessageCode::GatewayEntryMissing),
        ] {
            assert_eq!(
                code(choose_route(&[proxy_entry("m", model, base)], &own, None)),
                expected,
                "{model} {base}"
            );
        }
        assert_eq!(code(choose_route(&[], &own, Some("m"))), MessageCode::GatewayEntryMissing);
    }

    #[test]
    fn named_entry_with_another_address_is_requested() {
        let entries = [proxy_entry("m", "hosted_vllm/m", "https://llm.example.com/v1")];
        // The deployment itself is asked for a name that it serves.
        for served in ["m", "other"] {
            let choice = choose_route(&entries, &deployment("tiny", served), Some("m")).unwrap();
            assert_eq!((choice.requested_model.as_str(), choice.served_name.as_str()), ("m", served));
        }
    }
}
