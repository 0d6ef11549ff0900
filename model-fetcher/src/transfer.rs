//! Moves what a plan is missing: connections, retries, the records that make a kill harmless, commits.

pub(crate) mod budget;
mod frontier;
mod lane;
pub(crate) mod meter;
mod partial;
mod queue;
mod records;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use budget::{Budget, Limits};
use meter::{Meter, Ramp, Rate};
use partial::Partial;
use queue::Queue;
use records::Records;

use crate::contract::{FileProgress, PARTIAL_SUFFIX, ProgressEvent, ReceiptFile, RemoteFile};
use crate::digest::VERIFIES;
use crate::error::Error;
use crate::options::FetchOptions;
use crate::ranges::RangeSet;
use crate::source::ModelSource;
use crate::store::work::Work;
use crate::store::{Store, modified};

const TICK: Duration = Duration::from_millis(50);
const REPORT_EVERY: Duration = Duration::from_millis(500);
const RATE_WINDOW: Duration = Duration::from_secs(5);
const MOST_FILES_REPORTED: usize = 8;
const FEWEST_CONNECTIONS: usize = 4;
/// Files whose earlier content is hashed at the same time.
const REHASH_AT_ONCE: usize = 2;

/// Everything the connections of one fetch share.
pub(crate) struct Transfer<S> {
    source: Arc<S>,
    store: Store,
    work: Arc<Work>,
    commit: String,
    files: Vec<Partial>,
    /// Bytes and files of the plan that were in place before.
    kept: Kept,
    queue: Mutex<Queue>,
    changed: Notify,
    allowed: AtomicUsize,
    budget: Budget,
    meter: Meter,
    limits: Limits,
    stall_timeout: Duration,
    started: Instant,
    /// Milliseconds from the start to the last new byte.
    last_move: AtomicU64,
    verified: Mutex<Vec<ReceiptFile>>,
    notices: UnboundedSender<ProgressEvent>,
}

/// What to fetch, and what of the plan is in place already.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) commit: String,
    pub(crate) missing: Vec<RemoteFile>,
    pub(crate) kept: Kept,
}

/// What needs no transfer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Kept {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
}

/// What a transfer did.
#[derive(Debug)]
pub(crate) struct Transferred {
    pub(crate) files: Vec<ReceiptFile>,
    pub(crate) bytes_received: u64,
}

impl<S: ModelSource> Transfer<S> {
    /// Opens the partial files of what is missing, which is fetched in this order.
    pub(crate) fn prepare(
        source: Arc<S>,
        store: Store,
        work: Arc<Work>,
        assignment: Assignment,
        options: &FetchOptions,
        notices: UnboundedSender<ProgressEvent>,
    ) -> Result<Self, Error> {
        let Assignment { commit, missing, kept } = assignment;
        let mut limits = Limits::here();
        limits.connections = options.connections.unwrap_or(limits.connections).max(1);
        let names = partial_names(&missing);
        work.keep_only(|name| names.iter().any(|wanted| wanted == name))?;
        let files = names
            .into_iter()
            .zip(missing)
            .map(|(name, remote)| Partial::open(&work, name, remote))
            .collect::<Result<Vec<_>, _>>()?;
        let gaps = files.iter().map(|file| file.written().gaps(file.remote.size)).collect();
        Ok(Self {
            queue: Mutex::new(Queue::new(gaps, limits.piece_bytes, options.sequential)),
            source,
            store,
            work,
            commit,
            files,
            kept,
            changed: Notify::new(),
            allowed: AtomicUsize::new(0),
            budget: Budget::new(limits.held_bytes),
            meter: Meter::default(),
            limits,
            stall_timeout: options.stall_timeout,
            started: Instant::now(),
            last_move: AtomicU64::new(0),
            verified: Mutex::default(),
            notices,
        })
    }

    /// Bytes that earlier runs left in the partial files.
    pub(crate) fn bytes_found(&self) -> u64 {
        self.files.iter().map(|file| file.written().bytes()).sum()
    }

    /// Bytes of room that have to be free.
    pub(crate) fn room_needed(&self) -> u64 {
        self.files.iter().map(Partial::room_needed).sum()
    }

    /// Fetches, verifies and commits every file. `still_ours` is asked often; an error from it ends the transfer.
    pub(crate) async fn run(
        self: Arc<Self>,
        still_ours: impl Fn() -> Result<(), Error>,
    ) -> Result<Transferred, Error> {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().rehash_found());
        for lane in 0..self.limits.connections {
            tasks.spawn(self.clone().lane(lane));
        }
        let outcome = self.supervise(&mut tasks, still_ours).await;
        tasks.shutdown().await;
        if outcome.is_err() {
            // The next run starts from here. A record that cannot be written costs only time then.
            let _ = self.work.record_written(self.progress());
        }
        outcome?;
        let files = std::mem::take(&mut *self.verified.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Transferred { files, bytes_received: self.meter.received() })
    }

    async fn supervise(
        self: &Arc<Self>,
        tasks: &mut JoinSet<Result<(), Error>>,
        still_ours: impl Fn() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut records = Records::new(self.clone());
        let mut ramp = Ramp::new(self.first_connections(), self.limits.connections, Instant::now());
        self.allow(ramp.allowed());
        let mut rate = Rate::over(RATE_WINDOW);
        let mut reported = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(Ok(result)) => result?,
                    Some(Err(error)) => return Err(Error::Client { reason: format!("a connection ended: {error}") }),
                    None => return records.finish().await,
                },
                _ = ticks.tick() => {
                    still_ours()?;
                    let now = Instant::now();
                    self.allow(ramp.observe(now, self.meter.received()));
                    records.tick(now).await?;
                    if now.duration_since(reported) >= REPORT_EVERY {
                        reported = now;
                        self.report(rate.at(now, self.meter.received()));
                    }
                }
            }
        }
    }

    /// A few connections, each of which streams a large file of its own in the order in which it is hashed. Small
    /// files cost round trips and no memory, so many of them get many connections at once.
    fn first_connections(&self) -> usize {
        let is_small = |file: &&Partial| file.remote.size < self.limits.piece_bytes;
        (self.files.iter().filter(is_small).count() / 4).max(FEWEST_CONNECTIONS)
    }

    /// Lets this many connections fetch.
    fn allow(&self, connections: usize) {
        if self.allowed.swap(connections, Ordering::Relaxed) != connections {
            self.changed.notify_waiters();
        }
    }

    /// Hashes what earlier runs left, while the connections fetch the rest.
    async fn rehash_found(self: Arc<Self>) -> Result<(), Error> {
        let found =
            |index: &usize| self.files[*index].written().bytes() == 0 && self.files[*index].remote.size > 0;
        let with_content = (0..self.files.len()).filter(|index| !found(index));
        let hashed = futures::stream::iter(with_content).map(|index| {
            let transfer = self.clone();
            async move {
                let shared = transfer.clone();
                let hash = move || shared.files[index].advance(&shared.budget);
                match blocking(hash).await? {
                    Some(digits) => transfer.finish(index, digits).await,
                    None => Ok(()),
                }
            }
        });
        let mut hashed = hashed.buffer_unordered(REHASH_AT_ONCE);
        while let Some(result) = hashed.next().await {
            result?;
        }
        Ok(())
    }

    /// A whole file: commits it when its hash is right, fetches it once more when it is not.
    async fn finish(self: &Arc<Self>, index: usize, digits: String) -> Result<(), Error> {
        let partial = &self.files[index];
        let remote = &partial.remote;
        if VERIFIES && digits != remote.checksum.digits() {
            if partial.was_wrong() {
                return Err(Error::Content {
                    path: remote.path.clone(),
                    expected: remote.checksum.digits().to_owned(),
                    found: digits,
                });
            }
            let text = format!("{} does not match its hash and is fetched again", remote.path);
            self.notify(ProgressEvent::Warning { text });
            partial.start_over(&self.budget);
            self.queue().start_over(index, remote.size);
            self.changed.notify_waiters();
            return Ok(());
        }
        let transfer = self.clone();
        blocking(move || transfer.commit(&transfer.files[index])).await?;
        self.notify(ProgressEvent::FileVerified { path: remote.path.clone(), bytes: remote.size });
        self.changed.notify_waiters();
        Ok(())
    }

    fn commit(&self, partial: &Partial) -> Result<(), Error> {
        let remote = &partial.remote;
        partial.sync()?;
        self.store.commit(partial.place(), &remote.path)?;
        let found = self.store.present(&remote.path)?;
        let modified = found.as_ref().map(modified).unwrap_or_default();
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
        self.files.iter().all(Partial::is_committed)
    }

    /// Notes that something new arrived.
    fn moved(&self) {
        self.last_move.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long nothing new arrived.
    fn stalled(&self) -> Duration {
        let last = Duration::from_millis(self.last_move.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self, event: ProgressEvent) {
        // A receiver that is gone only means that nobody watches.
        let _ = self.notices.send(event);
    }

    fn report(&self, bytes_per_second: u64) {
        let total = self.kept.bytes + self.files.iter().map(|file| file.remote.size).sum::<u64>();
        let done = self.kept.bytes + self.bytes_found();
        let verified = self.kept.bytes + self.files.iter().map(Partial::hashed).sum::<u64>();
        let committed = self.files.iter().filter(|file| file.is_committed()).count();
        self.notify(ProgressEvent::Progress {
            bytes_done: done,
            bytes_total: total,
            bytes_verified: verified,
            files_done: self.kept.files + committed,
            files_total: self.kept.files + self.files.len(),
            bytes_per_second,
            eta_seconds: (total - done).checked_div(bytes_per_second),
            retries: self.meter.retries.load(Ordering::Relaxed),
            connections: self.meter.busy.load(Ordering::Relaxed),
            fetching: self.fetching(),
        });
    }

    fn fetching(&self) -> Vec<FileProgress> {
        let in_flight = self.queue().in_flight().into_iter().take(MOST_FILES_REPORTED);
        let progress = in_flight.map(|index| {
            let file = &self.files[index];
            let (path, bytes_total) = (file.remote.path.clone(), file.remote.size);
            FileProgress { path, bytes_done: file.written().bytes(), bytes_total }
        });
        progress.collect()
    }

    /// What is written of each file that has no final name yet.
    fn progress(&self) -> BTreeMap<String, RangeSet> {
        let unfinished = self.files.iter().filter(|file| !file.is_committed());
        unfinished.map(|file| (file.name.clone(), file.written().clone())).collect()
    }
}

/// Partial files are named by content, so that another revision that shares a file continues it.
fn partial_names(files: &[RemoteFile]) -> Vec<String> {
    let mut seen = BTreeMap::<&str, usize>::new();
    let names = files.iter().map(|file| {
        let digits = file.checksum.digits();
        let ordinal = seen.entry(digits).or_default();
        *ordinal += 1;
        format!("{digits}.{ordinal}{PARTIAL_SUFFIX}")
    });
    names.collect()
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Client { reason: format!("a worker ended: {error}") }))
}
