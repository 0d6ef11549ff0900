//! Compares with the output of kubectl, which `tests/kubectl-jsonpath` records.

use serde::Deserialize;
use serde_json::Value;

use super::JsonPathTemplate;

#[derive(Deserialize)]
struct Results {
    document: Value,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    /// What kubectl prints. `None` if it fails.
    stdout: Option<String>,
    /// Why the plugin prints something else, which is `plugin`.
    difference: Option<String>,
    plugin: Option<String>,
}

/// Returns what the plugin prints, or its error.
fn printed(template: &str, document: &Value) -> Result<String, String> {
    let template = JsonPathTemplate::parse(template).map_err(|error| error.to_string())?;
    template.render(document).map_err(|error| error.to_string())
}

#[test]
fn prints_what_kubectl_prints() {
    let results: Results = serde_json::from_str(include_str!("kubectl_results.json")).unwrap();
    assert!(results.cases.len() > 200);
    let mut wrong = Vec::new();
    for Case { template, stdout, difference, plugin } in results.cases {
        let expected = if difference.is_some() { &plugin } else { &stdout };
        let printed = printed(&template, &results.document);
        if printed.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{template:?}: {printed:?} instead of {expected:?}"));
        }
        if difference.is_some() {
            assert_ne!(plugin, stdout, "{template:?} does not differ");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
