//! The table in docs/reference/compatibility.md: which Dynamo releases and Kubernetes versions this plugin works with, and
//! which CRDs the tests use for each.

use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::release::{CATALOG, OperatorGeneration, newest_release_for};
use kubectl_dynamo_tests::kubernetes::definition_sets::{DEFINITION_SETS, DefinitionSet};
use kubectl_dynamo_tests::pages::{check_generated, table_row};

const PREFLIGHT: &str = include_str!("../../kubectl-dynamo/core/src/preflight/platform.rs");
const GO_MODULES: &str = include_str!("../kubernetes/go.mod");

/// The minimum that preflight compares with, such as `1.30`. The constant is private to the check.
fn oldest_kubernetes() -> String {
    let (_, rest) =
        PREFLIGHT.split_once("const OLDEST_KUBERNETES: (u32, u32) = (").expect("the constant exists");
    let (version, _) = rest.split_once(')').expect("it is a pair");
    version.replace(", ", ".")
}

/// The version of Kubernetes that the tests run.
fn tested_kubernetes() -> &'static str {
    let (_, rest) = GO_MODULES.split_once("k8s.io/kubernetes v").expect("the tests pin Kubernetes");
    rest.split_whitespace().next().expect("a version follows")
}

fn compatibility_table() -> String {
    let heading =
        ["Plugin", "Dynamo", "vLLM", "Kubernetes, minimum", "Kubernetes, tested", "CRDs in the tests"];
    let mut text = table_row(&heading) + "|---|---|---|---|---|---|\n";
    let last_without_beta_graphs = newest_release_for(OperatorGeneration::ServesBetaGroup, None);
    let mut has_beta_graphs = false;
    for release in CATALOG {
        let sets: Vec<&DefinitionSet> = DEFINITION_SETS.iter().filter(|set| set.supports(release)).collect();
        let definitions: Vec<String> = sets
            .chunk_by(|one, next| one.definition.folder == next.definition.folder)
            .map(|sets| {
                let versions: Vec<&str> = sets.iter().map(|set| set.graph_api().as_str()).collect();
                format!("{} ({})", sets[0].definition.folder, versions.join(", "))
            })
            .collect();
        text += &table_row(&[
            env!("CARGO_PKG_VERSION").to_owned(),
            release.version.to_owned(),
            release.vllm_version().to_owned(),
            if has_beta_graphs { oldest_kubernetes() } else { "not checked".to_owned() },
            tested_kubernetes().to_owned(),
            definitions.join(", "),
        ]);
        has_beta_graphs |= release.version == last_without_beta_graphs;
    }
    text
}

#[test]
fn compatibility_page_matches_the_catalog() {
    check_generated("docs/reference/compatibility.md", "compatibility", &compatibility_table());
}
