//! The API client of a cluster, which renews credentials and survives short outages of the API server.
//!
//! It reads the token file or runs the credential plugin of the kubeconfig again when the server rejects
//! credentials that it accepted before. It retries requests while the server is unavailable, up to the outage
//! tolerance.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::{Client, Config};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Cluster, ClusterError, Kind, Result};

/// Delay between two attempts of one request: the first delay and the longest.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(3);
/// How long a request is repeated while the operator's webhook does not respond. Right after the operator became
/// ready, its Service may refuse a connection once.
const WEBHOOK_TOLERANCE: Duration = Duration::from_secs(4);
/// Timeout of one response while outages are tolerated, unless --request-timeout is set. A connection can be
/// lost without an error, and this is far more than a slow server needs.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// The state that all clones of a [`Cluster`] share.
pub(super) struct ApiClient {
    config: Config,
    credentials: Mutex<Credentials>,
    renew_lock: tokio::sync::Mutex<()>,
    /// Whether the server has ever responded. If not, its address is probably wrong, so outages are not
    /// tolerated.
    has_answered: AtomicBool,
    outage_tolerance: Mutex<Duration>,
    outage: watch::Sender<Option<String>>,
}

/// A client and the credentials it was created with.
#[derive(Clone)]
pub(super) struct Credentials {
    pub client: Client,
    generation: u64,
    /// Set once the server accepted these credentials; never-accepted credentials are not renewed.
    accepted: bool,
}

impl ApiClient {
    pub(super) fn new(config: Config) -> std::result::Result<Self, kube::Error> {
        let client = Client::try_from(config.clone())?;
        Ok(Self {
            config,
            credentials: Mutex::new(Credentials { client, generation: 0, accepted: false }),
            renew_lock: tokio::sync::Mutex::new(()),
            has_answered: AtomicBool::new(false),
            outage_tolerance: Mutex::new(Duration::ZERO),
            outage: watch::Sender::new(None),
        })
    }

    /// Whether the kubeconfig has a login command. The client runs it again whenever the credentials expire.
    pub(super) fn has_login_command(&self) -> bool {
        let auth = &self.config.auth_info;
        auth.exec.is_some() || auth.auth_provider.is_some()
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that the server accepted these credentials.
    pub(super) fn mark_accepted(&self, credentials: &Credentials) {
        self.has_answered.store(true, Ordering::Relaxed);
        let mut current = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        current.accepted |= current.generation == credentials.generation;
    }

    /// Renews credentials that the server accepted before and now rejects. Returns whether newer credentials
    /// exist.
    pub(super) async fn renew(&self, rejected: &Credentials) -> bool {
        let _one_at_a_time = self.renew_lock.lock().await;
        let current = self.credentials();
        if current.generation != rejected.generation {
            return true;
        }
        let auth = &self.config.auth_info;
        if !current.accepted || (auth.exec.is_none() && auth.token_file.is_none()) {
            return false;
        }
        let config = self.config.clone();
        // This may run a credential plugin, which may prompt the user.
        let result = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
        let Ok(Ok(client)) = result else { return false };
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) =
            Credentials { client, generation: current.generation + 1, accepted: false };
        true
    }
}

impl Cluster {
    /// Sets how long requests wait for a server that responded before and is unavailable now.
    pub fn set_outage_tolerance(&self, tolerance: Duration) {
        *self.api_client.outage_tolerance.lock().unwrap_or_else(PoisonError::into_inner) = tolerance;
    }

    /// Reports why the server is unavailable, and `None` once it is available again.
    pub fn outages(&self) -> watch::Receiver<Option<String>> {
        self.api_client.outage.subscribe()
    }

    /// Sends a request, and repeats it with new credentials if the server rejects the current ones.
    pub(super) async fn with_relogin<T, F: Future<Output = kube::Result<T>>>(
        &self,
        request: impl Fn(Client) -> F,
    ) -> kube::Result<T> {
        loop {
            let credentials = self.api_client.credentials();
            // On the heap: the future of a request takes several KB, and collecting facts holds many of them.
            match Box::pin(request(credentials.client.clone())).await {
                Ok(response) => {
                    self.api_client.mark_accepted(&credentials);
                    return Ok(response);
                }
                Err(kube::Error::Api(status))
                    if status.code == 401 && self.api_client.renew(&credentials).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends an idempotent request. It is repeated with new credentials after the old ones expired, and
    /// retried while the server is unavailable.
    pub(super) async fn request<T, F: Future<Output = kube::Result<T>>>(
        &self,
        verb: &'static str,
        kind: Kind,
        name: &str,
        request: impl Fn(Client) -> F,
    ) -> Result<T> {
        let outage_tolerance =
            *self.api_client.outage_tolerance.lock().unwrap_or_else(PoisonError::into_inner);
        let timeout =
            self.api_client.config.read_timeout.or((!outage_tolerance.is_zero()).then_some(RESPONSE_TIMEOUT));
        self.request_with_timeout(timeout, verb, kind, name, request).await
    }

    /// Like [`Cluster::request`], with an explicit response timeout; `None` means no timeout.
    pub(super) async fn request_with_timeout<T, F: Future<Output = kube::Result<T>>>(
        &self,
        timeout: Option<Duration>,
        verb: &'static str,
        kind: Kind,
        name: &str,
        request: impl Fn(Client) -> F,
    ) -> Result<T> {
        let api_client = &self.api_client;
        let outage_tolerance = *api_client.outage_tolerance.lock().unwrap_or_else(PoisonError::into_inner);
        let (deadline, webhook_deadline) =
            (Instant::now() + outage_tolerance, Instant::now() + WEBHOOK_TOLERANCE);
        let mut delay = RETRY_INTERVAL;
        let mut has_waited = false;
        let result = loop {
            match self.with_relogin(|client| with_timeout(timeout, request(client))).await {
                Ok(response) => break Ok(response),
                Err(error) => {
                    let is_outage = is_outage(&error);
                    let error = self.explain(error, verb, kind, name);
                    if !is_outage {
                        api_client.has_answered.store(true, Ordering::Relaxed);
                    }
                    let has_answered = api_client.has_answered.load(Ordering::Relaxed);
                    let give_up_at = match error {
                        ClusterError::WebhookUnavailable { .. } => Some(webhook_deadline),
                        _ => Some(deadline).filter(|_| is_outage && has_answered),
                    };
                    if give_up_at.is_none_or(|give_up_at| Instant::now() + delay > give_up_at) {
                        break Err(error);
                    }
                    has_waited = true;
                    api_client.outage.send_replace(Some(error.to_string()));
                    sleep(delay).await;
                    delay = (delay * 2).min(MAX_RETRY_INTERVAL);
                }
            }
        };
        if has_waited {
            api_client.outage.send_replace(None);
        }
        result
    }
}

/// Awaits a request and fails if it takes longer than `timeout`.
async fn with_timeout<T>(
    timeout: Option<Duration>,
    request: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    let Some(timeout) = timeout else { return request.await };
    let timeout_error =
        || kube::Error::Service(format!("no response within {} s", timeout.as_secs_f64()).into());
    tokio::time::timeout(timeout, request).await.unwrap_or_else(|_| Err(timeout_error()))
}

/// Whether the server did not respond, or responded that it is overloaded or not ready.
fn is_outage(error: &kube::Error) -> bool {
    match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        kube::Error::Api(status) => {
            matches!(status.code, 429 | 503 | 504) || status.message.starts_with("etcdserver: ")
        }
        _ => false,
    }
}

/// Whether the server rejected the credentials.
pub(super) fn is_unauthorized(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Unauthorized { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn request_timeout_counts_as_outage() {
        let limit = Some(Duration::from_millis(1));
        let error = with_timeout(limit, std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert!(is_outage(&error), "{error}");
        assert!(with_timeout(limit, std::future::ready(Ok(()))).await.is_ok());
        assert!(with_timeout(None, std::future::ready(Ok(()))).await.is_ok());
    }
}
