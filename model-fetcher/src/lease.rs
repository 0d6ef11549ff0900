//! One writer per folder. The lock is a file; the lease is the right to write that it grants, which its holder renews
//! with heartbeats. A lock is taken over when its holder is dead or unresponsive.
//!
//! This works without `flock`, because the lock is an exclusive create. `flock` only detects earlier that a
//! holder on this machine is dead. A holder that resumes after a takeover finds its staging folder gone
//! (`store::staging`), so two writers never share a final name. Clocks of machines are never compared: each
//! waiter measures how long the lock is unchanged.

mod boot_id;
mod lock_file;
mod record;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use self::lock_file::LockFile;
pub(crate) use boot_id::boot_id;
pub(crate) use record::LeaseRecord;

use crate::error::FetcherError;
use crate::store::staging::PreviousHolder;
use model_fetcher_contract::{LOCK_FILE, WORK_FOLDER};

/// Interval at which a waiter retries the lock.
pub(crate) const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// Heartbeats per lease timeout. A few may be late, on a slow volume, before the lease expires.
const BEATS_PER_LEASE: u32 = 6;

/// Returns what the holder of the lock is doing, for waiters.
pub(crate) type ActivitySource = Arc<dyn Fn() -> String + Send + Sync>;

/// Exclusive permission to write to a folder. Dropping it releases the lock.
pub(crate) struct Lease {
    lock_path: PathBuf,
    record: LeaseRecord,
    previous_holder: PreviousHolder,
    /// Set by the heartbeat.
    loss: Arc<OnceLock<LockLoss>>,
    stop: Option<Sender<()>>,
    heartbeat: Option<JoinHandle<()>>,
    /// Kept open for its `flock`.
    _file: File,
}

/// How a fetcher lost its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LockLoss {
    /// Another fetcher took it over.
    TakenOver(LeaseRecord),
    /// The lock or its folder was deleted, and no other fetcher holds it.
    Deleted,
}

/// Result of an attempt to acquire the lock.
pub(crate) enum LockAttempt {
    Acquired(Lease),
    /// Another fetcher holds it. `is_alive` is set if it renewed its lease since the first attempt, or runs on this
    /// machine.
    Held {
        holder: LeaseRecord,
        is_alive: bool,
    },
    /// The folder does not exist.
    NoFolder,
}

/// Monitors another fetcher's lock for heartbeats.
#[derive(Default)]
pub(crate) struct LockMonitor {
    last_state: Option<(Vec<u8>, Option<SystemTime>)>,
    unchanged_since: Option<Instant>,
    has_changed: bool,
}

impl LockMonitor {
    /// Returns how long the lock is unchanged at `now`. Its modification time is compared only with earlier
    /// values and never with a clock: machines disagree, and clocks jump.
    fn silence_duration(&mut self, lock: &LockFile, now: Instant) -> Duration {
        let is_unchanged =
            self.last_state.as_ref().is_some_and(|last| last.0 == lock.content && last.1 == lock.modified);
        if !is_unchanged {
            self.has_changed = self.last_state.is_some();
            self.last_state = Some((lock.content.clone(), lock.modified));
            self.unchanged_since = None;
        }
        now.saturating_duration_since(*self.unchanged_since.get_or_insert(now))
    }
}

impl Lease {
    /// Acquires the lock of `folder` if it is free, its holder is dead, or it is unchanged for
    /// `lease_timeout` at `now`.
    pub(crate) fn try_acquire(
        folder: &Path,
        lease_timeout: Duration,
        monitor: &mut LockMonitor,
        now: Instant,
    ) -> Result<LockAttempt, FetcherError> {
        let lock_path = folder.join(LOCK_FILE);
        let attempt = try_acquire(&lock_path, lease_timeout, monitor, now);
        attempt.map_err(|(action, error)| FetcherError::disk(action, lock_path, error))
    }

    /// Starts the heartbeat. Each beat writes the current activity.
    pub(crate) fn start_heartbeat(
        &mut self,
        lease_timeout: Duration,
        activity: ActivitySource,
    ) -> Result<(), FetcherError> {
        let (stop, stopped) = mpsc::channel();
        let (lock_path, mut record, loss) = (self.lock_path.clone(), self.record.clone(), self.loss.clone());
        let beat = move || {
            while stopped.recv_timeout(lease_timeout / BEATS_PER_LEASE) == Err(RecvTimeoutError::Timeout) {
                record.beat(activity());
                if let Some(found) = find_loss(&lock_path, &record) {
                    // Only this thread sets it.
                    let _ = loss.set(found);
                    return;
                }
                // A beat that cannot be written is skipped.
                let _ = lock_file::overwrite(&lock_path, &record);
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".into()).spawn(beat);
        self.heartbeat = Some(
            thread.map_err(|error| FetcherError::disk("start the heartbeat of", &self.lock_path, error))?,
        );
        self.stop = Some(stop);
        Ok(())
    }

    /// Returns how the lock was lost, if it was.
    pub(crate) fn loss(&self) -> Option<LockLoss> {
        self.reported_loss().or_else(|| find_loss(&self.lock_path, &self.record))
    }

    /// Returns the loss that the heartbeat found. Does no I/O.
    pub(crate) fn reported_loss(&self) -> Option<LockLoss> {
        self.loss.get().cloned()
    }

    pub(crate) fn token(&self) -> &str {
        &self.record.token
    }

    pub(crate) fn previous_holder(&self) -> PreviousHolder {
        self.previous_holder
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(heartbeat) = self.heartbeat.take() {
            // The folder is complete or the fetch has failed: a panic of the thread does not change the result.
            let _ = heartbeat.join();
        }
        if find_loss(&self.lock_path, &self.record).is_none() {
            // If this fails, the next fetcher takes over the lock.
            let _ = fs::remove_file(&self.lock_path);
        }
    }
}

/// An error and the action that failed.
type LockError = (&'static str, io::Error);

fn try_acquire(
    lock_path: &Path,
    lease_timeout: Duration,
    monitor: &mut LockMonitor,
    now: Instant,
) -> Result<LockAttempt, LockError> {
    let lock = match LockFile::read(lock_path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return acquire_free(lock_path, LeaseRecord::unknown(), PreviousHolder::Exited);
        }
        Err(error) => return Err(("read", error)),
    };
    let holder = lock.record();
    let is_local = holder.is_from_this_machine(&lock.file);
    let flocked = is_local.then(|| flock(&lock.file, FlockOperation::NonBlockingLockExclusive));
    let is_dead = matches!(flocked, Some(Ok(())));
    let is_silent = monitor.silence_duration(&lock, now) >= lease_timeout;
    if !is_dead && !is_silent {
        let runs_here = matches!(flocked, Some(Err(Errno::WOULDBLOCK)));
        return Ok(LockAttempt::Held { holder, is_alive: runs_here || monitor.has_changed });
    }
    if !lock_file::remove_if_unchanged(lock_path, &lock).map_err(|error| ("take over", error))? {
        return Ok(LockAttempt::Held { holder, is_alive: false });
    }
    let previous_holder = if is_dead { PreviousHolder::Exited } else { PreviousHolder::Unresponsive };
    acquire_free(lock_path, holder, previous_holder)
}

/// Creates the lock unless another process was faster. `holder` is the last known one.
fn acquire_free(
    lock_path: &Path,
    holder: LeaseRecord,
    previous_holder: PreviousHolder,
) -> Result<LockAttempt, LockError> {
    match lock_file::create(lock_path) {
        Ok((file, record)) => Ok(LockAttempt::Acquired(Lease {
            lock_path: lock_path.to_owned(),
            record,
            previous_holder,
            loss: Arc::default(),
            stop: None,
            heartbeat: None,
            _file: file,
        })),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(LockAttempt::Held { holder, is_alive: false })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(LockAttempt::NoFolder),
        Err(error) => Err(("create", error)),
    }
}

/// Returns how the lock of `record` was lost. A lock that cannot be read is not lost: the volume may be slow to answer,
/// and a takeover also removes the staging folder.
fn find_loss(lock_path: &Path, record: &LeaseRecord) -> Option<LockLoss> {
    match LockFile::read(lock_path) {
        Ok(lock) => Some(lock.record()).filter(|found| found.token != record.token).map(LockLoss::TakenOver),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(match was_taken_over(lock_path, record) {
                true => LockLoss::TakenOver(LeaseRecord::unknown()),
                false => LockLoss::Deleted,
            })
        }
        Err(_) => None,
    }
}

/// Returns whether a missing lock was taken over by a fetcher that has released it since. It moved the staging folder.
fn was_taken_over(lock_path: &Path, record: &LeaseRecord) -> bool {
    let folder = lock_path.parent().unwrap_or(lock_path);
    folder.is_dir() && !folder.join(WORK_FOLDER).join(&record.token).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    const SHORT_TIMEOUT: Duration = Duration::from_millis(60);

    fn try_acquire(folder: &Path, timeout: Duration, monitor: &mut LockMonitor) -> Option<Lease> {
        match Lease::try_acquire(folder, timeout, monitor, Instant::now()).unwrap() {
            LockAttempt::Acquired(lease) => Some(lease),
            LockAttempt::Held { .. } => None,
            LockAttempt::NoFolder => panic!("the folder exists"),
        }
    }

    #[test]
    fn lock_is_exclusive_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let first = try_acquire(folder.path(), Duration::MAX, &mut LockMonitor::default()).unwrap();
        assert!(try_acquire(folder.path(), Duration::MAX, &mut LockMonitor::default()).is_none());
        drop(first);
        assert!(!folder.path().join(LOCK_FILE).exists());
        assert!(try_acquire(folder.path(), Duration::MAX, &mut LockMonitor::default()).is_some());
    }

    #[test]
    fn lock_of_dead_process_is_acquired_immediately() {
        let folder = tempfile::tempdir().unwrap();
        let lock_path = folder.path().join(LOCK_FILE);
        let file = File::create(&lock_path).unwrap();
        fs::write(&lock_path, LeaseRecord::for_this_process(&file).to_json()).unwrap();
        let lease = try_acquire(folder.path(), Duration::MAX, &mut LockMonitor::default()).unwrap();
        assert_eq!(lease.previous_holder(), PreviousHolder::Exited);
    }

    #[test]
    fn silent_remote_holder_loses_lock_and_detects_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = try_acquire(folder.path(), Duration::MAX, &mut LockMonitor::default()).unwrap();
        first.record.boot = "another".into();
        fs::write(&first.lock_path, first.record.to_json()).unwrap();
        let mut monitor = LockMonitor::default();
        let second = std::iter::repeat_with(|| try_acquire(folder.path(), SHORT_TIMEOUT, &mut monitor))
            .flatten()
            .next()
            .unwrap();
        assert_eq!(second.previous_holder(), PreviousHolder::Unresponsive);
        assert_eq!(first.loss(), Some(LockLoss::TakenOver(second.record.clone())));
        drop(first);
        assert_eq!(second.loss(), None, "the second lock remains when the first is dropped");
        let staging = folder.path().join(WORK_FOLDER).join(second.token());
        fs::create_dir_all(&staging).unwrap();
        fs::remove_file(&second.lock_path).unwrap();
        assert_eq!(second.loss(), Some(LockLoss::Deleted));
        fs::remove_dir(staging).unwrap();
        assert_eq!(second.loss(), Some(LockLoss::TakenOver(LeaseRecord::unknown())));
        fs::remove_dir_all(folder.path()).unwrap();
        assert_eq!(second.loss(), Some(LockLoss::Deleted));
    }

    /// Returns whether a waiter acquires a lock whose modification time changes as in `times`, in seconds
    /// since the first check.
    fn is_acquired_after(times: &[(u64, i64)]) -> bool {
        const TIMEOUT: Duration = Duration::from_secs(60);
        let folder = tempfile::tempdir().unwrap();
        let lock_path = folder.path().join(LOCK_FILE);
        fs::write(&lock_path, br#"{"token":"0123","boot":"another"}"#).unwrap();
        let (start, mut monitor) = (Instant::now(), LockMonitor::default());
        let base_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        times.iter().any(|(at, shift)| {
            let shifted = match shift {
                0.. => base_time + Duration::from_secs(shift.unsigned_abs()),
                _ => base_time - Duration::from_secs(shift.unsigned_abs()),
            };
            File::options().write(true).open(&lock_path).unwrap().set_modified(shifted).unwrap();
            let now = start + Duration::from_secs(*at);
            matches!(
                Lease::try_acquire(folder.path(), TIMEOUT, &mut monitor, now).unwrap(),
                LockAttempt::Acquired(_)
            )
        })
    }

    #[test]
    fn clock_jumps_do_not_expire_lock() {
        const YEAR: i64 = 31_536_000;
        assert!(
            !is_acquired_after(&[(0, 0), (30, YEAR), (59, -YEAR), (100, 5), (150, 5)]),
            "every beat resets the timeout"
        );
        assert!(!is_acquired_after(&[(0, -YEAR), (59, -YEAR)]), "an old time alone does not expire the lock");
        assert!(!is_acquired_after(&[(0, YEAR), (59, YEAR)]), "a future time alone does not expire the lock");
        assert!(is_acquired_after(&[(0, YEAR), (60, YEAR)]), "an unchanged lock expires");
    }

    #[test]
    fn heartbeat_updates_record_and_retains_lock() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = try_acquire(folder.path(), Duration::MAX, &mut LockMonitor::default()).unwrap();
        let beats = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = beats.clone();
        first
            .start_heartbeat(
                SHORT_TIMEOUT,
                Arc::new(move || format!("beat {}", counted.fetch_add(1, Ordering::Relaxed))),
            )
            .unwrap();
        while beats.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        let record = LockFile::read(&first.lock_path).unwrap().record();
        assert!(record.activity.starts_with("beat"), "{record:?}");
        assert_eq!(first.reported_loss(), None);
    }

    #[test]
    fn holder_is_alive_if_it_runs_here_or_beats() {
        let folder = tempfile::tempdir().unwrap();
        let is_alive = |monitor: &mut LockMonitor| match Lease::try_acquire(
            folder.path(),
            Duration::MAX,
            monitor,
            Instant::now(),
        )
        .unwrap()
        {
            LockAttempt::Held { is_alive, .. } => is_alive,
            _ => panic!("the lock is held"),
        };
        let mut local = try_acquire(folder.path(), Duration::MAX, &mut LockMonitor::default()).unwrap();
        assert!(is_alive(&mut LockMonitor::default()));
        local.record.boot = "another".into();
        fs::write(&local.lock_path, local.record.to_json()).unwrap();
        let mut monitor = LockMonitor::default();
        assert!(!is_alive(&mut monitor) && !is_alive(&mut monitor), "nothing is known about another machine");
        local.record.beat("fetching".into());
        fs::write(&local.lock_path, local.record.to_json()).unwrap();
        assert!(is_alive(&mut monitor) && is_alive(&mut monitor));
    }

    #[test]
    fn missing_folder_is_not_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let attempt =
            Lease::try_acquire(&missing, Duration::MAX, &mut LockMonitor::default(), Instant::now()).unwrap();
        assert!(matches!(attempt, LockAttempt::NoFolder));
    }
}
