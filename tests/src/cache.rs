//! Where the tests keep what is costly to make: outside the checkout, in folders named by version or by hash.
//! `tests/run` fills it; its place is `KUBECTL_DYNAMO_TEST_CACHE`, so a cold run can be tried with an empty folder.

use std::path::{Path, PathBuf};

/// The cache folder of the tests: the setting, else the user's cache folder.
pub fn folder() -> PathBuf {
    if let Some(folder) = set("KUBECTL_DYNAMO_TEST_CACHE") {
        return folder;
    }
    let user = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    user.unwrap_or_else(|| PathBuf::from("/var/cache")).join("kubectl-dynamo-tests")
}

/// The root of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// A path taken from an environment variable that is set and not empty.
pub fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
