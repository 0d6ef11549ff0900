//! Port-forward to a pod: half-closed clients, many connections, and the loss of the pod or the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DeleteParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_cluster::{Cluster, ClusterError, ConnectOptions, PortForward, PortForwardTarget};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_tests::cuttable_proxy::CuttableProxy;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::{Outcome, ensure, probe_pod};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Shared;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const MEBIBYTE: usize = 1 << 20;

/// A port-forward to the probes of a namespace, through a proxy to the API server.
struct PortForwardFixture {
    namespace: CaseNamespace,
    pods: Api<Pod>,
    relay: CuttableProxy,
    cluster: Cluster,
    tunnel: PortForward,
}

fn probe_port(port: u16) -> PortForwardTarget {
    let labels = "nvidia.com/dynamo-graph-deployment-name=probe".into();
    PortForwardTarget { labels, pod: None, name: "probe".into(), port }
}

impl PortForwardFixture {
    async fn open(shared: &Shared, name: &str) -> Outcome<Self> {
        let namespace = shared.namespace(name).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(namespace.client(), namespace.name());
        await_condition(accounts, "default", |account: Option<&_>| account.is_some()).await?;
        let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
        probe_pod::start(&pods, "probe", "probe-0", &[]).await?;
        let plane = shared.cluster.control_plane(shared.generation())?;
        let server = plane.server().strip_prefix("https://").ok_or("the API server uses TLS")?;
        let proxy = CuttableProxy::with_connection_delay(server.parse()?, Duration::ZERO).await?;
        let access = ConnectOptions {
            kubeconfig: Some(plane.audited_kubeconfig()),
            server: Some(format!("https://{}", proxy.address())),
            namespace: Some(namespace.name().to_owned()),
            ..ConnectOptions::default()
        };
        let cluster = Cluster::connect(&access).await?;
        let tunnel = cluster.port_forward(probe_port(probe_pod::PORT), LOOPBACK.into()).await?;
        Ok(Self { namespace, pods, relay: proxy, cluster, tunnel })
    }

    async fn connect(&self, line: &str) -> Outcome<TcpStream> {
        send_line(self.tunnel.local_address, line).await
    }
}

async fn send_line(address: SocketAddr, line: &str) -> Outcome<TcpStream> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(line.as_bytes()).await?;
    Ok(client)
}

/// Returns the name of the pod that answers.
async fn read_pod_name(mut client: TcpStream) -> Outcome<String> {
    let mut answer = String::new();
    loop {
        match client.read_u8().await? {
            b'\n' => return Ok(answer),
            byte => answer.push(char::from(byte)),
        }
    }
}

pub(crate) async fn response_is_complete_after_client_half_close(shared: Arc<Shared>) -> Outcome {
    let fixture = PortForwardFixture::open(&shared, "half-close").await?;
    // If a half-close is forwarded, the container runtime closes the whole connection 0.5 s later.
    let mut client = fixture.connect("think 2\nbytes 8\nclose\n").await?;
    client.shutdown().await?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await?;
    ensure!(answer.len() == "thought\n".len() + 8 * MEBIBYTE, "received {} bytes", answer.len());
    fixture.namespace.delete().await
}

pub(crate) async fn twenty_concurrent_connections_do_not_mix_bytes(shared: Arc<Shared>) -> Outcome {
    let fixture = PortForwardFixture::open(&shared, "twenty").await?;
    let echo = async |number: u8| {
        let client = fixture.connect(&format!("echo {MEBIBYTE}\n")).await?;
        let sent = vec![number; MEBIBYTE];
        let (mut reader, mut writer) = client.into_split();
        let mut answer = vec![0; MEBIBYTE];
        futures::future::try_join(writer.write_all(&sent), reader.read_exact(&mut answer)).await?;
        ensure!(answer == sent, "connection {number} received wrong bytes");
        Outcome::Ok(())
    };
    futures::future::try_join_all((0..20).map(echo)).await?;
    fixture.namespace.delete().await
}

pub(crate) async fn port_forward_survives_pod_and_connection_loss(shared: Arc<Shared>) -> Outcome {
    let mut fixture = PortForwardFixture::open(&shared, "outlives").await?;
    ensure!(read_pod_name(fixture.connect("name\n").await?).await? == "probe-0", "wrong pod answered");

    fixture.pods.delete("probe-0", &DeleteParams::default()).await?;
    await_condition(fixture.pods.clone(), "probe-0", |pod: Option<&Pod>| pod.is_none()).await?;
    // It waits for the replacement pod.
    let pending_client = fixture.connect("name\n").await?;
    probe_pod::start(&fixture.pods, "probe", "probe-1", &[]).await?;
    ensure!(read_pod_name(pending_client).await? == "probe-1", "wrong pod answered");

    let mut open_client = fixture.connect("name\nthink 60\n").await?;
    open_client.read_exact(&mut [0; 8]).await?;
    fixture.relay.cut();
    ensure!(open_client.read_u8().await.is_err(), "a broken connection looks like a closed one");
    let failure = fixture.tunnel.next_failure().await;
    ensure!(matches!(failure, Some(ClusterError::PortForwardLost { .. })), "{failure:?}");
    ensure!(
        failure.and_then(|error| error.code()) == Some(MessageCode::ForwardedConnectionLost),
        "wrong code"
    );
    let pending_client = fixture.connect("name\n").await?;
    fixture.relay.restore();
    ensure!(read_pod_name(pending_client).await? == "probe-1", "wrong pod answered");
    fixture.namespace.delete().await
}

pub(crate) async fn closed_container_port_is_reported(shared: Arc<Shared>) -> Outcome {
    let fixture = PortForwardFixture::open(&shared, "no-port").await?;
    let mut tunnel = fixture.cluster.port_forward(probe_port(9), LOOPBACK.into()).await?;
    let _client = send_line(tunnel.local_address, "name\n").await?;
    let failure = tunnel.next_failure().await;
    ensure!(matches!(failure, Some(ClusterError::PortRefused { port: 9, .. })), "{failure:?}");
    ensure!(failure.and_then(|error| error.code()) == Some(MessageCode::PodConnectionRefused), "wrong code");
    fixture.namespace.delete().await
}
