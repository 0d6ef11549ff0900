//! Every command that a diagnosis suggests is one that this plugin accepts, for each thing that a fix can refer to.

use clap::Parser;

use super::Root;
use kubectl_dynamo_core::diagnosis::{DiagnosisContext, FixTarget, all_fixes};
use kubectl_dynamo_core::resources::FETCH_CONTAINER;

/// Every kind of target, with and without names, for each role and container.
fn contexts() -> Vec<DiagnosisContext> {
    let mut contexts = Vec::new();
    for [name, model, namespace] in [["tiny", "acme/tiny@main", "serving"], ["", "", ""]] {
        let mut targets = vec![
            FixTarget::Deployment { name: name.into() },
            FixTarget::PlannedDeployment { name: name.into(), model: model.into() },
        ];
        let cache_verbs = ["cache pull", "cache verify", "cache rm"];
        targets.extend(cache_verbs.map(|verb| FixTarget::CachedModel { verb, model: model.into() }));
        for target in targets {
            for role in ["frontend", "worker", "prefill", "decode", ""] {
                for container in [None, Some("main"), Some(FETCH_CONTAINER)] {
                    contexts.push(DiagnosisContext {
                        target: target.clone(),
                        namespace: namespace.into(),
                        pod: Some(name)
                            .filter(|name| !name.is_empty())
                            .map(|name| format!("{name}-worker-0")),
                        container: container.map(str::to_owned),
                        role: role.into(),
                        tensor_parallel: 1,
                        has_restarted: !name.is_empty(),
                        is_foreign: role == "worker",
                    });
                }
            }
        }
    }
    contexts
}

#[test]
fn every_fix_is_a_command_without_a_blank_that_the_parser_accepts() {
    let mut parsed = 0;
    for context in contexts() {
        for value in ["4096", ""] {
            for (code, fix) in all_fixes(&context, value) {
                let text = fix.to_string();
                let has_blank = |text: &str| {
                    let is_open = text.trim_end().ends_with([':', '=']);
                    is_open || text.contains("  ") || text.contains("''") || text.contains(['{', '$'])
                };
                assert!(value.is_empty() || !has_blank(&text), "{code} in {context:?}: {text}");
                assert!(!fix.commands().any(|command| has_blank(&command.to_string())), "{code}: {text}");
                for command in fix.commands().filter(|command| command.is_plugin()) {
                    let arguments = std::iter::once("kubectl-dynamo".to_owned()).chain(command.arguments());
                    let result = Root::try_parse_from(arguments);
                    assert!(
                        result.is_ok(),
                        "{code} in {context:?}: {command}: {:?}",
                        result.err().map(|e| e.to_string())
                    );
                    parsed += 1;
                }
            }
        }
    }
    assert!(parsed > 1000, "{parsed}");
}
