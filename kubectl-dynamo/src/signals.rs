//! Handles the signals that end a command: SIGINT (Ctrl-C), SIGHUP (a closed terminal), and SIGTERM.
//! It must not handle a signal that the parent process set to ignored.
//!
//! A command that waits for a signal ends in an orderly way: it reports what continues, or stops its processes. The
//! thread that runs a command can also be blocked, in a prompt or in a write to a pipe without a reader. So a thread
//! of its own watches the signals and ends the process if the command does not react.

mod ignored;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use futures::future::select_all;
use rustix::process::getpgrp;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::ignored::is_handled;
use kubectl_dynamo_core::error::{Exit, Result};

/// How long a command may take to react to a signal, also on a busy machine. A command that does not react is blocked.
const REACTION_TIME: Duration = Duration::from_secs(2);
/// How often the reaction is checked in this time.
const REACTION_CHECKS: u32 = 100;

/// Ends a prompt that reads keys: clears the lines below it, starts a line, turns on the cursor, and turns off the marks
/// around pasted text.
const END_OF_PROMPT: &[u8] = b"\x1b[J\r\n\x1b[?25h\x1b[?2004l";

/// How often a command waits for each signal, and how often one reacted. The first is the interrupt key.
static WATCHED: [WatchedSignal; 3] = [
    WatchedSignal::new(SignalKind::interrupt()),
    WatchedSignal::new(SignalKind::hangup()),
    WatchedSignal::new(SignalKind::terminate()),
];

struct WatchedSignal {
    kind: SignalKind,
    waiting: AtomicUsize,
    reactions: AtomicUsize,
}

impl WatchedSignal {
    const fn new(kind: SignalKind) -> Self {
        Self { kind, waiting: AtomicUsize::new(0), reactions: AtomicUsize::new(0) }
    }
}

/// Waits for the signals that end a command. While it exists, the command is expected to react to them.
pub(crate) struct ShutdownSignals(Vec<Listener>);

/// Waits for one signal.
struct Listener {
    watched: &'static WatchedSignal,
    signal: Signal,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.watched.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ShutdownSignals {
    /// Listens to all signals that end a command. A signal that was ignored at startup stays ignored, as `nohup` and
    /// the background jobs of a shell require.
    pub(crate) fn new() -> Self {
        Self::listen(&WATCHED)
    }

    fn listen(all: &'static [WatchedSignal]) -> Self {
        let handled = all.iter().filter(|watched| is_handled(watched.kind));
        let listener = |watched: &'static WatchedSignal| {
            let signal = signal(watched.kind).ok()?;
            watched.waiting.fetch_add(1, Ordering::SeqCst);
            Some(Listener { watched, signal })
        };
        Self(handled.filter_map(listener).collect())
    }

    /// Returns at the next signal.
    pub(crate) async fn next(&mut self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let received = self.0.iter_mut().map(|listener| {
            Box::pin(async {
                listener.signal.recv().await;
                listener.watched.reactions.fetch_add(1, Ordering::SeqCst);
            })
        });
        select_all(received).await;
    }

    /// Completes a cleanup that signals must not stop.
    pub(crate) async fn ignore_during(&mut self, cleanup: impl Future<Output = ()>) {
        let ignored = async {
            loop {
                self.next().await;
            }
        };
        tokio::select! {
            () = cleanup => {}
            () = ignored => {}
        }
    }
}

/// Returns the result of the work, or `None` if a signal interrupts it. Signals are handled before the work
/// starts.
pub(crate) fn run_until_signal<T>(work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    // Boxed, because the future of a verb is large.
    let work = Box::pin(work);
    async {
        let mut signals = ShutdownSignals::new();
        tokio::select! {
            biased;
            () = signals.next() => None,
            result = work => Some(result),
        }
    }
}

/// Runs work that only an error or a signal ends.
pub(crate) async fn follow_until_signal(work: impl Future<Output = Result<Infallible>>) -> Result<Exit> {
    match run_until_signal(work).await {
        Some(Err(error)) => Err(error),
        Some(Ok(never)) => match never {},
        None => Ok(Exit::Interrupted),
    }
}

/// Returns when the user presses Ctrl-C. SIGHUP and SIGTERM still end the process.
pub(crate) async fn interrupt_key() {
    ShutdownSignals::listen(&WATCHED[..1]).next().await;
}

/// Starts the thread that ends the process at a signal to which the command does not react, with the documented exit
/// code and with the terminal in its earlier mode. Without threads, the signals have their default action.
///
/// Returns once the signals are handled, so that none of them meets a prompt with its default action.
pub(crate) fn watch_signals() {
    let terminal = tcgetattr(std::io::stdin()).ok();
    let (handled, is_handled) = std::sync::mpsc::channel();
    let thread = std::thread::Builder::new().name("signals".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        if let Ok(runtime) = runtime {
            runtime.block_on(end_unhandled(terminal, handled));
        }
    });
    if thread.is_ok() {
        // An error means that the thread ended without handling them.
        let _ = is_handled.recv();
    }
}

/// Ends the process at a signal to which no command reacts. Drops `handled` once the handlers are installed.
async fn end_unhandled(terminal: Option<Termios>, handled: Sender<()>) {
    let watchers = WATCHED.iter().filter(|watched| is_handled(watched.kind)).filter_map(|watched| {
        let mut received = signal(watched.kind).ok()?;
        let watch = async move {
            loop {
                let reactions = watched.reactions.load(Ordering::SeqCst);
                received.recv().await;
                let is_awaited = watched.waiting.load(Ordering::SeqCst) > 0;
                let has_reacted = || watched.reactions.load(Ordering::SeqCst) > reactions;
                // Short waits: a signal that arrives after the reaction has a reaction of its own.
                for _ in 0..REACTION_CHECKS {
                    if !is_awaited || has_reacted() {
                        break;
                    }
                    tokio::time::sleep(REACTION_TIME / REACTION_CHECKS).await;
                }
                // The count is read after the number of waiting commands: a command that has reacted does not wait.
                if !has_reacted() {
                    return;
                }
            }
        };
        Some(Box::pin(watch))
    });
    let watchers: Vec<_> = watchers.collect();
    drop(handled);
    if watchers.is_empty() {
        return;
    }
    select_all(watchers).await;
    restore_terminal(terminal.as_ref());
    std::process::exit(Exit::Interrupted as i32);
}

/// Restores the mode of the terminal, which a prompt changes. A process in the background must not do this: it would
/// be stopped.
fn restore_terminal(mode: Option<&Termios>) {
    let stdin = std::io::stdin();
    if let Some(mode) = mode
        && tcgetpgrp(&stdin).is_ok_and(|foreground| foreground == getpgrp())
    {
        let reads_keys = |mode: &Termios| !mode.local_modes.contains(LocalModes::ICANON);
        if !reads_keys(mode) && tcgetattr(&stdin).is_ok_and(|current| reads_keys(&current)) {
            // Not through the lock of stderr, which a blocked thread can hold.
            let _ = rustix::io::write(std::io::stderr(), END_OF_PROMPT);
        }
        // A terminal that was closed does not have a mode any more.
        let _ = tcsetattr(&stdin, OptionalActions::Now, mode);
    }
}
