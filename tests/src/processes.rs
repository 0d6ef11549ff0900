//! Ending processes by id and waiting for their end by event, never by a pause or a name.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process held by a descriptor, so that an id used again by another process is never signalled.
#[derive(Debug)]
pub struct Held {
    descriptor: OwnedFd,
}

/// Holds the process `pid`; none when it has already ended.
pub fn hold(pid: u32) -> io::Result<Option<Held>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => Ok(Some(Held { descriptor })),
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Held {
    /// Sends `signal`; a process that has ended meanwhile is fine.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the end; false when it has not come within `seconds`.
    pub fn ended_within(&self, seconds: i64) -> io::Result<bool> {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], Some(&limit))? > 0)
    }
}

/// Kills these processes and waits until each has ended.
pub fn kill_all(pids: &[u32]) -> io::Result<()> {
    let mut held = Vec::new();
    for pid in pids {
        held.extend(hold(*pid)?);
    }
    for process in &held {
        process.signal(Signal::KILL)?;
    }
    for process in &held {
        process.ended_within(10)?;
    }
    Ok(())
}
