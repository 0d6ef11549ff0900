//! Transfers the missing files of a plan: connections, retries, records that survive a kill, and commits.
//! It must not decide what to fetch; the plan does.

pub(crate) mod budget;
mod checkpoint;
mod in_order_hasher;
mod partial;
mod queue;
pub(crate) mod throughput;
mod worker;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use budget::{MemoryBudget, TransferLimits};
use checkpoint::Checkpointer;
use partial::PartialFile;
use queue::{PieceOrder, PieceQueue};
use throughput::{ConcurrencyRamp, Throughput, TransferRate};

use crate::digest::HASHING_ENABLED;
use crate::error::FetcherError;
use crate::fetch::indexes::IndexCheck;
use crate::options::FetchOptions;
use crate::ranges::RangeSet;
use crate::retry::RetryLimits;
use crate::source::ModelSource;
use crate::store::staging::StagingDir;
use crate::store::{ModelStore, modified_nanoseconds};
use model_fetcher_contract::{FileProgress, PARTIAL_SUFFIX, ProgressEvent, ReceiptFile, RemoteFile};

/// How often the transfer is supervised. Chosen: well below the intervals that it measures (200 ms of the ramp).
const TICK_INTERVAL: Duration = Duration::from_millis(50);
/// Interval of progress events. The documentation of `progress` names it.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);
/// Window of the reported rate. Chosen: short enough to show a stall, long enough not to flicker.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Chosen: as many files as fit on a screen.
const MAX_FILES_REPORTED: usize = 8;
/// Connections at the start. Chosen: few, because the ramp doubles them every 200 ms if that helps.
const MIN_CONNECTIONS: usize = 4;
/// Small files per connection at the start: each costs a round trip and hardly any data.
const SMALL_FILES_PER_CONNECTION: usize = 4;
/// Maximum number of files whose existing content is hashed at the same time. Chosen: most machines have more cores,
/// and the connections need some of them.
const MAX_CONCURRENT_REHASHES: usize = 2;

/// State that the connections of one fetch share.
pub(crate) struct Transfer<S> {
    source: Arc<S>,
    store: ModelStore,
    staging: Arc<StagingDir>,
    commit: String,
    files: Vec<PartialFile>,
    /// Bytes and files of the plan that were already present.
    already_present: AlreadyPresent,
    indexes: IndexCheck,
    queue: Mutex<PieceQueue>,
    queue_changed: Notify,
    concurrency: AtomicUsize,
    budget: MemoryBudget,
    throughput: Throughput,
    limits: TransferLimits,
    retry_limits: RetryLimits,
    started: Instant,
    /// Time of the last new byte, or the end of a later delay of a rate limit, in milliseconds since the
    /// start.
    last_progress_ms: AtomicU64,
    verified: Mutex<Vec<ReceiptFile>>,
    events: UnboundedSender<ProgressEvent>,
}

/// The files to fetch, and the part of the plan that is already present.
#[derive(Debug)]
pub(crate) struct TransferJob {
    pub(crate) commit: String,
    pub(crate) missing: Vec<RemoteFile>,
    pub(crate) already_present: AlreadyPresent,
    /// Checks each index of weights once its content is verified.
    pub(crate) indexes: IndexCheck,
}

/// Where files are written: unfinished ones, and finished ones.
pub(crate) struct TransferPlace {
    pub(crate) store: ModelStore,
    pub(crate) staging: Arc<StagingDir>,
}

/// Bytes and files that need no transfer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AlreadyPresent {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// Result of a transfer.
#[derive(Debug)]
pub(crate) struct TransferResult {
    pub(crate) files: Vec<ReceiptFile>,
    /// Includes repeated bytes.
    pub(crate) bytes_fetched: u64,
}

impl<S: ModelSource> Transfer<S> {
    /// Opens the partial files of the missing files, which are fetched in this order.
    pub(crate) fn prepare(
        source: Arc<S>,
        place: TransferPlace,
        job: TransferJob,
        options: &FetchOptions,
        events: UnboundedSender<ProgressEvent>,
    ) -> Result<Self, FetcherError> {
        let TransferPlace { store, staging } = place;
        let TransferJob { commit, missing, already_present, indexes } = job;
        let mut limits = TransferLimits::for_this_process();
        limits.connections = options.connections.unwrap_or(limits.connections).max(1);
        let names = partial_names(&missing);
        staging.retain_only(|name| names.iter().any(|planned| planned == name))?;
        let files = names
            .into_iter()
            .zip(missing)
            .map(|(name, remote)| PartialFile::open(&staging, name, remote))
            .collect::<Result<Vec<_>, _>>()?;
        let gaps = files.iter().map(|file| file.written().gaps(file.remote.size)).collect();
        let order = if options.sequential { PieceOrder::Sequential } else { PieceOrder::Parallel };
        Ok(Self {
            queue: Mutex::new(PieceQueue::new(gaps, limits.piece_bytes, order)),
            source,
            store,
            staging,
            commit,
            files,
            already_present,
            indexes,
            queue_changed: Notify::new(),
            concurrency: AtomicUsize::new(0),
            budget: MemoryBudget::new(limits.buffer_bytes),
            throughput: Throughput::default(),
            limits,
            retry_limits: RetryLimits::from_options(options),
            started: Instant::now(),
            last_progress_ms: AtomicU64::new(0),
            verified: Mutex::default(),
            events,
        })
    }

    /// Returns the bytes that earlier runs wrote to the partial files.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.files.iter().map(|file| file.written().bytes()).sum()
    }

    /// Returns the free bytes that the transfer requires.
    pub(crate) fn bytes_required(&self) -> u64 {
        self.files.iter().map(PartialFile::bytes_required).sum()
    }

    /// Fetches, verifies, and commits every file. Calls `check_lease` often; an error from it ends
    /// the transfer.
    pub(crate) async fn run(
        self: Arc<Self>,
        check_lease: impl Fn() -> Result<(), FetcherError>,
    ) -> Result<TransferResult, FetcherError> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().hash_existing());
        for worker in 0..self.limits.connections {
            tasks.spawn(self.clone().run_worker(worker));
        }
        let outcome = self.supervise(&mut tasks, check_lease).await;
        tasks.shutdown().await;
        if outcome.is_err() {
            // The next run resumes from this record. A failure to write it only costs time.
            let _ = self.staging.record_written(self.unfinished_ranges());
        }
        outcome?;
        let files = std::mem::take(&mut *self.verified.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(TransferResult { files, bytes_fetched: self.throughput.received() })
    }

    async fn supervise(
        self: &Arc<Self>,
        tasks: &mut JoinSet<Result<(), FetcherError>>,
        check_lease: impl Fn() -> Result<(), FetcherError>,
    ) -> Result<(), FetcherError> {
        let mut checkpointer = Checkpointer::new(self.clone());
        let mut ramp =
            ConcurrencyRamp::new(self.initial_connections(), self.limits.connections, Instant::now());
        self.set_concurrency(ramp.concurrency());
        let mut rate = TransferRate::new(RATE_WINDOW);
        let mut reported = Instant::now();
        let mut ticks = tokio::time::interval(TICK_INTERVAL);
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(Ok(result)) => result?,
                    Some(Err(error)) => return Err(FetcherError::Client { reason: format!("connection task failed: {error}") }),
                    None => return checkpointer.wait_for_sync().await,
                },
                _ = ticks.tick() => {
                    check_lease()?;
                    let now = Instant::now();
                    self.set_concurrency(ramp.observe(now, self.throughput.received()));
                    checkpointer.tick(now).await?;
                    if now.duration_since(reported) >= REPORT_INTERVAL {
                        reported = now;
                        self.report(rate.sample(now, self.throughput.received()));
                    }
                }
            }
        }
    }

    /// Returns the initial number of connections. A few connections each stream one large file in hashing
    /// order. Small files cost round trips and no memory, so many of them use many connections immediately.
    fn initial_connections(&self) -> usize {
        let is_small = |file: &&PartialFile| file.remote.size < self.limits.piece_bytes;
        (self.files.iter().filter(is_small).count() / SMALL_FILES_PER_CONNECTION).max(MIN_CONNECTIONS)
    }

    /// Sets how many connections may fetch.
    fn set_concurrency(&self, connections: usize) {
        if self.concurrency.swap(connections, Ordering::Relaxed) != connections {
            self.queue_changed.notify_waiters();
        }
    }

    /// Hashes content of earlier runs while the connections fetch the rest.
    async fn hash_existing(self: Arc<Self>) -> Result<(), FetcherError> {
        let is_empty =
            |index: &usize| self.files[*index].written().bytes() == 0 && self.files[*index].remote.size > 0;
        let with_content = (0..self.files.len()).filter(|index| !is_empty(index));
        let hashed = futures::stream::iter(with_content).map(|index| {
            let transfer = self.clone();
            async move {
                let shared = transfer.clone();
                let hash = move || shared.files[index].hash_ready(&shared.budget);
                match run_blocking(hash).await? {
                    Some(digits) => transfer.finish_file(index, digits).await,
                    None => Ok(()),
                }
            }
        });
        let mut hashed = hashed.buffer_unordered(MAX_CONCURRENT_REHASHES);
        while let Some(result) = hashed.next().await {
            result?;
        }
        Ok(())
    }

    /// Finishes a completely received file: commits it if its hash matches, else fetches it once more.
    async fn finish_file(self: &Arc<Self>, index: usize, digits: String) -> Result<(), FetcherError> {
        let partial = &self.files[index];
        let remote = &partial.remote;
        if HASHING_ENABLED && digits != remote.checksum.digits() {
            if partial.has_failed_once() {
                return Err(FetcherError::HashMismatch {
                    path: remote.path.clone(),
                    expected: remote.checksum.digits().to_owned(),
                    found: digits,
                });
            }
            let text = format!("{} does not match its hash and is fetched again", remote.path);
            self.send_event(ProgressEvent::Warning { text });
            partial.restart(&self.budget);
            self.lock_queue().requeue(index, remote.size);
            self.queue_changed.notify_waiters();
            return Ok(());
        }
        let transfer = self.clone();
        run_blocking(move || transfer.commit(&transfer.files[index])).await?;
        self.send_event(ProgressEvent::FileVerified { path: remote.path.clone(), bytes: remote.size });
        self.queue_changed.notify_waiters();
        Ok(())
    }

    fn commit(&self, partial: &PartialFile) -> Result<(), FetcherError> {
        let remote = &partial.remote;
        partial.sync()?;
        self.store.commit(partial.path(), &remote.path)?;
        self.indexes.check_content(&self.store, &remote.path)?;
        let metadata = self.store.file_metadata(&remote.path)?;
        let modified = metadata.as_ref().map(modified_nanoseconds).unwrap_or_default();
        let file = ReceiptFile {
            path: remote.path.clone(),
            size: remote.size,
            checksum: remote.checksum.clone(),
            modified,
        };
        self.verified.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        partial.set_committed();
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.files.iter().all(PartialFile::is_committed)
    }

    /// Marks that new bytes arrived.
    fn mark_progress(&self) {
        self.mark_progress_at(self.started.elapsed());
    }

    /// Marks that the time since the start up to `at` does not count as a stall.
    fn mark_progress_at(&self, at: Duration) {
        self.last_progress_ms.fetch_max(at.as_millis() as u64, Ordering::Relaxed);
    }

    /// Returns the time of the last progress since the start.
    fn last_progress(&self) -> Duration {
        Duration::from_millis(self.last_progress_ms.load(Ordering::Relaxed))
    }

    /// Returns how long no new byte arrived.
    fn idle_time(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.last_progress())
    }

    fn lock_queue(&self) -> MutexGuard<'_, PieceQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send_event(&self, event: ProgressEvent) {
        // A closed receiver only means that nothing shows the events.
        let _ = self.events.send(event);
    }

    fn report(&self, bytes_per_second: u64) {
        let total = self.already_present.bytes + self.files.iter().map(|file| file.remote.size).sum::<u64>();
        let done = self.already_present.bytes + self.bytes_written();
        let verified =
            self.already_present.bytes + self.files.iter().map(PartialFile::hashed_bytes).sum::<u64>();
        let committed = self.files.iter().filter(|file| file.is_committed()).count();
        self.send_event(ProgressEvent::Progress {
            bytes_done: done,
            bytes_total: total,
            bytes_verified: verified,
            files_done: self.already_present.files + committed,
            files_total: self.already_present.files + self.files.len(),
            bytes_per_second,
            eta_seconds: (total - done).checked_div(bytes_per_second),
            retries: self.throughput.retries.load(Ordering::Relaxed),
            connections: self.throughput.busy.load(Ordering::Relaxed),
            fetching: self.files_in_flight(),
        });
    }

    fn files_in_flight(&self) -> Vec<FileProgress> {
        let in_flight = self.lock_queue().in_flight().into_iter().take(MAX_FILES_REPORTED);
        let progress = in_flight.map(|index| {
            let file = &self.files[index];
            let (path, bytes_total) = (file.remote.path.clone(), file.remote.size);
            FileProgress { path, bytes_done: file.written().bytes(), bytes_total }
        });
        progress.collect()
    }

    /// Returns the written ranges of each unfinished file.
    fn unfinished_ranges(&self) -> BTreeMap<String, RangeSet> {
        let unfinished = self.files.iter().filter(|file| !file.is_committed());
        unfinished.map(|file| (file.name.clone(), file.written().clone())).collect()
    }
}

/// Returns the names of partial files. They depend on content, so that another revision with the same file
/// resumes it.
fn partial_names(files: &[RemoteFile]) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    let names = files.iter().map(|file| {
        let digits = file.checksum.digits();
        let ordinal = counts.entry(digits).or_default();
        *ordinal += 1;
        format!("{digits}.{ordinal}{PARTIAL_SUFFIX}")
    });
    names.collect()
}

/// Runs blocking work on a thread pool.
async fn run_blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, FetcherError> + Send + 'static,
) -> Result<T, FetcherError> {
    let result = tokio::task::spawn_blocking(task).await;
    result
        .unwrap_or_else(|error| Err(FetcherError::Client { reason: format!("worker task failed: {error}") }))
}
