//! The folders of the plugin on this machine: the cache, which can be recreated, and the state of local
//! deployments.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::LocalError;

/// The two folders that the plugin owns on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Runtime environments and models; safe to delete while nothing runs.
    pub cache: PathBuf,
    /// One folder for each deployment.
    pub state: PathBuf,
}

impl Folders {
    /// The folder of the runtime environments.
    pub fn runtimes(&self) -> PathBuf {
        self.cache.join("runtimes")
    }

    /// The folder of fetched models, with the layout of a model cache: `<org>/<model>`.
    pub fn models(&self) -> PathBuf {
        self.cache.join("models")
    }

    /// The folder of model configurations without weights.
    pub fn model_configs(&self) -> PathBuf {
        self.cache.join("configurations")
    }

    /// The folder of a built-in model.
    pub fn built_in_model(&self, name: &str) -> PathBuf {
        self.cache.join("built-in").join(name)
    }

    /// The folder of the local deployments.
    pub fn deployments(&self) -> PathBuf {
        self.state.join("local")
    }

    /// The folder of one deployment.
    pub fn deployment(&self, name: &str) -> PathBuf {
        self.deployments().join(name)
    }
}

/// Replaces a file atomically: readers see the old or the new content.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, path)
}

/// Locks a file until the returned value is dropped or the process exits. `on_wait` is called if the lock is
/// held.
pub(super) async fn lock(path: &Path, on_wait: impl FnOnce()) -> Result<File, LocalError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(LocalError::file("create", parent))?;
    }
    let file = File::create(path).map_err(LocalError::file("open", path))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    on_wait();
    let waited = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    match waited.await {
        Ok(locked) => locked.map_err(LocalError::file("lock", path)),
        Err(error) => Err(LocalError::file("lock", path)(std::io::Error::other(error))),
    }
}
