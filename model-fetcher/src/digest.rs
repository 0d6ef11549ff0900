//! Hashes of files: sha256 for large files, git's blob sha1 for small ones.
//!
//! Pure computation: the caller passes the content in order.

use sha1::Sha1;
use sha2::{Digest, Sha256};

use model_fetcher_contract::{Checksum, RemoteFile};

/// Whether this build hashes files. A benchmark build does not, to measure the cost of hashing.
pub(crate) const HASHING_ENABLED: bool = !cfg!(feature = "benchmark-unverified");

/// The hash of one file in progress.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitSha1(Sha1),
}

impl Hasher {
    /// Creates a hasher for `checksum` and a file of `size` bytes. git hashes the size before the content.
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

    pub(crate) fn for_file(file: &RemoteFile) -> Self {
        Self::new(&file.checksum, file.size)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::GitSha1(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the hexadecimal digits of all content passed so far.
    pub(crate) fn into_digits(self) -> String {
        match self {
            Hasher::Sha256(hasher) => to_hexadecimal(&hasher.finalize()),
            Hasher::GitSha1(hasher) => to_hexadecimal(&hasher.finalize()),
        }
    }
}

fn to_hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_in_chunks(checksum: Checksum, content: &[u8]) -> String {
        let mut hasher = Hasher::new(&checksum, content.len() as u64);
        for piece in content.chunks(2) {
            hasher.update(piece);
        }
        hasher.into_digits()
    }

    #[test]
    fn sha256_hashes_content_only() {
        assert_eq!(
            hash_in_chunks(Checksum::Sha256(String::new()), b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn git_sha1_matches_git_hash_object() {
        // `printf 'hello\n' | git hash-object --stdin`
        assert_eq!(
            hash_in_chunks(Checksum::GitSha1(String::new()), b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
    }
}
