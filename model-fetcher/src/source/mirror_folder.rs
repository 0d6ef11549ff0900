//! A mirror on disk for machines without network: a folder of fetched models, each verified by its receipt.
//! It must not make network requests.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use super::listing_error::EntryError;
use super::{BodyError, ModelSource, SourceBody, SourceError, tree};
use crate::error::FetcherError;
use crate::options::{FetchOptions, HubEndpoint};
use crate::store::ModelStore;
use model_fetcher_contract::{
    Checksum, Listing, RECEIPT_FORMAT, Receipt, ReceiptFile, RemoteFile, UnusableFile, model_folder,
};

const FILE_SCHEME: &str = "file://";
const BLOCK_BYTES: u64 = 1 << 20;

/// One model in a mirror folder.
pub(crate) struct MirrorFolder {
    endpoint: String,
    store: ModelStore,
    repository: String,
    revision: String,
}

/// Returns the folder of a `file://` endpoint.
pub(crate) fn mirror_path(endpoint: &HubEndpoint) -> Option<PathBuf> {
    endpoint.secret_url().strip_prefix(FILE_SCHEME).map(PathBuf::from).filter(|folder| folder.is_absolute())
}

impl MirrorFolder {
    pub(crate) fn new(options: &FetchOptions, mirror: PathBuf) -> Self {
        Self {
            endpoint: options.hub.endpoint.to_string(),
            store: ModelStore::at(model_folder(&mirror, &options.repository)),
            repository: options.repository.clone(),
            revision: options.revision.clone(),
        }
    }

    fn bad_listing(&self, reason: String) -> FetcherError {
        FetcherError::BadListing { repository: self.repository.clone(), reason }
    }
}

impl ModelSource for MirrorFolder {
    async fn list(&self) -> Result<Listing, FetcherError> {
        // A damaged receipt is reported below.
        let json = self.store.read_receipt_json()?.unwrap_or_default();
        let receipt: Option<Receipt> = serde_json::from_slice(&json).ok();
        let is_same_repository =
            |receipt: &Receipt| receipt.format == RECEIPT_FORMAT && receipt.repository == self.repository;
        let receipt = receipt.filter(is_same_repository).ok_or_else(|| FetcherError::RepositoryNotFound {
            repository: self.repository.clone(),
            endpoint: self.endpoint.clone(),
        })?;
        if self.revision != receipt.revision && self.revision != receipt.commit {
            return Err(FetcherError::RevisionNotFound {
                repository: self.repository.clone(),
                revision: self.revision.clone(),
                endpoint: self.endpoint.clone(),
            });
        }
        if !tree::is_commit(&receipt.commit) {
            return Err(self.bad_listing(format!("{:?} is not a commit", receipt.commit)));
        }
        let mut files = tree::PageFiles::default();
        for file in receipt.files {
            match remote_file(&file) {
                Ok(remote) => files.0.push(remote),
                Err(error) => files.1.push(UnusableFile { path: file.path, reason: error.to_string() }),
            }
        }
        Ok(tree::build_listing(receipt.commit, files))
    }

    async fn open(
        &self,
        _worker: usize,
        commit: &str,
        file: &RemoteFile,
        range: Range<u64>,
    ) -> Result<SourceBody, SourceError> {
        let path = self.store.path_of(&file.path);
        let opened = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => FetcherError::FileNotFound {
                repository: self.repository.clone(),
                path: file.path.clone(),
                commit: commit.to_owned(),
            },
            _ => FetcherError::disk("read", &path, error),
        })?;
        let opened = Arc::new(opened);
        let offset = range.start;
        let blocks = stream::unfold(range, move |mut remaining| {
            let file = opened.clone();
            async move {
                let length = BLOCK_BYTES.min(remaining.end - remaining.start);
                if length == 0 {
                    return None;
                }
                let block = read_block(file, remaining.start, length).await;
                remaining.start += length;
                Some((block, remaining))
            }
        });
        Ok(SourceBody { offset, segments: blocks.boxed() })
    }

    fn name(&self) -> &str {
        &self.endpoint
    }
}

/// Converts an entry of a mirror's receipt.
fn remote_file(file: &ReceiptFile) -> Result<RemoteFile, EntryError> {
    tree::validate_path(&file.path)?;
    let blob_id = match &file.checksum {
        Checksum::GitSha1(digits) => digits.clone(),
        Checksum::Sha256(_) => String::new(),
    };
    let digits = file.checksum.digits();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(EntryError::MissingHashInReceipt { path: file.path.clone() });
    }
    let (path, size, checksum) = (file.path.clone(), file.size, file.checksum.clone());
    Ok(RemoteFile { path, size, checksum, blob_id, xet_hash: None })
}

async fn read_block(file: Arc<File>, offset: u64, length: u64) -> Result<Bytes, BodyError> {
    let read = move || {
        let mut block = vec![0; length as usize];
        file.read_exact_at(&mut block, offset).map(|()| Bytes::from(block))
    };
    tokio::task::spawn_blocking(read).await.map_err(BodyError::Reader)?.map_err(BodyError::Mirror)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_file_urls_are_mirrors() {
        assert_eq!(mirror_path(&"file:///mnt/mirror".into()), Some(PathBuf::from("/mnt/mirror")));
        assert_eq!(mirror_path(&"file://relative".into()), None);
        assert_eq!(mirror_path(&"https://huggingface.co".into()), None);
    }
}
