//! Stores expensive test artifacts outside the checkout, in folders named by version or hash. `tests/run`
//! fills the cache. `KUBECTL_DYNAMO_TEST_CACHE` selects its folder, so a cold run can use an empty one.

use std::path::{Path, PathBuf};

/// Returns the cache folder of the tests: the environment variable, else the user's cache folder.
pub fn folder() -> PathBuf {
    if let Some(folder) = set("KUBECTL_DYNAMO_TEST_CACHE") {
        return folder;
    }
    let user = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    user.unwrap_or_else(|| PathBuf::from("/var/cache")).join("kubectl-dynamo-tests")
}

/// Returns the root of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// Returns the path in an environment variable if it is set and not empty.
pub fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
