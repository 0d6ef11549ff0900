//! When what is written is recorded: often, and now and then after a sync.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::Transfer;
use crate::error::Error;
use crate::source::ModelSource;

/// A kill loses at most what came since the last record.
const RECORD_EVERY_BYTES: u64 = 16 << 20;
const RECORD_EVERY: Duration = Duration::from_millis(250);
/// Early syncs keep the disk busy beside the network, so that little is left to sync when a file is whole.
const SYNC_EVERY_BYTES: u64 = 256 << 20;
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// Keeps the records of what is written: often, and now and then after a sync.
pub(super) struct Records<S> {
    transfer: Arc<Transfer<S>>,
    written_at: Instant,
    written_bytes: u64,
    synced_at: Instant,
    synced_bytes: u64,
    sync: Option<JoinHandle<Result<(), Error>>>,
}

impl<S: ModelSource> Records<S> {
    pub(super) fn new(transfer: Arc<Transfer<S>>) -> Self {
        let now = Instant::now();
        Self { transfer, written_at: now, written_bytes: 0, synced_at: now, synced_bytes: 0, sync: None }
    }

    pub(super) async fn tick(&mut self, now: Instant) -> Result<(), Error> {
        let received = self.transfer.meter.received();
        let new = received - self.written_bytes;
        if new >= RECORD_EVERY_BYTES || (new > 0 && now.duration_since(self.written_at) >= RECORD_EVERY) {
            self.written_at = now;
            self.written_bytes = received;
            self.transfer.work.record_written(self.transfer.progress())?;
        }
        if self.sync.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish().await?;
        }
        let unsynced = received - self.synced_bytes;
        let due = unsynced >= SYNC_EVERY_BYTES || now.duration_since(self.synced_at) >= SYNC_EVERY;
        if self.sync.is_none() && unsynced > 0 && due {
            self.synced_at = now;
            self.synced_bytes = received;
            let transfer = self.transfer.clone();
            self.sync = Some(tokio::task::spawn_blocking(move || transfer.record_durable()));
        }
        Ok(())
    }

    /// Waits for the sync that runs. Its error counts: the kernel tells of lost data once, and the sync of the whole
    /// file would not hear of it again.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        match self.sync.take() {
            Some(sync) => sync
                .await
                .unwrap_or_else(|error| Err(Error::Client { reason: format!("a worker ended: {error}") })),
            None => Ok(()),
        }
    }
}

impl<S: ModelSource> Transfer<S> {
    /// Syncs every unfinished file, then records what was written before the sync.
    fn record_durable(&self) -> Result<(), Error> {
        let progress = self.progress();
        for file in
            self.files.iter().filter(|file| progress.get(&file.name).is_some_and(|held| held.bytes() > 0))
        {
            file.sync()?;
        }
        self.work.record_durable(progress)
    }
}
