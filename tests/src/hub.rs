//! A Hugging Face hub of our own: the protocol its clients speak, over HTTP or TLS, with faults on request.
//!
//! Two listeners: the hub itself, and the host its redirects lead to (the "CDN"), as huggingface.co has them. Serves
//! folders as repositories. What the unmodified clients of PyPI and crates.io make of it is tested beside the
//! fetcher, so that hub and fetcher cannot share one misreading.

mod address;
mod cdn;
pub mod content;
pub mod fault;
pub mod identity;
mod pages;
pub mod repository;
mod server;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

pub use fault::{Fault, FaultKind};
pub use identity::Identity;
pub use repository::{Access, Repository};

/// Which of the two hosts a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    Hub,
    Cdn,
}

/// One request as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub host: Host,
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    pub status: u16,
}

/// How the hub is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub cdn_listen: SocketAddr,
    /// Serve over TLS with this identity.
    pub identity: Option<Identity>,
    pub repositories: Vec<Repository>,
    /// Entries on one page of a tree.
    pub page_entries: usize,
    /// Added before each answer.
    pub latency: Duration,
    /// Bytes per second of each CDN connection.
    pub connection_rate: Option<u64>,
    /// The hub is a mirror below this path, such as `/mirrors/hub`.
    pub path_prefix: String,
    /// Where xet storage is, for files that are there.
    pub xet_url: Option<String>,
    /// Whether content is read again for each answer or held in memory.
    pub content: ContentPlace,
}

/// Where bodies come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentPlace {
    #[default]
    Disk,
    /// Read once at the start, so that a benchmark's hub costs little beside its clients.
    Memory,
}

impl Default for Settings {
    fn default() -> Self {
        let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        Self {
            listen: loopback,
            cdn_listen: loopback,
            identity: None,
            repositories: Vec::new(),
            page_entries: 1000,
            latency: Duration::ZERO,
            connection_rate: None,
            path_prefix: String::new(),
            xet_url: None,
            content: ContentPlace::default(),
        }
    }
}

/// What both hosts share.
pub(crate) struct State {
    pub(crate) settings: Settings,
    pub(crate) cdn_url: String,
    /// Content by place on disk, where it is held in memory.
    pub(crate) memory: HashMap<PathBuf, Bytes>,
    repositories: Mutex<Vec<Repository>>,
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<Vec<Request>>,
    sent: std::sync::atomic::AtomicU64,
    /// Signed addresses of an earlier generation have expired.
    pub(crate) generation: std::sync::atomic::AtomicU64,
}

/// A running hub; it ends when this is dropped.
pub struct Hub {
    /// The address for `HF_ENDPOINT`.
    pub url: String,
    pub cdn_url: String,
    state: Arc<State>,
    tasks: Vec<JoinHandle<()>>,
}

impl Hub {
    /// Starts both listeners.
    pub async fn start(settings: Settings) -> std::io::Result<Self> {
        let hub = tokio::net::TcpListener::bind(settings.listen).await?;
        let cdn = tokio::net::TcpListener::bind(settings.cdn_listen).await?;
        let scheme = if settings.identity.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{}", hub.local_addr()?, settings.path_prefix);
        let cdn_url = format!("{scheme}://{}", cdn.local_addr()?);
        let state = Arc::new(State {
            memory: match settings.content {
                ContentPlace::Disk => HashMap::new(),
                ContentPlace::Memory => content::read_all(&settings.repositories)?,
            },
            repositories: Mutex::new(settings.repositories.clone()),
            settings,
            cdn_url: cdn_url.clone(),
            faults: Mutex::default(),
            requests: Mutex::default(),
            sent: Default::default(),
            generation: Default::default(),
        });
        let tasks = vec![
            tokio::spawn(server::serve(hub, Host::Hub, state.clone())),
            tokio::spawn(server::serve(cdn, Host::Cdn, state.clone())),
        ];
        Ok(Self { url, cdn_url, state, tasks })
    }

    /// Makes a fault happen from now on.
    pub fn inject(&self, fault: Fault) {
        lock(&self.state.faults).push(fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        lock(&self.state.faults).clear();
    }

    /// Every signed address given out so far is refused from now on.
    pub fn expire_addresses(&self) {
        self.state.generation.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }

    /// Replaces or adds a repository.
    pub fn publish(&self, repository: Repository) {
        let mut repositories = lock(&self.state.repositories);
        repositories.retain(|held| held.id != repository.id);
        repositories.push(repository);
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }

    /// Forgets the requests and the bytes counted so far.
    pub fn forget_requests(&self) {
        lock(&self.state.requests).clear();
        self.state.sent.store(0, std::sync::atomic::Ordering::SeqCst);
    }

    /// Bytes of file content handed to the network so far.
    pub fn bytes_sent(&self) -> u64 {
        self.state.sent.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl State {
    /// The repository of this name, whatever its capital letters.
    pub(crate) fn repository(&self, id: &str) -> Option<Repository> {
        lock(&self.repositories).iter().find(|held| held.id.eq_ignore_ascii_case(id)).cloned()
    }

    pub(crate) fn note(&self, request: Request) {
        lock(&self.requests).push(request);
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
    }

    /// The fault that is due for this request; one use of it is spent.
    pub(crate) fn fault(&self, host: Host, path: &str) -> Option<FaultKind> {
        let mut faults = lock(&self.faults);
        let due = faults.iter_mut().filter_map(|fault| fault.is_due(host, path).then_some(fault)).next()?;
        due.times -= 1;
        Some(due.kind.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
