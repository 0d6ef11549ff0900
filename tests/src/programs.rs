//! Where the programs under test are: named by the environment, else beside the test that runs.

use std::path::{Path, PathBuf};

/// The fetcher: `MODEL_FETCHER_BIN`, else the one cargo built with this test.
pub fn model_fetcher() -> PathBuf {
    program("MODEL_FETCHER_BIN", "model-fetcher")
}

/// The plugin: `KUBECTL_DYNAMO_BIN`, else the one cargo built with this test.
pub fn kubectl_dynamo() -> PathBuf {
    program("KUBECTL_DYNAMO_BIN", "kubectl-dynamo")
}

fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(variable).filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        assert!(named.is_file(), "{variable} names {}, which is no file", named.display());
        return named;
    }
    let test = std::env::current_exe().expect("a running test has a path");
    // A test is in `<target>/<profile>/deps`, the programs are in `<target>/<profile>`.
    let beside = test.ancestors().skip(1).take(2).map(|folder: &Path| folder.join(name));
    beside.into_iter().find(|place| place.is_file()).unwrap_or_else(|| {
        panic!("{name} is not built: run `cargo build --workspace`, or name one with {variable}")
    })
}
