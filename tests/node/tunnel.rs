//! What a tunnel to a pod must bear: clients that have said everything, many at once, and the loss of pod and server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, DeleteParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo::cluster::{Access, Cluster, ClusterError, Tunnel, TunnelTarget};
use kubectl_dynamo::error::Explain;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::relay::Relay;
use kubectl_dynamo_tests::{Outcome, ensure, probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Shared;

const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);
const MEBIBYTE: usize = 1 << 20;

/// A tunnel to the probes of a namespace, through a relay to the API server.
struct Tunnelled {
    place: CaseNamespace,
    pods: Api<Pod>,
    relay: Relay,
    cluster: Cluster,
    tunnel: Tunnel,
}

fn probe_port(port: u16) -> TunnelTarget {
    let labels = "nvidia.com/dynamo-graph-deployment-name=probe".into();
    TunnelTarget { labels, name: "probe".into(), port }
}

impl Tunnelled {
    async fn open(shared: &Shared, name: &str) -> Outcome<Self> {
        let place = shared.place(name).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(place.client(), place.name());
        await_condition(accounts, "default", |account: Option<&_>| account.is_some()).await?;
        let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
        probe::start(&pods, "probe", "probe-0", &[]).await?;
        let plane = shared.cluster.control_plane(shared.generation())?;
        let server = plane.server().strip_prefix("https://").ok_or("the API server speaks TLS")?;
        let relay = Relay::to(server.parse()?, Duration::ZERO).await?;
        let access = Access {
            kubeconfig: Some(plane.kubeconfig()),
            server: Some(format!("https://{}", relay.address())),
            namespace: Some(place.name().to_owned()),
            ..Access::default()
        };
        let cluster = Cluster::connect(&access).await?;
        let tunnel = cluster.tunnel(probe_port(probe::PORT), LOOPBACK.into()).await?;
        Ok(Self { place, pods, relay, cluster, tunnel })
    }

    async fn ask(&self, line: &str) -> Outcome<TcpStream> {
        ask(self.tunnel.local, line).await
    }
}

async fn ask(address: SocketAddr, line: &str) -> Outcome<TcpStream> {
    let mut client = TcpStream::connect(address).await?;
    client.write_all(line.as_bytes()).await?;
    Ok(client)
}

/// The pod that answers.
async fn name(mut client: TcpStream) -> Outcome<String> {
    let mut answer = String::new();
    loop {
        match client.read_u8().await? {
            b'\n' => return Ok(answer),
            byte => answer.push(char::from(byte)),
        }
    }
}

pub(crate) async fn the_whole_answer_comes_after_a_half_close(shared: Arc<Shared>) -> Outcome {
    let tunnelled = Tunnelled::open(&shared, "half-close").await?;
    // Half a second after an end that is passed on, the node's runtime closes everything.
    let mut client = tunnelled.ask("think 2\nbytes 8\nclose\n").await?;
    client.shutdown().await?;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await?;
    ensure!(answer.len() == "thought\n".len() + 8 * MEBIBYTE, "{} bytes came", answer.len());
    tunnelled.place.delete().await
}

pub(crate) async fn twenty_connections_at_once_keep_their_bytes_apart(shared: Arc<Shared>) -> Outcome {
    let tunnelled = Tunnelled::open(&shared, "twenty").await?;
    let echo = async |number: u8| {
        let client = tunnelled.ask(&format!("echo {MEBIBYTE}\n")).await?;
        let said = vec![number; MEBIBYTE];
        let (mut reader, mut writer) = client.into_split();
        let mut answer = vec![0; MEBIBYTE];
        futures::future::try_join(writer.write_all(&said), reader.read_exact(&mut answer)).await?;
        ensure!(answer == said, "connection {number} got other bytes");
        Outcome::Ok(())
    };
    futures::future::try_join_all((0..20).map(echo)).await?;
    tunnelled.place.delete().await
}

pub(crate) async fn a_tunnel_outlives_its_pod_and_its_api_server(shared: Arc<Shared>) -> Outcome {
    let mut tunnelled = Tunnelled::open(&shared, "outlives").await?;
    ensure!(name(tunnelled.ask("name\n").await?).await? == "probe-0", "another pod answered");

    tunnelled.pods.delete("probe-0", &DeleteParams::default()).await?;
    await_condition(tunnelled.pods.clone(), "probe-0", |pod: Option<&Pod>| pod.is_none()).await?;
    // It waits for the pod that comes instead.
    let waiting = tunnelled.ask("name\n").await?;
    probe::start(&tunnelled.pods, "probe", "probe-1", &[]).await?;
    ensure!(name(waiting).await? == "probe-1", "another pod answered");

    let mut cut = tunnelled.ask("name\nthink 60\n").await?;
    cut.read_exact(&mut [0; 8]).await?;
    tunnelled.relay.cut();
    ensure!(cut.read_u8().await.is_err(), "a connection that broke looks like one that ended");
    let told = tunnelled.tunnel.failure().await;
    ensure!(matches!(told, Some(ClusterError::ForwardBroke { .. })), "{told:?}");
    ensure!(told.and_then(|error| error.code()) == Some("KD0821"), "another code");
    let waiting = tunnelled.ask("name\n").await?;
    tunnelled.relay.mend();
    ensure!(name(waiting).await? == "probe-1", "another pod answered");
    tunnelled.place.delete().await
}

pub(crate) async fn a_port_that_nobody_listens_on_is_told(shared: Arc<Shared>) -> Outcome {
    let tunnelled = Tunnelled::open(&shared, "no-port").await?;
    let mut tunnel = tunnelled.cluster.tunnel(probe_port(9), LOOPBACK.into()).await?;
    let _client = ask(tunnel.local, "name\n").await?;
    let told = tunnel.failure().await;
    ensure!(matches!(told, Some(ClusterError::PodRefuses { port: 9, .. })), "{told:?}");
    ensure!(told.and_then(|error| error.code()) == Some("KD0820"), "another code");
    tunnelled.place.delete().await
}
