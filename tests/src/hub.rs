//! A test hub with the Hugging Face Hub protocol, over HTTP or TLS, with injectable faults.
//!
//! There are two listeners, as at huggingface.co: the hub and the host that its redirects point to (the
//! "CDN"). Repositories are served from folders. Unmodified clients from PyPI and crates.io are tested
//! against it too, so that hub and fetcher cannot share a misreading of the protocol.

mod cdn;
pub mod content;
mod endpoints;
pub mod fault;
mod file_address;
pub mod identity;
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
pub use identity::TlsIdentity;
pub use repository::{Repository, RepositoryAccess};

/// The host that received a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HubHost {
    Hub,
    Cdn,
}

/// One received request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRequest {
    pub host: HubHost,
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    pub user_agent: Option<String>,
    pub status: u16,
}

/// Settings of the hub.
#[derive(Debug, Clone)]
pub struct HubSettings {
    pub listen: SocketAddr,
    pub cdn_listen: SocketAddr,
    /// Serves over TLS with this identity.
    pub identity: Option<TlsIdentity>,
    pub repositories: Vec<Repository>,
    /// Number of entries per page of a tree.
    pub page_entries: usize,
    /// Delay before each response.
    pub latency: Duration,
    /// Bytes per second of each CDN connection.
    pub connection_rate: Option<u64>,
    /// Path prefix of a mirror, such as `/mirrors/hub`.
    pub path_prefix: String,
    /// URL of xet storage, for files stored there.
    pub xet_url: Option<String>,
    /// Whether content is read for each response or kept in memory.
    pub content: ContentStorage,
}

/// Where response bodies are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentStorage {
    #[default]
    Disk,
    /// Read once at start, so that a benchmark measures the clients and not the hub.
    Memory,
}

impl Default for HubSettings {
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
            content: ContentStorage::default(),
        }
    }
}

/// State shared by both hosts.
pub(crate) struct HubState {
    pub(crate) settings: HubSettings,
    pub(crate) cdn_url: String,
    /// Content by path on disk, if it is kept in memory.
    pub(crate) cached_content: HashMap<PathBuf, Bytes>,
    repositories: Mutex<Vec<Repository>>,
    faults: Mutex<Vec<Fault>>,
    requests: Mutex<Vec<HubRequest>>,
    sent: std::sync::atomic::AtomicU64,
    /// Signed URLs of an earlier generation have expired.
    pub(crate) generation: std::sync::atomic::AtomicU64,
}

/// A running hub; dropping it stops it.
pub struct Hub {
    /// URL for `HF_ENDPOINT`.
    pub url: String,
    pub cdn_url: String,
    state: Arc<HubState>,
    tasks: Vec<JoinHandle<()>>,
}

impl Hub {
    /// Starts both listeners.
    pub async fn start(settings: HubSettings) -> std::io::Result<Self> {
        let hub = tokio::net::TcpListener::bind(settings.listen).await?;
        let cdn = tokio::net::TcpListener::bind(settings.cdn_listen).await?;
        let scheme = if settings.identity.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}{}", hub.local_addr()?, settings.path_prefix);
        let cdn_url = format!("{scheme}://{}", cdn.local_addr()?);
        let state = Arc::new(HubState {
            cached_content: match settings.content {
                ContentStorage::Disk => HashMap::new(),
                ContentStorage::Memory => content::read_all(&settings.repositories)?,
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
            tokio::spawn(server::serve(hub, HubHost::Hub, state.clone())),
            tokio::spawn(server::serve(cdn, HubHost::Cdn, state.clone())),
        ];
        Ok(Self { url, cdn_url, state, tasks })
    }

    /// Activates a fault.
    pub fn inject(&self, fault: Fault) {
        lock(&self.state.faults).push(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.state.faults).clear();
    }

    /// Expires every signed URL issued so far.
    pub fn expire_addresses(&self) {
        self.state.generation.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }

    /// Replaces or adds a repository.
    pub fn publish(&self, repository: Repository) {
        let mut repositories = lock(&self.state.repositories);
        repositories.retain(|existing| existing.id != repository.id);
        repositories.push(repository);
    }

    /// Returns all requests so far.
    pub fn requests(&self) -> Vec<HubRequest> {
        lock(&self.state.requests).clone()
    }

    /// Resets the recorded requests and the byte counter.
    pub fn reset_statistics(&self) {
        lock(&self.state.requests).clear();
        self.state.sent.store(0, std::sync::atomic::Ordering::SeqCst);
    }

    /// Returns the number of content bytes sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.state.sent.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl HubState {
    /// Returns the repository with this name, ignoring case.
    pub(crate) fn repository(&self, id: &str) -> Option<Repository> {
        lock(&self.repositories).iter().find(|existing| existing.id.eq_ignore_ascii_case(id)).cloned()
    }

    pub(crate) fn record_request(&self, request: HubRequest) {
        lock(&self.requests).push(request);
    }

    pub(crate) fn add_sent_bytes(&self, bytes: u64) {
        self.sent.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst);
    }

    /// Returns the fault for this request, if any, and decrements its remaining count.
    pub(crate) fn next_due_fault(&self, host: HubHost, path: &str) -> Option<FaultKind> {
        let mut faults = lock(&self.faults);
        let due = faults.iter_mut().filter_map(|fault| fault.is_due(host, path).then_some(fault)).next()?;
        due.times -= 1;
        Some(due.kind.clone())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
