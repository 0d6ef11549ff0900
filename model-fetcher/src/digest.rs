//! Hashes of files: sha256 of large ones, git's blob sha1 of small ones.
//!
//! Pure arithmetic: what is hashed is handed in, in order.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::contract::{Checksum, RemoteFile};

/// Whether this build hashes at all. A build for benchmarks does not, to show what hashing costs.
pub(crate) const VERIFIES: bool = !cfg!(feature = "benchmark-unverified");

/// The hash of one file in the making.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitSha1(Sha1),
}

impl Hasher {
    /// A hasher of the kind `checksum` needs, for a file of `size` bytes: git hashes the size before the content.
    pub(crate) fn new(checksum: &Checksum, size: u64) -> Self {
        match checksum {
            Checksum::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Checksum::GitSha1(_) => {
                let mut hasher = Sha1::new();
                hasher.update(format!("blob {size}\0"));
                Hasher::GitSha1(hasher)
            }
        }
    }

    pub(crate) fn of(file: &RemoteFile) -> Self {
        Self::new(&file.checksum, file.size)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::GitSha1(hasher) => hasher.update(bytes),
        }
    }

    /// The digits of everything handed in.
    pub(crate) fn digits(self) -> String {
        match self {
            Hasher::Sha256(hasher) => hexadecimal(&hasher.finalize()),
            Hasher::GitSha1(hasher) => hexadecimal(&hasher.finalize()),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a String cannot go wrong.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(checksum: Checksum, content: &[u8]) -> String {
        let mut hasher = Hasher::new(&checksum, content.len() as u64);
        for piece in content.chunks(2) {
            hasher.update(piece);
        }
        hasher.digits()
    }

    #[test]
    fn a_large_file_is_hashed_as_it_is() {
        assert_eq!(
            digits(Checksum::Sha256(String::new()), b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_small_file_is_hashed_as_git_does() {
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(
            digits(Checksum::GitSha1(String::new()), b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }
}
