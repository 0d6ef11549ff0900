//! Files that are there under their final names: which are right, by hash where nothing else proves it.
//!
//! Some are hashed at once, as many as there are cores, and how far that is is told meanwhile.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::sync::mpsc::UnboundedSender;

use crate::check::hash_file;
use crate::contract::{ProgressEvent, ReceiptFile, RemoteFile};
use crate::error::Error;
use crate::plan::{Action, FetchPlan, Found};
use crate::store::{Store, modified};
use crate::transfer::meter::Rate;

const REPORT_EVERY: Duration = Duration::from_millis(500);
const RATE_WINDOW: Duration = Duration::from_secs(5);
const MOST_AT_ONCE: usize = 4;

/// The wanted files that are there under their final names.
pub(super) fn found(store: &Store, wanted: &[RemoteFile]) -> Result<HashMap<String, Found>, Error> {
    let mut found = HashMap::new();
    for file in wanted {
        if let Some(metadata) = store.present(&file.path)? {
            let seen = Found { size: metadata.len(), modified: modified(&metadata) };
            found.insert(file.path.clone(), seen);
        }
    }
    Ok(found)
}

/// Splits a plan into files that are right and files that are missing, hashing where the plan says so.
pub(super) async fn settle(
    store: &Store,
    plan: FetchPlan,
    notices: &UnboundedSender<ProgressEvent>,
) -> Result<(Vec<ReceiptFile>, Vec<RemoteFile>), Error> {
    let mut settling = Settling::new(&plan);
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_AT_ONCE);
    let hashed = settling.hashed.clone();
    let looks = plan.files.into_iter().map(|file| {
        let (store, hashed) = (store.clone(), hashed.clone());
        async move {
            match file.action {
                Action::Keep(kept) => Ok(Ok(kept)),
                Action::Fetch => Ok(Err(file.remote)),
                Action::Verify => verified(store, file.remote, hashed).await,
            }
        }
    });
    let mut looks = futures::stream::iter(looks).buffered(at_once);
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    // The first one comes at once, when there is nothing to tell.
    ticks.tick().await;
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            look = looks.next() => match look {
                Some(Ok(Ok(kept))) => present.push(kept),
                Some(Ok(Err(remote))) => missing.push(remote),
                Some(Err(error)) => return Err(error),
                None => return Ok((present, missing)),
            },
            _ = ticks.tick() => {
                // A receiver that is gone only means that nobody watches.
                let _ = notices.send(settling.progress(present.len()));
            }
        }
    }
}

/// How far the hashing is.
struct Settling {
    kept: u64,
    total: u64,
    files: usize,
    hashed: Arc<AtomicU64>,
    rate: Rate,
}

impl Settling {
    fn new(plan: &FetchPlan) -> Self {
        let kept = plan.files.iter().filter(|file| matches!(file.action, Action::Keep(_)));
        Self {
            kept: kept.map(|file| file.remote.size).sum(),
            total: plan.files.iter().map(|file| file.remote.size).sum(),
            files: plan.files.len(),
            hashed: Arc::default(),
            rate: Rate::over(RATE_WINDOW),
        }
    }

    fn progress(&mut self, files_done: usize) -> ProgressEvent {
        let hashed = self.hashed.load(Ordering::Relaxed);
        ProgressEvent::Progress {
            bytes_done: self.kept + hashed,
            bytes_total: self.total,
            bytes_verified: self.kept + hashed,
            files_done,
            files_total: self.files,
            bytes_per_second: self.rate.at(Instant::now(), hashed),
            eta_seconds: None,
            retries: 0,
            connections: 0,
            fetching: Vec::new(),
        }
    }
}

/// The file as it goes into the receipt if its hash is right; else what is to be fetched.
async fn verified(
    store: Store,
    remote: RemoteFile,
    hashed: Arc<AtomicU64>,
) -> Result<Result<ReceiptFile, RemoteFile>, Error> {
    let hash = move || {
        let Some(metadata) = store.present(&remote.path)? else {
            return Ok(Err(remote));
        };
        let place = store.place(&remote.path);
        let mut count = |bytes| {
            hashed.fetch_add(bytes, Ordering::Relaxed);
        };
        if hash_file(&place, &remote.checksum, remote.size, &mut count)? != remote.checksum.digits() {
            return Ok(Err(remote));
        }
        let RemoteFile { path, size, checksum, .. } = remote;
        Ok(Ok(ReceiptFile { path, size, checksum, modified: modified(&metadata) }))
    };
    let done = tokio::task::spawn_blocking(hash).await;
    done.unwrap_or_else(|error| Err(Error::Client { reason: format!("a worker ended: {error}") }))
}
