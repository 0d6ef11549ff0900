//! Decides when written ranges are recorded: often without a sync, and sometimes after one.
//! A record must not list a range before its data is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Transfer;
use crate::error::FetcherError;
use crate::source::ModelSource;

/// A kill loses at most this many bytes since the last record.
const RECORD_EVERY_BYTES: u64 = 16 << 20;
const RECORD_EVERY: Duration = Duration::from_millis(250);
/// Early syncs keep the disk busy during the transfer, so that little is left to sync when a file is
/// complete.
const SYNC_EVERY_BYTES: u64 = 256 << 20;
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// Records written ranges: often without a sync, and sometimes after one.
pub(super) struct Checkpointer<S> {
    transfer: Arc<Transfer<S>>,
    written_at: Instant,
    written_bytes: u64,
    synced_at: Instant,
    synced_bytes: u64,
    sync: Option<JoinHandle<Result<(), FetcherError>>>,
}

impl<S: ModelSource> Checkpointer<S> {
    pub(super) fn new(transfer: Arc<Transfer<S>>) -> Self {
        let now = Instant::now();
        Self { transfer, written_at: now, written_bytes: 0, synced_at: now, synced_bytes: 0, sync: None }
    }

    pub(super) async fn tick(&mut self, now: Instant) -> Result<(), FetcherError> {
        let received = self.transfer.throughput.received();
        let new_bytes = received - self.written_bytes;
        if new_bytes >= RECORD_EVERY_BYTES
            || (new_bytes > 0 && now.duration_since(self.written_at) >= RECORD_EVERY)
        {
            self.written_at = now;
            self.written_bytes = received;
            self.transfer.staging.record_written(self.transfer.unfinished_ranges())?;
        }
        if self.sync.as_ref().is_some_and(JoinHandle::is_finished) {
            self.wait_for_sync().await?;
        }
        let unsynced = received - self.synced_bytes;
        let is_sync_due = unsynced >= SYNC_EVERY_BYTES || now.duration_since(self.synced_at) >= SYNC_EVERY;
        if self.sync.is_none() && unsynced > 0 && is_sync_due {
            self.synced_at = now;
            self.synced_bytes = received;
            let transfer = self.transfer.clone();
            self.sync = Some(tokio::task::spawn_blocking(move || transfer.record_durable()));
        }
        Ok(())
    }

    /// Waits for the sync in progress. Its error must be handled: the kernel reports lost data once, and the
    /// final sync of the file would not report it again.
    pub(super) async fn wait_for_sync(&mut self) -> Result<(), FetcherError> {
        match self.sync.take() {
            Some(sync) => sync.await.unwrap_or_else(|error| {
                Err(FetcherError::Client { reason: format!("worker task failed: {error}") })
            }),
            None => Ok(()),
        }
    }
}

impl<S: ModelSource> Transfer<S> {
    /// Syncs every unfinished file, then records what was written before the sync.
    fn record_durable(&self) -> Result<(), FetcherError> {
        let unfinished_ranges = self.unfinished_ranges();
        for file in self
            .files
            .iter()
            .filter(|file| unfinished_ranges.get(&file.name).is_some_and(|ranges| ranges.bytes() > 0))
        {
            file.sync()?;
        }
        self.staging.record_durable(unfinished_ranges)
    }
}
