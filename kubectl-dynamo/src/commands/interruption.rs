//! How somebody leaves a verb that waits: Ctrl-C, a terminal that goes away, or `kill`.

use futures::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What comes of the work; nothing where the person leaves before. Signals are heard before its first word is said.
pub(super) fn unless_left<T>(work: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
    // On the heap: it is what a whole verb does.
    let work = Box::pin(work);
    async {
        tokio::select! {
            biased;
            () = interruption() => None,
            done = work => Some(done),
        }
    }
}

/// Returns when the person leaves. A signal that is ignored from outside stays ignored: `nohup` means it so, and a
/// shell's background jobs hear no Ctrl-C.
pub(super) async fn interruption() {
    let ignored = ignored();
    let is_heard = |kind: &SignalKind| ignored & (1 << (kind.as_raw_value() - 1)) == 0;
    let kinds = [SignalKind::interrupt(), SignalKind::hangup(), SignalKind::terminate()];
    let mut signals: Vec<Signal> =
        kinds.into_iter().filter(is_heard).filter_map(|kind| signal(kind).ok()).collect();
    if signals.is_empty() {
        return std::future::pending().await;
    }
    select_all(signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
}

/// The signals that this process was told to ignore, as bits; none where the kernel does not say.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
