//! Connections to the metrics of processes: each is opened once and used for all scrapes.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};

use crate::chat::innermost_cause;
use crate::report::Report;
use kubectl_dynamo_cluster::{Cluster, ClusterError, PortForward, PortForwardTarget};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Exit, Explain};
use kubectl_dynamo_core::readiness::GRAPH_LABEL;

/// Processes that are scraped at the same time.
const PARALLEL: usize = 128;

/// Identifies a deployment or one of its processes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ProcessKey(Vec<String>);

impl ProcessKey {
    pub(super) fn new(namespace: &str, deployment: &str) -> Self {
        Self(vec![namespace.to_owned(), deployment.to_owned()])
    }

    pub(super) fn with(&self, process: &str) -> Self {
        Self(self.0.iter().cloned().chain([process.to_owned()]).collect())
    }
}

/// Where a process exports its metrics.
#[derive(Clone)]
pub(super) enum MetricsAddress {
    Url(String),
    Pod { cluster: Cluster, deployment: String, pod: String, port: u16 },
}

impl MetricsAddress {
    /// The error of a process at this address.
    fn not_readable(&self, process: &str, cause: String) -> ScrapeError {
        let status = SuggestedCommand::plugin("status");
        let status = match self {
            Self::Url(_) => status.flag("--local"),
            Self::Pod { cluster, deployment, .. } => {
                status.operand(deployment, "NAME").in_namespace(&cluster.namespace)
            }
        };
        let fix = status.after("see whether it runs: ");
        ScrapeError::NotReadable { process: process.to_owned(), cause, fix }
    }
}

/// Why the metrics of a process could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ScrapeError {
    #[error("{0}")]
    PortForward(Arc<ClusterError>),
    #[error("the metrics of \"{process}\" cannot be read: {cause}")]
    NotReadable { process: String, cause: String, fix: Fix },
}

impl Explain for ScrapeError {
    fn code(&self) -> Option<MessageCode> {
        match self {
            Self::PortForward(error) => error.code(),
            Self::NotReadable { .. } => Some(MessageCode::MetricsNotReadable),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::PortForward(error) => error.exit(),
            Self::NotReadable { .. } => MessageCode::MetricsNotReadable.exit(),
        }
    }

    fn hint(&self) -> Option<Fix> {
        match self {
            Self::PortForward(error) => error.hint(),
            Self::NotReadable { fix, .. } => Some(fix.clone()),
        }
    }
}

/// A process that did not answer, and the reason.
#[derive(Debug, Clone)]
pub(crate) struct ScrapeProblem {
    pub process: String,
    pub error: ScrapeError,
}

impl ScrapeProblem {
    /// Warns about it. A missing permission is reported once, at the end of the command.
    pub(crate) fn report(&self, report: &Report) {
        if self.error.exit() != Exit::Access {
            report.warn(self.error.code(), self.error.to_string(), self.error.hint());
        }
    }
}

/// The answer of a process.
pub(super) struct ScrapeAnswer {
    pub(super) at: Instant,
    pub(super) body: Result<String, ScrapeError>,
}

/// An open connection. The port-forward lasts as long as this.
struct Connection {
    url: String,
    port_forward: Option<PortForward>,
}

/// The connections to all processes.
pub(super) struct MetricsConnections {
    client: reqwest::Client,
    open: HashMap<ProcessKey, Connection>,
}

impl MetricsConnections {
    pub(super) fn new() -> std::io::Result<Self> {
        // All addresses are on loopback, which a proxy cannot reach. A connection must survive long intervals.
        let builder = reqwest::Client::builder().no_proxy().pool_idle_timeout(None);
        Ok(Self { client: builder.build().map_err(std::io::Error::other)?, open: HashMap::new() })
    }

    /// Reads the metrics of these processes at the same time. Connections to other processes are closed.
    pub(super) async fn scrape(
        &mut self,
        processes: impl Iterator<Item = (ProcessKey, MetricsAddress)>,
        timeout: Duration,
    ) -> BTreeMap<ProcessKey, ScrapeAnswer> {
        let mut previous = std::mem::take(&mut self.open);
        let processes: Vec<_> =
            processes.map(|(key, address)| (previous.remove(&key), key, address)).collect();
        drop(previous);
        let client = &self.client;
        let scraped = stream::iter(processes).map(async |(connection, key, address)| {
            let process = process_name(&key);
            let work = scrape_process(client, connection, &address, process);
            let (connection, body) = match tokio::time::timeout(timeout, work).await {
                Ok((connection, body)) => (connection, body),
                Err(_) => {
                    let cause = format!("no answer within {} s", timeout.as_secs());
                    (None, Err(address.not_readable(process, cause)))
                }
            };
            (key, connection, ScrapeAnswer { at: Instant::now(), body })
        });
        let scraped: Vec<_> = scraped.buffer_unordered(PARALLEL).collect().await;
        let mut answers = BTreeMap::new();
        for (key, connection, answer) in scraped {
            self.open.extend(connection.map(|connection| (key.clone(), connection)));
            answers.insert(key, answer);
        }
        answers
    }
}

fn process_name(key: &ProcessKey) -> &str {
    key.0.last().map(String::as_str).unwrap_or_default()
}

/// Reads the metrics over the connection, which is opened if there is none.
async fn scrape_process(
    client: &reqwest::Client,
    connection: Option<Connection>,
    address: &MetricsAddress,
    process: &str,
) -> (Option<Connection>, Result<String, ScrapeError>) {
    let connection = match connection {
        Some(connection) => Ok(connection),
        None => open_connection(address).await,
    };
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(error) => return (None, Err(ScrapeError::PortForward(Arc::new(error)))),
    };
    let body = get(client, &connection.url).await.map_err(|error| {
        // A failed port-forward closes the connection, and it has the reason.
        let lost = connection.port_forward.as_mut().and_then(|tunnel| tunnel.next_failure().now_or_never());
        match lost.flatten() {
            Some(lost) => ScrapeError::PortForward(Arc::new(lost)),
            None => address.not_readable(process, innermost_cause(&error)),
        }
    });
    (Some(connection), body)
}

async fn open_connection(address: &MetricsAddress) -> Result<Connection, ClusterError> {
    match address {
        MetricsAddress::Url(url) => Ok(Connection { url: url.clone(), port_forward: None }),
        MetricsAddress::Pod { cluster, deployment, pod, port } => {
            let target = PortForwardTarget {
                labels: format!("{GRAPH_LABEL}={deployment}"),
                pod: Some(pod.clone()),
                name: deployment.clone(),
                port: *port,
            };
            let tunnel = cluster.port_forward(target, (Ipv4Addr::LOCALHOST, 0).into()).await?;
            let url = format!("http://{}/metrics", tunnel.local_address);
            Ok(Connection { url, port_forward: Some(tunnel) })
        }
    }
}

async fn get(client: &reqwest::Client, url: &str) -> reqwest::Result<String> {
    client.get(url).send().await?.error_for_status()?.text().await
}
