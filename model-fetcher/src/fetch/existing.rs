//! Verifies existing files with their final names, by hash unless the receipt proves them.
//!
//! As many files as there are cores are hashed at the same time, and progress is reported.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::mpsc::UnboundedSender;

use crate::check::hash_file;
use crate::error::FetcherError;
use crate::plan::{ExistingFile, FetchPlan, FileAction};
use crate::store::{ModelStore, modified_nanoseconds};
use crate::transfer::throughput::TransferRate;
use model_fetcher_contract::{ProgressEvent, ReceiptFile, RemoteFile};

/// As during a transfer.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// As during a transfer.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Chosen: four cores hash some 6 GB/s, more than most volumes deliver.
const MAX_CONCURRENT_HASHES: usize = 4;

/// Returns the selected files that exist with their final names.
pub(super) fn find_existing(
    store: &ModelStore,
    selected: &[RemoteFile],
) -> Result<HashMap<String, ExistingFile>, FetcherError> {
    let mut existing = HashMap::new();
    for file in selected {
        if let Some(metadata) = store.file_metadata(&file.path)? {
            let existing_file =
                ExistingFile { size: metadata.len(), modified: modified_nanoseconds(&metadata) };
            existing.insert(file.path.clone(), existing_file);
        }
    }
    Ok(existing)
}

/// Splits a plan into verified files and missing files. Hashes files where the plan requires it.
pub(super) async fn verify_existing(
    store: &ModelStore,
    plan: FetchPlan,
    events: &UnboundedSender<ProgressEvent>,
) -> Result<(Vec<ReceiptFile>, Vec<RemoteFile>), FetcherError> {
    let mut progress = VerifyProgress::new(&plan);
    let concurrency = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_CONCURRENT_HASHES);
    let hashed = progress.hashed_bytes.clone();
    let verifications = plan.files.into_iter().map(|file| {
        let (store, hashed) = (store.clone(), hashed.clone());
        async move {
            match file.action {
                FileAction::Reuse(reused) => Ok(VerifiedFile::Matches(reused)),
                FileAction::Fetch => Ok(VerifiedFile::MustBeFetched(file.remote)),
                FileAction::Verify => verify_file(store, file.remote, hashed).await,
            }
        }
    });
    let mut verifications = futures::stream::iter(verifications).buffered(concurrency);
    let mut ticks = tokio::time::interval(REPORT_INTERVAL);
    // The first tick completes immediately, when there is no progress yet.
    ticks.tick().await;
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            verification = verifications.next() => match verification {
                Some(Ok(VerifiedFile::Matches(reused))) => present.push(reused),
                Some(Ok(VerifiedFile::MustBeFetched(remote))) => missing.push(remote),
                Some(Err(error)) => return Err(error),
                None => return Ok((present, missing)),
            },
            _ = ticks.tick() => {
                // A closed receiver only means that nothing shows the events.
                let _ = events.send(progress.progress(present.len()));
            }
        }
    }
}

/// Progress of hashing existing files.
struct VerifyProgress {
    reused_bytes: u64,
    total_bytes: u64,
    total_files: usize,
    hashed_bytes: Arc<AtomicU64>,
    rate: TransferRate,
}

impl VerifyProgress {
    fn new(plan: &FetchPlan) -> Self {
        let reused_files = plan.files.iter().filter(|file| matches!(file.action, FileAction::Reuse(_)));
        Self {
            reused_bytes: reused_files.map(|file| file.remote.size).sum(),
            total_bytes: plan.files.iter().map(|file| file.remote.size).sum(),
            total_files: plan.files.len(),
            hashed_bytes: Arc::default(),
            rate: TransferRate::new(RATE_WINDOW),
        }
    }

    fn progress(&mut self, files_done: usize) -> ProgressEvent {
        let hashed = self.hashed_bytes.load(Ordering::Relaxed);
        ProgressEvent::Progress {
            bytes_done: self.reused_bytes + hashed,
            bytes_total: self.total_bytes,
            bytes_verified: self.reused_bytes + hashed,
            files_done,
            files_total: self.total_files,
            bytes_per_second: self.rate.sample(Instant::now(), hashed),
            eta_seconds: None,
            retries: 0,
            connections: 0,
            fetching: Vec::new(),
        }
    }
}

/// The result of hashing an existing file.
enum VerifiedFile {
    /// Its hash matches.
    Matches(ReceiptFile),
    MustBeFetched(RemoteFile),
}

/// Hashes an existing file.
async fn verify_file(
    store: ModelStore,
    remote: RemoteFile,
    hashed: Arc<AtomicU64>,
) -> Result<VerifiedFile, FetcherError> {
    let hash = move || {
        let Some(metadata) = store.file_metadata(&remote.path)? else {
            return Ok(VerifiedFile::MustBeFetched(remote));
        };
        let file_path = store.path_of(&remote.path);
        let mut on_hashed = |bytes| {
            hashed.fetch_add(bytes, Ordering::Relaxed);
        };
        if hash_file(&file_path, &remote.checksum, remote.size, &mut on_hashed)? != remote.checksum.digits() {
            return Ok(VerifiedFile::MustBeFetched(remote));
        }
        let RemoteFile { path, size, checksum, .. } = remote;
        let modified = modified_nanoseconds(&metadata);
        Ok(VerifiedFile::Matches(ReceiptFile { path, size, checksum, modified }))
    };
    let result = tokio::task::spawn_blocking(hash).await;
    result
        .unwrap_or_else(|error| Err(FetcherError::Client { reason: format!("worker task failed: {error}") }))
}
