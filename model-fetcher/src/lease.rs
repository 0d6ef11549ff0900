//! One writer for a folder: a lock file with a heartbeat, taken over when its holder is dead or silent.
//!
//! Works where `flock` does not: the lock is made by an exclusive create. `flock` only tells sooner that a holder on
//! this machine is dead. A holder that falls silent and wakes up finds its work folder gone (`store::work`), so two
//! writers never share a final name. No clock is compared: silence is measured by the one who waits.

mod record;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};

pub(crate) use record::{Record, boot_id};

use crate::contract::LOCK_FILE;
use crate::error::Error;
use crate::store::work::Predecessor;

/// What the holder of the lock is doing now, for those who wait.
pub(crate) type Doing = Arc<dyn Fn() -> String + Send + Sync>;

/// The right to write in a folder. Dropping it gives it back.
pub(crate) struct Lease {
    place: PathBuf,
    record: Record,
    predecessor: Predecessor,
    lost: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    heartbeat: Option<JoinHandle<()>>,
    /// Held open for its `flock`.
    _file: Arc<File>,
}

/// What an attempt to take the lock came to.
pub(crate) enum Attempt {
    Held(Lease),
    /// Another one has it; what it says about itself.
    Busy(Record),
}

/// Watches a foreign lock for signs of life.
#[derive(Default)]
pub(crate) struct Watch {
    seen: Option<(Vec<u8>, Option<SystemTime>)>,
    since: Option<Instant>,
}

impl Watch {
    /// How long the lock has looked exactly like this at `now`. Its time is compared with itself only, never with a
    /// clock: machines disagree, and clocks jump.
    fn silence(&mut self, content: &[u8], modified: Option<SystemTime>, now: Instant) -> Duration {
        let same = self.seen.as_ref().is_some_and(|seen| seen.0 == content && seen.1 == modified);
        if !same {
            self.seen = Some((content.to_owned(), modified));
            self.since = None;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }
}

impl Lease {
    /// Takes the lock of `folder` if it is free, its holder is dead, or has been silent for `lease_timeout` at `now`.
    pub(crate) fn attempt(
        folder: &Path,
        lease_timeout: Duration,
        watch: &mut Watch,
        now: Instant,
    ) -> Result<Attempt, Error> {
        let place = folder.join(LOCK_FILE);
        let io_error = |action: &'static str| {
            let place = place.clone();
            move |error| Error::disk(action, place, error)
        };
        match create(&place) {
            Ok(lease) => return Ok(Attempt::Held(lease)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("create")(error)),
        }
        let (file, content) = match read(&place) {
            Ok(found) => found,
            // Given back in this moment: the next attempt decides.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Attempt::Busy(Record::unknown()));
            }
            Err(error) => return Err(io_error("read")(error)),
        };
        let holder = Record::read(&content);
        let modified = file.metadata().and_then(|metadata| metadata.modified()).ok();
        let dead = holder.is_of_this_machine(&file)
            && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        let silent = watch.silence(&content, modified, now) >= lease_timeout;
        if !dead && !silent {
            return Ok(Attempt::Busy(holder));
        }
        if !remove_if_still(&place, &content, &holder).map_err(io_error("take over"))? {
            return Ok(Attempt::Busy(holder));
        }
        match create(&place) {
            Ok(mut lease) => {
                lease.predecessor = if dead { Predecessor::Gone } else { Predecessor::Silent };
                Ok(Attempt::Held(lease))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Attempt::Busy(holder)),
            Err(error) => Err(io_error("create")(error)),
        }
    }

    /// Starts the heartbeat: six beats in `lease_timeout`, each saying what is being done.
    pub(crate) fn keep(&mut self, lease_timeout: Duration, doing: Doing) -> Result<(), Error> {
        let (stop, stopped) = mpsc::channel();
        let (place, mut record, lost) = (self.place.clone(), self.record.clone(), self.lost.clone());
        let beat = move || {
            while stopped.recv_timeout(lease_timeout / 6) == Err(RecvTimeoutError::Timeout) {
                record.beat(doing());
                if !still_ours(&place, &record) {
                    lost.store(true, Ordering::Release);
                    return;
                }
                // A beat that cannot be written is missed; the next one may be.
                let _ = write_in_place(&place, &record);
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".into()).spawn(beat);
        self.heartbeat =
            Some(thread.map_err(|error| Error::disk("start the heartbeat of", &self.place, error))?);
        self.stop = Some(stop);
        Ok(())
    }

    /// Who took the lock away, if anyone did.
    pub(crate) fn lost_to(&self) -> Option<String> {
        let flagged = self.lost.load(Ordering::Acquire);
        (flagged || !still_ours(&self.place, &self.record)).then(|| {
            read(&self.place).map(|(_, content)| Record::read(&content).to_string()).unwrap_or_default()
        })
    }

    /// Whether the heartbeat found the lock taken away. Costs nothing.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(crate) fn token(&self) -> &str {
        &self.record.token
    }

    pub(crate) fn predecessor(&self) -> Predecessor {
        self.predecessor
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(heartbeat) = self.heartbeat.take() {
            // A heartbeat that panicked has nothing left to say.
            let _ = heartbeat.join();
        }
        if still_ours(&self.place, &self.record) {
            // What stays behind is taken over by the next one.
            let _ = fs::remove_file(&self.place);
        }
    }
}

fn create(place: &Path) -> io::Result<Lease> {
    let mut file = File::options().write(true).create_new(true).open(place)?;
    // Where flock is not to be had the heartbeat alone has to do.
    let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
    let record = Record::of_this_process(&file);
    file.write_all(&record.json())?;
    Ok(Lease {
        place: place.to_owned(),
        record,
        predecessor: Predecessor::Gone,
        lost: Arc::default(),
        stop: None,
        heartbeat: None,
        _file: Arc::new(file),
    })
}

fn read(place: &Path) -> io::Result<(File, Vec<u8>)> {
    let mut file = File::open(place)?;
    let mut content = Vec::new();
    io::Read::read_to_end(&mut file, &mut content)?;
    Ok((file, content))
}

fn still_ours(place: &Path, record: &Record) -> bool {
    match read(place) {
        Ok((_, content)) => Record::read(&content).token == record.token,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// One write of constant length, so that a reader never sees half a record.
fn write_in_place(place: &Path, record: &Record) -> io::Result<()> {
    let file = File::options().write(true).open(place)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &record.json(), 0)
}

/// Moves the lock aside and looks again: another one that waits may have been first, then it gets its lock back.
fn remove_if_still(place: &Path, judged: &[u8], holder: &Record) -> io::Result<bool> {
    let aside = place.with_extension(format!("lock.{:016x}", fastrand::u64(..)));
    match fs::rename(place, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    let (_, content) = read(&aside)?;
    if content == judged || Record::read(&content).token == holder.token {
        fs::remove_file(&aside)?;
        return Ok(true);
    }
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    if rustix::fs::renameat_with(rustix::fs::CWD, &aside, rustix::fs::CWD, place, flags).is_err() {
        fs::remove_file(&aside)?;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    fn held(folder: &Path, timeout: Duration, watch: &mut Watch) -> Option<Lease> {
        match Lease::attempt(folder, timeout, watch, Instant::now()).unwrap() {
            Attempt::Held(lease) => Some(lease),
            Attempt::Busy(_) => None,
        }
    }

    #[test]
    fn one_holds_it_until_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = held(folder.path(), Duration::MAX, &mut Watch::default()).unwrap();
        assert!(held(folder.path(), Duration::MAX, &mut Watch::default()).is_none());
        drop(first);
        assert!(!folder.path().join(LOCK_FILE).exists());
        assert!(held(folder.path(), Duration::MAX, &mut Watch::default()).is_some());
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(LOCK_FILE);
        let file = File::create(&place).unwrap();
        fs::write(&place, Record::of_this_process(&file).json()).unwrap();
        let lease = held(folder.path(), Duration::MAX, &mut Watch::default()).unwrap();
        assert_eq!(lease.predecessor(), Predecessor::Gone);
    }

    #[test]
    fn a_silent_holder_of_another_machine_is_taken_over_and_learns_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = held(folder.path(), Duration::MAX, &mut Watch::default()).unwrap();
        first.record.boot = "another".into();
        fs::write(&first.place, first.record.json()).unwrap();
        let mut watch = Watch::default();
        let second =
            std::iter::repeat_with(|| held(folder.path(), SHORT, &mut watch)).flatten().next().unwrap();
        assert_eq!(second.predecessor(), Predecessor::Silent);
        assert!(first.lost_to().is_some());
        drop(first);
        assert!(second.lost_to().is_none(), "the lock of the second stays when the first ends");
    }

    /// What a waiter makes of a foreign lock whose time is `times` at the seconds since the first look.
    fn held_after(times: &[(u64, i64)]) -> bool {
        const TIMEOUT: Duration = Duration::from_secs(60);
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join(LOCK_FILE);
        fs::write(&place, br#"{"token":"0123","boot":"another"}"#).unwrap();
        let (start, mut watch) = (Instant::now(), Watch::default());
        let midday = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        times.iter().any(|(at, shift)| {
            let shifted = match shift {
                0.. => midday + Duration::from_secs(shift.unsigned_abs()),
                _ => midday - Duration::from_secs(shift.unsigned_abs()),
            };
            File::options().write(true).open(&place).unwrap().set_modified(shifted).unwrap();
            let now = start + Duration::from_secs(*at);
            matches!(Lease::attempt(folder.path(), TIMEOUT, &mut watch, now).unwrap(), Attempt::Held(_))
        })
    }

    #[test]
    fn a_clock_that_jumps_takes_no_lock_away() {
        const YEAR: i64 = 31_536_000;
        assert!(
            !held_after(&[(0, 0), (30, YEAR), (59, -YEAR), (100, 5), (150, 5)]),
            "each beat is a sign of life"
        );
        assert!(!held_after(&[(0, -YEAR), (59, -YEAR)]), "an old time is no silence");
        assert!(!held_after(&[(0, YEAR), (59, YEAR)]), "nor is a time to come");
        assert!(held_after(&[(0, YEAR), (60, YEAR)]), "only silence is");
    }

    #[test]
    fn a_heartbeat_keeps_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = held(folder.path(), Duration::MAX, &mut Watch::default()).unwrap();
        let beats = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counted = beats.clone();
        first
            .keep(SHORT, Arc::new(move || format!("beat {}", counted.fetch_add(1, Ordering::Relaxed))))
            .unwrap();
        while beats.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        let (_, content) = read(&first.place).unwrap();
        assert!(Record::read(&content).doing.starts_with("beat"), "{content:?}");
        assert!(!first.is_lost());
    }
}
