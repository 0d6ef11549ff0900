//! Writes a config file: through symlinks, only to regular files, and under a lock, so that concurrent runs do not
//! lose a setting.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::settings::error::ConfigError;

/// The maximum number of symlinks in a chain, as in Linux.
const MAX_SYMLINKS: usize = 40;

/// The file that a path refers to, locked for this run.
pub(super) struct ConfigTarget {
    /// The path with every symlink resolved.
    path: PathBuf,
    /// The open folder. It is locked until this value is dropped.
    _folder: File,
}

impl ConfigTarget {
    /// Resolves the symlinks of `path`, creates its folder, and waits until no other run changes a file in it.
    ///
    /// # Errors
    /// The path refers to something other than a regular file, or the folder cannot be created or opened.
    pub(super) fn lock(path: &Path) -> Result<Self, ConfigError> {
        let unwritable = |source| ConfigError::Unwritable { path: path.into(), source };
        let target = resolve_symlinks(path).map_err(unwritable)?;
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(unwritable)?;
        let folder = File::open(folder).map_err(unwritable)?;
        // A file system without locks, such as some network file systems, must not prevent the change.
        let _ = folder.lock();
        match fs::metadata(&target) {
            Ok(metadata) if !metadata.is_file() => Err(ConfigError::NotAFile { path: path.into() }),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(unwritable(error)),
            _ => Ok(Self { path: target, _folder: folder }),
        }
    }

    /// Replaces the content atomically and keeps the file mode.
    pub(super) fn replace(&self, content: &str) -> io::Result<()> {
        let temporary = self.path.with_extension("toml.new");
        fs::write(&temporary, content)?;
        if let Ok(metadata) = fs::metadata(&self.path) {
            fs::set_permissions(&temporary, metadata.permissions())?;
        }
        fs::rename(&temporary, &self.path)
    }
}

/// Resolves symlinks. The last one may refer to a file that does not exist yet.
fn resolve_symlinks(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_SYMLINKS {
        match fs::read_link(&path) {
            Ok(link) => path = path.parent().unwrap_or(Path::new("")).join(link),
            // Not a symlink, or the file does not exist.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many symlinks"))
}
