//! Ends processes by ID and waits for their exit by event, never by a pause or a name.
//! It must not signal a process that the test did not start.

use std::io::{self, PipeReader, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process held by a pidfd, so that a reused ID is never signaled.
#[derive(Debug)]
pub struct ProcessHandle {
    descriptor: OwnedFd,
}

/// Opens the process `pid`; returns `None` if it has exited.
pub fn open_process(pid: u32) -> io::Result<Option<ProcessHandle>> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(descriptor) => Ok(Some(ProcessHandle { descriptor })),
        Err(Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl ProcessHandle {
    /// Sends `signal`. A process that has exited is not an error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the exit; returns false if it does not happen within `seconds`.
    pub fn wait_for_exit(&self, seconds: i64) -> io::Result<bool> {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        Ok(poll(&mut [PollFd::new(&self.descriptor, PollFlags::IN)], Some(&limit))? > 0)
    }
}

/// Kills these processes and waits until each has exited.
pub fn kill_all(pids: &[u32]) -> io::Result<()> {
    let mut handles = Vec::new();
    for pid in pids {
        handles.extend(open_process(*pid)?);
    }
    for process in &handles {
        process.signal(Signal::KILL)?;
    }
    for process in &handles {
        process.wait_for_exit(10)?;
    }
    Ok(())
}

/// Returns a pipe that is full, so that the next write to it blocks. The reader must be kept open.
pub fn full_pipe() -> io::Result<(PipeReader, OwnedFd)> {
    let (reader, mut writer) = io::pipe()?;
    let flags = fcntl_getfl(&writer)?;
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK)?;
    for size in [4096, 1] {
        while writer.write(&vec![b' '; size]).is_ok() {}
    }
    fcntl_setfl(&writer, flags)?;
    Ok((reader, writer.into()))
}

/// Waits until the main thread of a process is blocked in a write to its stdout.
///
/// # Errors
/// It does not block within a minute.
pub fn wait_until_stdout_is_blocked(pid: u32) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let is_writing = || {
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let mut parts = call.split(' ');
        // The number of `write` on x86-64 and on arm64, and the file descriptor.
        parts.next().is_some_and(|number| ["1", "64"].contains(&number)) && parts.next() == Some("0x1")
    };
    // The kernel has no event for a blocked write; one that lasts is blocked.
    let mut writing_since = None;
    loop {
        let now = Instant::now();
        writing_since = is_writing().then(|| writing_since.unwrap_or(now));
        if writing_since.is_some_and(|since| now.duration_since(since) > Duration::from_millis(300)) {
            return Ok(());
        }
        if now > deadline {
            return Err(io::Error::other("the program does not block in a write to stdout"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
