//! When what is written is recorded: often, and now and then after a sync.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Transfer;
use crate::error::Error;
use crate::source::ModelSource;

/// A kill loses at most what came since the last record.
const RECORD_EVERY_BYTES: u64 = 16 << 20;
const RECORD_EVERY: Duration = Duration::from_millis(250);
const SYNC_EVERY: Duration = Duration::from_secs(5);

/// Keeps the records of what is written: often, and now and then after a sync.
pub(super) struct Records<S> {
    transfer: Arc<Transfer<S>>,
    written_at: Instant,
    written_bytes: u64,
    synced_at: Instant,
    sync: Option<tokio::task::JoinHandle<Result<(), Error>>>,
}

impl<S: ModelSource> Records<S> {
    pub(super) fn new(transfer: Arc<Transfer<S>>) -> Self {
        let now = Instant::now();
        Self { transfer, written_at: now, written_bytes: 0, synced_at: now, sync: None }
    }

    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Error> {
        let received = self.transfer.meter.received();
        let new = received - self.written_bytes;
        if new >= RECORD_EVERY_BYTES || (new > 0 && now.duration_since(self.written_at) >= RECORD_EVERY) {
            self.written_at = now;
            self.written_bytes = received;
            self.transfer.work.record_written(self.transfer.progress())?;
        }
        let idle = self.sync.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        if idle && new > 0 && now.duration_since(self.synced_at) >= SYNC_EVERY {
            self.synced_at = now;
            let transfer = self.transfer.clone();
            self.sync = Some(tokio::task::spawn_blocking(move || transfer.record_durable()));
        }
        Ok(())
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
