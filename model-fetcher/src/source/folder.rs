//! A mirror on disk, for air gaps: a folder of models as another fetch left them, each verified by its receipt.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::{Body, Failure, ModelSource, tree};
use crate::contract::{Checksum, Listing, RECEIPT_FORMAT, Receipt, RemoteFile, model_folder};
use crate::error::Error;
use crate::options::FetchOptions;
use crate::store::Store;

const SCHEME: &str = "file://";
const BLOCK_BYTES: u64 = 1 << 20;

/// One model in a folder of models.
pub(crate) struct Folder {
    endpoint: String,
    store: Store,
    repository: String,
    revision: String,
}

/// The folder an endpoint names, if it names one.
pub(crate) fn folder_of(endpoint: &str) -> Option<PathBuf> {
    endpoint.strip_prefix(SCHEME).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

impl Folder {
    pub(crate) fn new(options: &FetchOptions, mirror: PathBuf) -> Self {
        Self {
            endpoint: options.hub.endpoint.clone(),
            store: Store::at(model_folder(&mirror, &options.repository)),
            repository: options.repository.clone(),
            revision: options.revision.clone(),
        }
    }

    fn bad_listing(&self, reason: String) -> Error {
        Error::BadListing { repository: self.repository.clone(), reason }
    }
}

impl ModelSource for Folder {
    async fn list(&self) -> Result<Listing, Error> {
        // Read as it is: what is wrong with it is said below.
        let json = self.store.receipt_json()?.unwrap_or_default();
        let receipt: Option<Receipt> = serde_json::from_slice(&json).ok();
        let is_ours =
            |receipt: &Receipt| receipt.format == RECEIPT_FORMAT && receipt.repository == self.repository;
        let receipt = receipt.filter(is_ours).ok_or_else(|| Error::RepositoryNotFound {
            repository: self.repository.clone(),
            endpoint: self.endpoint.clone(),
        })?;
        if self.revision != receipt.revision && self.revision != receipt.commit {
            return Err(Error::RevisionNotFound {
                repository: self.repository.clone(),
                revision: self.revision.clone(),
                endpoint: self.endpoint.clone(),
            });
        }
        let mut files: Vec<RemoteFile> = Vec::new();
        for file in receipt.files {
            tree::validate_path(&file.path).map_err(|reason| self.bad_listing(reason))?;
            let blob_id = match &file.checksum {
                Checksum::GitSha1(digits) => digits.clone(),
                Checksum::Sha256(_) => String::new(),
            };
            let digits = file.checksum.digits();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(self.bad_listing(format!("{:?} has no hash", file.path)));
            }
            files.push(RemoteFile {
                path: file.path,
                size: file.size,
                checksum: file.checksum,
                blob_id,
                xet_hash: None,
            });
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        tree::validate_paths(&files).map_err(|reason| self.bad_listing(reason))?;
        Ok(Listing { commit: receipt.commit, files })
    }

    async fn open(
        &self,
        _lane: usize,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<Body, Failure> {
        let place = self.store.place(&file.path);
        let opened = File::open(&place).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::FileNotFound {
                repository: self.repository.clone(),
                path: file.path.clone(),
                commit: commit.to_owned(),
            },
            _ => Error::disk("read", &place, error),
        })?;
        let opened = Arc::new(opened);
        let offset = range.start;
        let blocks = stream::unfold(range, move |mut left| {
            let file = opened.clone();
            async move {
                let length = BLOCK_BYTES.min(left.end - left.start);
                if length == 0 {
                    return None;
                }
                let block = read_block(file, left.start, length).await;
                left.start += length;
                Some((block, left))
            }
        });
        Ok(Body { offset, segments: blocks.boxed() })
    }

    fn name(&self) -> &str {
        &self.endpoint
    }
}

async fn read_block(file: Arc<File>, offset: u64, length: u64) -> Result<Bytes, String> {
    let read = move || {
        let mut block = vec![0; length as usize];
        file.read_exact_at(&mut block, offset).map(|()| Bytes::from(block))
    };
    let done = tokio::task::spawn_blocking(read).await;
    done.map_err(|error| error.to_string())?
        .map_err(|error| format!("the mirror's file cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_file_addresses_name_a_folder() {
        assert_eq!(folder_of("file:///mnt/mirror"), Some(PathBuf::from("/mnt/mirror")));
        assert_eq!(folder_of("file://relative"), None);
        assert_eq!(folder_of("https://huggingface.co"), None);
    }
}
