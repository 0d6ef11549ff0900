//! Finds the programs under test: from the environment, else next to the running test.
//! It must not build them.

use std::path::{Path, PathBuf};

/// Returns the fetcher: `MODEL_FETCHER_BIN`, else the one that cargo built with this test.
pub fn model_fetcher() -> PathBuf {
    find_program("MODEL_FETCHER_BIN", "model-fetcher")
}

/// Returns the plugin: `KUBECTL_DYNAMO_BIN`, else the one that cargo built with this test.
pub fn kubectl_dynamo() -> PathBuf {
    find_program("KUBECTL_DYNAMO_BIN", "kubectl-dynamo")
}

fn find_program(variable: &str, name: &str) -> PathBuf {
    if let Some(configured) = std::env::var_os(variable).filter(|configured| !configured.is_empty()) {
        let configured = PathBuf::from(configured);
        assert!(configured.is_file(), "{variable} refers to {}, which is not a file", configured.display());
        return configured;
    }
    let test = std::env::current_exe().expect("a running test has a path");
    // A test is in `<target>/<profile>/deps`, the programs are in `<target>/<profile>`.
    let candidates = test.ancestors().skip(1).take(2).map(|folder: &Path| folder.join(name));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace`, or set {variable}"))
}
