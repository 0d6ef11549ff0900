//! The client of a cluster, which outlives its login and short absences of its server: a command or file of the
//! kubeconfig is asked for credentials again when the server no longer takes those it had, and what is asked of a
//! server that goes away is asked again when it is back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::{Client, Config};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{Cluster, ClusterError, Kind, Result};

/// Between two tries of one request, at first and at most.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long whoever waits for a server that went away waits for one answer, unless told otherwise: a connection may be
/// lost without a word. Far above what a slow server needs.
const LONGEST_ANSWER: Duration = Duration::from_secs(60);

/// What all copies of a [`Cluster`] share.
pub(super) struct Session {
    config: Config,
    login: Mutex<Login>,
    renewing: tokio::sync::Mutex<()>,
    /// Whether the server ever answered: one that never did is more likely the wrong one than one that restarts.
    answered: AtomicBool,
    patience: Mutex<Duration>,
    away: watch::Sender<Option<String>>,
}

/// A client and the credentials it was made with.
#[derive(Clone)]
pub(super) struct Login {
    pub client: Client,
    number: u64,
    /// Whether the server took these credentials once; those it never took are not asked for again.
    taken: bool,
}

impl Session {
    pub(super) fn new(config: Config) -> std::result::Result<Self, kube::Error> {
        let client = Client::try_from(config.clone())?;
        Ok(Self {
            config,
            login: Mutex::new(Login { client, number: 0, taken: false }),
            renewing: tokio::sync::Mutex::new(()),
            answered: AtomicBool::new(false),
            patience: Mutex::new(Duration::ZERO),
            away: watch::Sender::new(None),
        })
    }

    pub(super) fn login(&self) -> Login {
        self.login.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes that the server took a login.
    pub(super) fn took(&self, login: &Login) {
        self.answered.store(true, Ordering::Relaxed);
        let mut current = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        current.taken |= current.number == login.number;
    }

    /// Logs in again after the server refused a login that it had taken before; answers whether there is another now.
    pub(super) async fn renew(&self, refused: &Login) -> bool {
        let _one_at_a_time = self.renewing.lock().await;
        let current = self.login();
        if current.number != refused.number {
            return true;
        }
        let source = &self.config.auth_info;
        if !current.taken || (source.exec.is_none() && source.token_file.is_none()) {
            return false;
        }
        let config = self.config.clone();
        // It may run a command, and the command may ask somebody.
        let made = tokio::task::spawn_blocking(move || Client::try_from(config)).await;
        let Ok(Ok(client)) = made else { return false };
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) =
            Login { client, number: current.number + 1, taken: false };
        true
    }
}

impl Cluster {
    /// From now on a server that answered once and then goes away is waited for this long.
    pub fn wait_while_away(&self, patience: Duration) {
        *self.session.patience.lock().unwrap_or_else(PoisonError::into_inner) = patience;
    }

    /// Tells why the server is away, and `None` when it is back.
    pub fn absences(&self) -> watch::Receiver<Option<String>> {
        self.session.away.subscribe()
    }

    /// Sends a request, and once more with new credentials where the server takes the old ones no longer.
    pub(super) async fn logged_in<T, F: Future<Output = kube::Result<T>>>(
        &self,
        request: impl Fn(Client) -> F,
    ) -> kube::Result<T> {
        loop {
            let login = self.session.login();
            // On the heap: a client's request is some KB, and every look at the cluster holds several.
            match Box::pin(request(login.client.clone())).await {
                Ok(answer) => {
                    self.session.took(&login);
                    return Ok(answer);
                }
                Err(kube::Error::Api(status)) if status.code == 401 && self.session.renew(&login).await => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request that may be sent twice: again with new credentials where the old ones have expired, and again
    /// while the server is away.
    pub(super) async fn ask<T, F: Future<Output = kube::Result<T>>>(
        &self,
        verb: &'static str,
        kind: Kind,
        name: &str,
        request: impl Fn(Client) -> F,
    ) -> Result<T> {
        let patience = *self.session.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = self.session.config.read_timeout.or((!patience.is_zero()).then_some(LONGEST_ANSWER));
        self.ask_within(limit, verb, kind, name, request).await
    }

    /// The same with a limit of its own for the answer, or none.
    pub(super) async fn ask_within<T, F: Future<Output = kube::Result<T>>>(
        &self,
        limit: Option<Duration>,
        verb: &'static str,
        kind: Kind,
        name: &str,
        request: impl Fn(Client) -> F,
    ) -> Result<T> {
        let session = &self.session;
        let patience = *session.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + patience;
        let mut pause = PAUSE;
        let mut waited = false;
        let result = loop {
            match self.logged_in(|client| answered(limit, request(client))).await {
                Ok(answer) => break Ok(answer),
                Err(error) => {
                    let is_away = is_away(&error);
                    let error = self.explain(error, verb, kind, name);
                    if !is_away {
                        session.answered.store(true, Ordering::Relaxed);
                    }
                    let answered = session.answered.load(Ordering::Relaxed);
                    if !is_away || !answered || Instant::now() + pause > deadline {
                        break Err(error);
                    }
                    waited = true;
                    session.away.send_replace(Some(error.to_string()));
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        };
        if waited {
            session.away.send_replace(None);
        }
        result
    }
}

/// The answer, unless it takes longer than the limit.
async fn answered<T>(
    limit: Option<Duration>,
    request: impl Future<Output = kube::Result<T>>,
) -> kube::Result<T> {
    let Some(limit) = limit else { return request.await };
    let late = || kube::Error::Service(format!("no answer within {} s", limit.as_secs_f64()).into());
    tokio::time::timeout(limit, request).await.unwrap_or_else(|_| Err(late()))
}

/// Whether nobody answered, or only to say that it is too early or too much.
fn is_away(error: &kube::Error) -> bool {
    match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => true,
        kube::Error::Api(status) => {
            matches!(status.code, 429 | 503 | 504) || status.message.starts_with("etcdserver: ")
        }
        _ => false,
    }
}

/// That the server refuses the credentials.
pub(super) fn is_refusal(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Unauthorized { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_without_an_answer_counts_as_an_absence() {
        let limit = Some(Duration::from_millis(1));
        let error = answered(limit, std::future::pending::<kube::Result<()>>()).await.unwrap_err();
        assert!(is_away(&error), "{error}");
        assert!(answered(limit, std::future::ready(Ok(()))).await.is_ok());
        assert!(answered(None, std::future::ready(Ok(()))).await.is_ok());
    }
}
