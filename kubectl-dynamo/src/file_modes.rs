//! The modes of new files and folders: only for their owner, or executable. It must not know what they contain.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Creates folders that only their owner can open.
pub(crate) fn private_folder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

/// Makes an existing folder private.
pub(crate) fn make_private(folder: &Path) -> io::Result<()> {
    std::fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Creates or replaces a file that only its owner can read.
pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes a file a program for everyone.
pub(crate) fn make_executable(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_are_for_others() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let mode = |path: &Path| path.metadata().expect("it exists").permissions().mode() & 0o7777;
        let folder = parent.path().join("a/b");
        private_folder().recursive(true).create(&folder).expect("writable");
        assert_eq!((mode(&folder), mode(&parent.path().join("a"))), (0o700, 0o700));
        let other = parent.path().join("other");
        std::fs::create_dir(&other).expect("writable");
        make_private(&other).expect("the owner may change the mode");
        assert_eq!(mode(&other), 0o700);
        let path = folder.join("file");
        let file = create_private_file(&path).expect("writable");
        assert_eq!(mode(&path), 0o600);
        make_executable(&file).expect("the owner may change the mode");
        assert_eq!(mode(&path), 0o755);
    }
}
