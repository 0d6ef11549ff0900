//! The story of a fetch: look, take the lease, list, plan, transfer, record.

mod found;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use self::found::{found, settle};

use crate::check::{Verdict, look, other_revision};
use crate::contract::{Listing, ProgressEvent, RECEIPT_FORMAT, Receipt, ReceiptFile, RemoteFile, WaitReason};
use crate::error::Error;
use crate::filter::Filter;
use crate::lease::{Attempt, Lease, Watch, boot_id};
use crate::options::{FetchOptions, Names};
use crate::plan::plan;
use crate::source::ModelSource;
use crate::source::folder::{Folder, folder_of};
use crate::source::hugging_face::HuggingFace;
use crate::source::tree::case_clash;
use crate::store::work::Work;
use crate::store::{Store, python};
use crate::transfer::{Assignment, Kept, Transfer};

/// How often one who waits for the lease looks again.
const LEASE_POLL: Duration = Duration::from_millis(250);
/// How often one who waits for the lease says so.
const LEASE_REPORT: Duration = Duration::from_secs(10);

/// Who is told what happens.
pub type Observer<'a> = dyn FnMut(&ProgressEvent) + Send + 'a;

/// A complete folder, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// What is in the folder.
    pub receipt: Receipt,
    /// Bytes that came over the network, repeated ones included; 0 when the folder was complete.
    pub bytes_received: u64,
}

/// Fetches a model and verifies every byte, or finds that nothing is to be done. Dropping the future stops it; the
/// next call goes on from there. Needs a tokio runtime with time and I/O.
pub async fn fetch(options: &FetchOptions, observe: &mut Observer<'_>) -> Result<Fetched, Error> {
    options.validate()?;
    let started = Instant::now();
    observe(&ProgressEvent::Started {
        repository: options.repository.clone(),
        revision: options.revision.clone(),
        folder: options.folder(),
    });
    let store = Store::at(options.folder());
    if let Some(receipt) = complete_already(&store, options)? {
        observe(&completion(options, &receipt, 0, started));
        return Ok(Fetched { receipt, bytes_received: 0 });
    }
    store.prepare()?;
    if is_in_container_layer(store.folder()) {
        let text =
            format!("{} is not on a volume: it fills the node and ends with the pod", options.into.display());
        observe(&ProgressEvent::Warning { text });
    }
    let (lease, doing) = match take_lease(&store, options, observe).await? {
        Turn::Ours(lease, doing) => (lease, doing),
        Turn::Done(receipt) => {
            observe(&completion(options, &receipt, 0, started));
            return Ok(Fetched { receipt, bytes_received: 0 });
        }
    };
    let mut observe = |event: &ProgressEvent| {
        if let ProgressEvent::Progress { bytes_done, bytes_total, .. } = event {
            let percent = bytes_done * 100 / (*bytes_total).max(1);
            let text = format!("fetching {}, {percent}% of {bytes_total} bytes", options.revision);
            *doing.lock().unwrap_or_else(PoisonError::into_inner) = text;
        }
        observe(event);
    };
    let observe: &mut Observer<'_> = &mut observe;
    let (notices, heard) = unbounded_channel();
    let fetched = match folder_of(&options.hub.endpoint) {
        Some(mirror) => {
            let source = Folder::new(options, mirror);
            relay(fetch_missing(source, &store, options, &lease, notices), heard, observe).await
        }
        None => {
            let source = HuggingFace::new(options, notices.clone())?;
            relay(fetch_missing(source, &store, options, &lease, notices), heard, observe).await
        }
    };
    let fetched = fetched.map_err(|error| match lease.lost_to() {
        Some(holder) => Error::LeaseLost { folder: options.folder(), holder },
        None => error,
    })?;
    observe(&completion(options, &fetched.receipt, fetched.bytes_received, started));
    Ok(fetched)
}

/// The part of [`fetch`] that needs no network and no runtime: a folder that is complete already, or can never be.
pub(crate) fn complete_without_network(
    options: &FetchOptions,
    observe: &mut Observer<'_>,
) -> Result<Option<Receipt>, Error> {
    options.validate()?;
    let started = Instant::now();
    let receipt = complete_already(&Store::at(options.folder()), options)?;
    if let Some(receipt) = &receipt {
        observe(&completion(options, receipt, 0, started));
    }
    Ok(receipt)
}

/// Whether this is a container's first process and writes to the container's own layer.
fn is_in_container_layer(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |place: &Path| std::fs::metadata(place).map(|found| found.dev()).ok();
    std::process::id() == 1 && device(folder) == device(Path::new("/"))
}

/// What a revision consists of. Asks the hub; touches no folder.
pub async fn listing(options: &FetchOptions) -> Result<Listing, Error> {
    options.validate()?;
    // Nobody hears the notices of a listing: it is short.
    let (notices, _) = unbounded_channel();
    match folder_of(&options.hub.endpoint) {
        Some(mirror) => Folder::new(options, mirror).list().await,
        None => HuggingFace::new(options, notices)?.list().await,
    }
}

/// What a fetch with these filters would bring, by the source's own list. Nothing is fetched or written.
///
/// # Errors
/// As for [`listing`], and filters that leave nothing.
pub async fn wanted(options: &FetchOptions) -> Result<Listing, Error> {
    let Listing { commit, files } = listing(options).await?;
    let files = Filter::new(&options.include, &options.exclude)?.apply(&options.repository, &files)?;
    Ok(Listing { commit, files })
}

/// The receipt when nothing is to be done, `None` when something may be.
fn complete_already(store: &Store, options: &FetchOptions) -> Result<Option<Receipt>, Error> {
    match look(store, options)? {
        Verdict::Complete(receipt) if options.offline || !options.update => Ok(Some(receipt)),
        Verdict::OtherRevision(receipt) if options.offline || !options.update => {
            Err(other_revision(options, &receipt))
        }
        Verdict::Incomplete { reason, .. } if options.offline => {
            Err(Error::Offline { folder: options.folder(), reason })
        }
        _ => Ok(None),
    }
}

/// Runs `work` and passes on what it has to say, until both are done.
async fn relay<T>(
    work: impl Future<Output = T>,
    mut heard: UnboundedReceiver<ProgressEvent>,
    observe: &mut Observer<'_>,
) -> T {
    tokio::pin!(work);
    let mut quiet_until: Option<Instant> = None;
    let mut pass_on = |event: ProgressEvent| {
        let waiting = matches!(event, ProgressEvent::Waiting { .. });
        // Thirty connections that wait for the same hub are one piece of news.
        if waiting && quiet_until.is_some_and(|until| Instant::now() < until) {
            return;
        }
        if waiting {
            quiet_until = Some(Instant::now() + Duration::from_secs(1));
        }
        observe(&event);
    };
    loop {
        tokio::select! {
            biased;
            Some(event) = heard.recv() => pass_on(event),
            done = &mut work => {
                while let Ok(event) = heard.try_recv() {
                    pass_on(event);
                }
                return done;
            }
        }
    }
}

/// What the holder of the lease says about itself.
type Doing = Arc<Mutex<String>>;

/// Whose turn it is.
enum Turn {
    /// What is being done is for those who wait meanwhile.
    Ours(Lease, Doing),
    /// Another one completed the folder while we waited.
    Done(Receipt),
}

async fn take_lease(
    store: &Store,
    options: &FetchOptions,
    observe: &mut Observer<'_>,
) -> Result<Turn, Error> {
    let since = Instant::now();
    let mut watch = Watch::default();
    let mut reported: Option<Instant> = None;
    loop {
        let holder = match Lease::attempt(store.folder(), options.lease_timeout, &mut watch, Instant::now())?
        {
            Attempt::Held(mut lease) => {
                if let Some(receipt) = complete_already(store, options)? {
                    return Ok(Turn::Done(receipt));
                }
                let doing = Arc::new(Mutex::new(format!("fetching {}", options.revision)));
                let said = doing.clone();
                let say = move || said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                lease.keep(options.lease_timeout, Arc::new(say))?;
                return Ok(Turn::Ours(lease, doing));
            }
            Attempt::Busy(holder) => holder.to_string(),
        };
        if since.elapsed() >= options.lock_timeout {
            return Err(Error::Locked { folder: options.folder(), holder, waited: since.elapsed() });
        }
        if reported.is_none_or(|reported| reported.elapsed() >= LEASE_REPORT) {
            reported = Some(Instant::now());
            observe(&ProgressEvent::Waiting {
                reason: WaitReason::Lock,
                detail: format!("{} is locked by {holder}", options.folder().display()),
                seconds: since.elapsed().as_secs(),
            });
        }
        tokio::time::sleep(LEASE_POLL).await;
    }
}

/// With the lease in hand: everything between the listing and the receipt.
async fn fetch_missing<S: ModelSource>(
    source: S,
    store: &Store,
    options: &FetchOptions,
    lease: &Lease,
    notices: UnboundedSender<ProgressEvent>,
) -> Result<Fetched, Error> {
    let source = Arc::new(source);
    let listing = source.list().await?;
    let wanted =
        Filter::new(&options.include, &options.exclude)?.apply(&options.repository, &listing.files)?;
    refuse_case_clash(store, options, &wanted)?;
    let earlier = store.receipt()?.filter(|receipt| receipt.repository == options.repository);
    let plan = plan(wanted.clone(), &found(store, &wanted)?, earlier.as_ref(), options.existing);
    let (mut present, missing) = settle(store, plan, &notices).await?;
    let work = Arc::new(Work::adopt(store.folder(), lease.token(), &boot_id(), lease.predecessor())?);
    let kept = Kept { files: present.len(), bytes: present.iter().map(|file| file.size).sum() };
    let announced = missing.len();
    let assignment = Assignment { commit: listing.commit.clone(), missing, kept };
    let transfer =
        Transfer::prepare(source, store.clone(), work.clone(), assignment, options, notices.clone())?;
    store.require_space(transfer.room_needed())?;
    let _ = notices.send(ProgressEvent::Planned {
        commit: listing.commit.clone(),
        files: wanted.len(),
        bytes: wanted.iter().map(|file| file.size).sum(),
        files_to_fetch: announced,
        bytes_present: kept.bytes + transfer.bytes_found(),
    });
    if announced > 0 {
        store.void_receipt()?;
    }
    let still_ours = || match lease.is_lost() {
        true => {
            Err(Error::LeaseLost { folder: options.folder(), holder: lease.lost_to().unwrap_or_default() })
        }
        false => Ok(()),
    };
    let transferred = Arc::new(transfer).run(still_ours).await?;
    present.extend(transferred.files);
    let receipt = receipt(options, &listing, present);
    remove_outdated(store, earlier.as_ref(), &receipt)?;
    python::write_records(store.folder(), &receipt, &listing)?;
    store.write_receipt(&receipt, &work.staging("receipt.json"))?;
    work.clear()?;
    Ok(Fetched { receipt, bytes_received: transferred.bytes_received })
}

/// Refuses two names that would be one file here, or elsewhere where that was asked for.
fn refuse_case_clash(store: &Store, options: &FetchOptions, wanted: &[RemoteFile]) -> Result<(), Error> {
    let Some((one, other)) = case_clash(wanted) else {
        return Ok(());
    };
    if options.names == Names::Any && !store.folds_case()? {
        return Ok(());
    }
    let reason = format!("{one:?} and {other:?} differ in case only");
    Err(Error::BadListing { repository: options.repository.clone(), reason })
}

fn receipt(options: &FetchOptions, listing: &Listing, mut files: Vec<ReceiptFile>) -> Receipt {
    files.sort_by(|left, right| left.path.cmp(&right.path));
    let is_present = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
    let left_out =
        listing.files.iter().map(|file| file.path.clone()).filter(|path| !is_present(path)).collect();
    Receipt {
        format: RECEIPT_FORMAT,
        repository: options.repository.clone(),
        endpoint: options.hub.endpoint.clone(),
        revision: options.revision.clone(),
        commit: listing.commit.clone(),
        left_out,
        files,
        completed_at: jiff::Timestamp::now().to_string(),
        fetcher: concat!("model-fetcher ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Removes files of the revision before that are not part of this one. Files of others are left alone.
fn remove_outdated(store: &Store, earlier: Option<&Receipt>, now: &Receipt) -> Result<(), Error> {
    let Some(earlier) = earlier.filter(|earlier| earlier.commit != now.commit) else {
        return Ok(());
    };
    let stays = |path: &str| now.files.iter().any(|file| file.path == path);
    earlier.files.iter().filter(|file| !stays(&file.path)).try_for_each(|file| store.remove(&file.path))
}

fn completion(
    options: &FetchOptions,
    receipt: &Receipt,
    bytes_fetched: u64,
    started: Instant,
) -> ProgressEvent {
    ProgressEvent::Complete {
        folder: options.folder(),
        commit: receipt.commit.clone(),
        files: receipt.files.len(),
        bytes: receipt.files.iter().map(|file| file.size).sum(),
        bytes_fetched,
        seconds: started.elapsed().as_secs_f64(),
    }
}
