//! Runs the steps of a fetch: inspect the folder, acquire the lock, list, plan, transfer, write the receipt.
//! The receipt must be written last.

mod existing;
pub(crate) mod indexes;
mod obstacles;
mod receipt;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::existing::{find_existing, verify_existing};
use self::indexes::IndexCheck;
use self::receipt::{build_receipt, remove_outdated_files, still_present};
use crate::access::require_network;
use crate::check::{FolderState, inspect, other_revision_error};
use crate::error::FetcherError;
use crate::filter::Filter;
use crate::lease::{LOCK_POLL_INTERVAL, Lease, LockAttempt, LockLoss, LockMonitor, boot_id};
use crate::options::{FetchOptions, NamePolicy};
use crate::plan::plan_fetch;
use crate::source::ModelSource;
use crate::source::hugging_face::HuggingFace;
use crate::source::mirror_folder::{MirrorFolder, mirror_path};
use crate::source::tree::{self, find_case_conflict};
use crate::store::staging::StagingDir;
use crate::store::{ModelStore, hf_metadata, is_in_container_layer};
use crate::transfer::{AlreadyPresent, Transfer, TransferJob, TransferPlace};
use model_fetcher_contract::{Listing, ProgressEvent, Receipt, RemoteFile, WaitReason};

/// Interval at which a waiter reports that it still waits.
const LOCK_REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Callback that receives the progress events of a fetch.
pub type ProgressObserver<'a> = dyn FnMut(&ProgressEvent) + Send + 'a;

/// The receipt of a complete folder and the bytes received for it.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchOutcome {
    /// The receipt of the folder.
    pub receipt: Receipt,
    /// Bytes received over the network, including repeated ones. 0 if the folder was complete.
    pub bytes_fetched: u64,
}

/// Fetches a model and verifies every byte, unless the folder is complete. Dropping the future stops the
/// fetch; the next call resumes it. Needs a tokio runtime with time and I/O.
///
/// # Errors
/// Every variant of [`FetcherError`] except [`FetcherError::NotComplete`] and [`FetcherError::InUse`]. The folder then
/// has no file with a wrong byte under its final name.
pub async fn fetch(
    options: &FetchOptions,
    observe: &mut ProgressObserver<'_>,
) -> Result<FetchOutcome, FetcherError> {
    options.validate()?;
    let started = Instant::now();
    observe(&ProgressEvent::Started {
        repository: options.repository.clone(),
        revision: options.revision.clone(),
        folder: options.folder(),
    });
    let store = ModelStore::at(options.folder());
    if let Some(receipt) = find_complete_receipt(&store, options)? {
        observe(&completion_event(options, &receipt, 0, started.elapsed()));
        return Ok(FetchOutcome { receipt, bytes_fetched: 0 });
    }
    store.prepare()?;
    if is_in_container_layer(store.folder()) {
        let text = format!(
            "{} is not on a volume: it uses the node's disk and is deleted with the pod",
            options.into.display()
        );
        observe(&ProgressEvent::Warning { text });
    }
    let (lease, activity) = match acquire_lock(&store, options, observe).await? {
        LockOutcome::Acquired(lease, activity) => (lease, activity),
        LockOutcome::AlreadyComplete(receipt) => {
            observe(&completion_event(options, &receipt, 0, started.elapsed()));
            return Ok(FetchOutcome { receipt, bytes_fetched: 0 });
        }
    };
    let mut observe = |event: &ProgressEvent| {
        if let ProgressEvent::Progress { bytes_done, bytes_total, .. } = event {
            let percent = bytes_done * 100 / (*bytes_total).max(1);
            let text = format!("fetching {}, {percent}% of {bytes_total} bytes", options.revision);
            *activity.lock().unwrap_or_else(PoisonError::into_inner) = text;
        }
        observe(event);
    };
    let observe: &mut ProgressObserver<'_> = &mut observe;
    let (events, receiver) = unbounded_channel();
    let fetched = match mirror_path(&options.hub.endpoint) {
        Some(mirror) => {
            let source = MirrorFolder::new(options, mirror);
            run_forwarding_events(fetch_missing(source, &store, options, &lease, events), receiver, observe)
                .await
        }
        None => {
            let source = HuggingFace::new(options, events.clone())?;
            run_forwarding_events(fetch_missing(source, &store, options, &lease, events), receiver, observe)
                .await
        }
    };
    let fetched = fetched.map_err(|error| match lease.loss() {
        Some(LockLoss::TakenOver(holder)) => {
            FetcherError::LeaseLost { folder: options.folder(), holder: holder.to_string() }
        }
        Some(LockLoss::Deleted) if error.is_not_found_on_disk() => {
            FetcherError::LockDeleted { folder: options.folder() }
        }
        // No other fetcher works in the folder, so the error itself is the reason.
        Some(LockLoss::Deleted) | None => error,
    })?;
    observe(&completion_event(options, &fetched.receipt, fetched.bytes_fetched, started.elapsed()));
    Ok(fetched)
}

/// The part of [`fetch`] that needs neither network nor runtime. Returns the receipt of a complete folder.
///
/// # Errors
/// The folder holds another revision, or is not complete and network access is disabled.
pub(crate) fn try_without_network(
    options: &FetchOptions,
    observe: &mut ProgressObserver<'_>,
) -> Result<Option<Receipt>, FetcherError> {
    options.validate()?;
    let started = Instant::now();
    let receipt = find_complete_receipt(&ModelStore::at(options.folder()), options)?;
    if let Some(receipt) = &receipt {
        observe(&completion_event(options, receipt, 0, started.elapsed()));
    }
    Ok(receipt)
}

/// Lists the files of a revision. Queries the hub; does not access the model's folder.
///
/// # Errors
/// The hub denies or lacks the revision, lists it incompletely, or cannot be reached, or network access is disabled.
pub async fn listing(options: &FetchOptions) -> Result<Listing, FetcherError> {
    options.validate()?;
    // The events of a listing are dropped: it is short.
    let (events, _) = unbounded_channel();
    match mirror_path(&options.hub.endpoint) {
        Some(mirror) => MirrorFolder::new(options, mirror).list().await,
        None => {
            require_network(options)?;
            HuggingFace::new(options, events)?.list().await
        }
    }
}

/// Lists the files that a fetch with these filters would download. Nothing is fetched or written.
///
/// # Errors
/// As for [`listing`], and filters that select no file.
pub async fn list_selected(options: &FetchOptions) -> Result<Listing, FetcherError> {
    let mut listing = listing(options).await?;
    listing.files = Filter::new(options)?.apply(&options.repository, &listing)?;
    listing.unusable.clear();
    Ok(listing)
}

/// Returns the receipt if the folder is complete, `None` if it may not be.
fn find_complete_receipt(
    store: &ModelStore,
    options: &FetchOptions,
) -> Result<Option<Receipt>, FetcherError> {
    match inspect(store, options)? {
        FolderState::Complete(receipt) if options.offline || !options.update => Ok(Some(receipt)),
        FolderState::OtherRevision(receipt) if options.offline || !options.update => {
            Err(other_revision_error(options, &receipt))
        }
        FolderState::Incomplete { reason, .. } if options.offline => {
            Err(FetcherError::Offline { folder: options.folder(), reason })
        }
        _ => Ok(None),
    }
}

/// Runs `task` and forwards its events to `observe` until it is done.
async fn run_forwarding_events<T>(
    task: impl Future<Output = T>,
    mut receiver: UnboundedReceiver<ProgressEvent>,
    observe: &mut ProgressObserver<'_>,
) -> T {
    tokio::pin!(task);
    let mut quiet_until: Option<Instant> = None;
    let mut forward = |event: ProgressEvent| {
        let is_wait = matches!(event, ProgressEvent::Waiting { .. });
        // Thirty connections that wait for the same hub are one event.
        if is_wait && quiet_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        if is_wait {
            quiet_until = Some(Instant::now() + Duration::from_secs(1));
        }
        observe(&event);
    };
    loop {
        tokio::select! {
            biased;
            Some(event) = receiver.recv() => forward(event),
            result = &mut task => {
                while let Ok(event) = receiver.try_recv() {
                    forward(event);
                }
                return result;
            }
        }
    }
}

/// Text in the lock file that describes what the holder is doing.
type Activity = Arc<Mutex<String>>;

/// Result of waiting for the lock.
enum LockOutcome {
    /// This process holds the lock. The text describes what it is doing.
    Acquired(Lease, Activity),
    /// Another fetcher completed the folder in the meantime.
    AlreadyComplete(Receipt),
}

async fn acquire_lock(
    store: &ModelStore,
    options: &FetchOptions,
    observe: &mut ProgressObserver<'_>,
) -> Result<LockOutcome, FetcherError> {
    let since = Instant::now();
    let mut monitor = LockMonitor::default();
    let mut reported: Option<Instant> = None;
    loop {
        let attempt =
            Lease::try_acquire(store.folder(), options.lease_timeout, &mut monitor, Instant::now())?;
        let holder = match attempt {
            LockAttempt::Acquired(mut lease) => {
                if let Some(receipt) = find_complete_receipt(store, options)? {
                    return Ok(LockOutcome::AlreadyComplete(receipt));
                }
                let activity = Arc::new(Mutex::new(format!("fetching {}", options.revision)));
                let shared_activity = activity.clone();
                let describe = move || shared_activity.lock().unwrap_or_else(PoisonError::into_inner).clone();
                lease.start_heartbeat(options.lease_timeout, Arc::new(describe))?;
                return Ok(LockOutcome::Acquired(lease, activity));
            }
            // The folder was removed meanwhile.
            LockAttempt::NoFolder => {
                store.prepare()?;
                continue;
            }
            LockAttempt::Held { holder, .. } => holder.to_string(),
        };
        if since.elapsed() >= options.lock_timeout {
            return Err(FetcherError::Locked { folder: options.folder(), holder, waited: since.elapsed() });
        }
        if reported.is_none_or(|reported| reported.elapsed() >= LOCK_REPORT_INTERVAL) {
            reported = Some(Instant::now());
            observe(&ProgressEvent::Waiting {
                reason: WaitReason::Lock,
                detail: format!("{} is locked by {holder}", options.folder().display()),
                seconds: since.elapsed().as_secs(),
            });
        }
        tokio::time::sleep(LOCK_POLL_INTERVAL).await;
    }
}

/// Everything between the listing and the receipt, with the lock held.
async fn fetch_missing<S: ModelSource>(
    source: S,
    store: &ModelStore,
    options: &FetchOptions,
    lease: &Lease,
    events: UnboundedSender<ProgressEvent>,
) -> Result<FetchOutcome, FetcherError> {
    let source = Arc::new(source);
    let listing = source.list().await?;
    let selected = Filter::new(options)?.apply(&options.repository, &listing)?;
    reject_unportable_paths(options, &selected)?;
    reject_case_conflict(store, options, &selected)?;
    let indexes = IndexCheck::new(options, &listing, &selected);
    indexes.check_names()?;
    let previous_receipt = store.read_receipt()?.filter(|receipt| receipt.repository == options.repository);
    let plan = plan_fetch(
        selected.clone(),
        &find_existing(store, &selected)?,
        previous_receipt.as_ref(),
        options.existing,
    );
    let (mut present, missing) = verify_existing(store, plan, &events).await?;
    present.iter().try_for_each(|file| indexes.check_content(store, &file.path))?;
    let staging =
        Arc::new(StagingDir::recover(store.folder(), lease.token(), boot_id(), lease.previous_holder())?);
    let already_present =
        AlreadyPresent { files: present.len(), bytes: present.iter().map(|file| file.size).sum() };
    let missing_count = missing.len();
    let to_fetch = missing.clone();
    let job = TransferJob { commit: listing.commit.clone(), missing, already_present, indexes };
    let place = TransferPlace { store: store.clone(), staging: staging.clone() };
    let transfer = Transfer::prepare(source, place, job, options, events.clone())?;
    store.require_space(transfer.bytes_required())?;
    let _ = events.send(ProgressEvent::Planned {
        commit: listing.commit.clone(),
        files: selected.len(),
        bytes: selected.iter().map(|file| file.size).sum(),
        files_to_fetch: missing_count,
        bytes_present: already_present.bytes + transfer.bytes_written(),
    });
    if missing_count > 0 {
        store.delete_receipt()?;
        obstacles::clear(store, previous_receipt.as_ref(), &to_fetch)?;
    }
    let check_lease = || match lease.reported_loss() {
        Some(LockLoss::TakenOver(holder)) => {
            Err(FetcherError::LeaseLost { folder: options.folder(), holder: holder.to_string() })
        }
        Some(LockLoss::Deleted) => Err(FetcherError::LockDeleted { folder: options.folder() }),
        None => Ok(()),
    };
    let transferred = Arc::new(transfer).run(check_lease).await?;
    present.extend(transferred.files);
    present.extend(still_present(store, previous_receipt.as_ref(), &listing, &present)?);
    let receipt = build_receipt(options, &listing, present);
    remove_outdated_files(store, previous_receipt.as_ref(), &receipt)?;
    if let Some(text) = hf_metadata::write_records(store.folder(), &receipt, &listing)? {
        let _ = events.send(ProgressEvent::Warning { text });
    }
    store.write_receipt(&receipt, &staging.path_of("receipt.json"))?;
    // The model is complete. What remains only uses space, and the next fetch that is needed removes it.
    let _ = staging.clear();
    Ok(FetchOutcome { receipt, bytes_fetched: transferred.bytes_fetched })
}

/// Rejects names that another operating system cannot store if `--names portable` is set.
fn reject_unportable_paths(options: &FetchOptions, selected: &[RemoteFile]) -> Result<(), FetcherError> {
    if options.name_policy == NamePolicy::Any {
        return Ok(());
    }
    let validated = selected.iter().try_for_each(|file| tree::validate_portable_path(&file.path));
    validated.map_err(|error| FetcherError::BadListing {
        repository: options.repository.clone(),
        reason: error.to_string(),
    })
}

/// Rejects two names that are the same file on this volume, or on others if `--names portable` is set.
fn reject_case_conflict(
    store: &ModelStore,
    options: &FetchOptions,
    selected: &[RemoteFile],
) -> Result<(), FetcherError> {
    let Some((one, other)) = find_case_conflict(selected) else {
        return Ok(());
    };
    if options.name_policy == NamePolicy::Any && !store.is_case_insensitive()? {
        return Ok(());
    }
    let reason = format!("{one:?} and {other:?} differ only in case");
    Err(FetcherError::BadListing { repository: options.repository.clone(), reason })
}

/// Returns the event of a complete folder.
pub(crate) fn completion_event(
    options: &FetchOptions,
    receipt: &Receipt,
    bytes_fetched: u64,
    duration: Duration,
) -> ProgressEvent {
    ProgressEvent::Complete {
        folder: options.folder(),
        commit: receipt.commit.clone(),
        files: receipt.files.len(),
        bytes: receipt.total_bytes(),
        bytes_fetched,
        seconds: duration.as_secs_f64(),
    }
}
