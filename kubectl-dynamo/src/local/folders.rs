//! Where things of this machine live: what can be made again (cache) and what runs now (state).

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::LocalError;

/// The two folders this program owns on a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folders {
    /// Runtime environments and models; safe to delete while nothing runs.
    pub cache: PathBuf,
    /// One folder for each deployment.
    pub state: PathBuf,
}

impl Folders {
    /// The folder of all runtime environments.
    pub fn runtimes(&self) -> PathBuf {
        self.cache.join("runtimes")
    }

    /// The folder of fetched models, laid out as on a cluster's volume: `<org>/<model>`.
    pub fn models(&self) -> PathBuf {
        self.cache.join("models")
    }

    /// Configurations of models whose weights are not here.
    pub fn configurations(&self) -> PathBuf {
        self.cache.join("configurations")
    }

    /// The folder of the model this program writes by itself.
    pub fn built_in_model(&self, name: &str) -> PathBuf {
        self.cache.join("built-in").join(name)
    }

    /// The folder of all local deployments.
    pub fn deployments(&self) -> PathBuf {
        self.state.join("local")
    }

    /// The folder of one deployment.
    pub fn deployment(&self, name: &str) -> PathBuf {
        self.deployments().join(name)
    }
}

/// Replaces a file so that readers see the old content or the new, never half of it.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&temporary, content)?;
    std::fs::rename(&temporary, path)
}

/// Holds a lock file until it is dropped, even by a crash; `waits` is called when somebody else holds it.
pub(super) async fn lock(path: &Path, waits: impl FnOnce()) -> Result<File, LocalError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(LocalError::file("make", parent))?;
    }
    let file = File::create(path).map_err(LocalError::file("open", path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
        return Ok(file);
    }
    waits();
    let waited =
        tokio::task::spawn_blocking(move || flock(&file, FlockOperation::LockExclusive).map(|()| file));
    match waited.await {
        Ok(locked) => locked.map_err(|error| LocalError::file("lock", path)(error.into())),
        Err(error) => Err(LocalError::file("lock", path)(std::io::Error::other(error))),
    }
}
