//! `logs` of a container that restarts, over a connection that breaks.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::relay::Relay;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, probe};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Shared;

/// Lines of one life of the container; it writes for three seconds.
const LINES: usize = 3000;

pub(crate) async fn a_restarted_container_is_read_on_and_a_cut_stream_is_mended(
    shared: Arc<Shared>,
) -> Outcome {
    let place = shared.place("restarts").await?;
    let plane = shared.cluster.control_plane(shared.generation())?;
    let mut graph = dynamo::aggregated("probe", "none", "none");
    for component in graph["spec"]["components"].as_array_mut().into_iter().flatten() {
        component["replicas"] = 0.into();
    }
    let graphs = dynamo::graphs(place.client(), shared.generation(), place.name());
    graphs.create(&PostParams::default(), &serde_json::from_value(graph)?).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(place.client(), place.name());
    await_condition(accounts, "default", |account: Option<&_>| account.is_some()).await?;
    let pods: Api<Pod> = Api::namespaced(place.client(), place.name());
    probe::create(&pods, "probe", "probe-0", &["write", "1000", "3", "end"]).await?;

    let server = plane.server().strip_prefix("https://").ok_or("the API server speaks TLS")?;
    let relay = Relay::to(server.parse()?, Duration::ZERO).await?;
    let server = format!("--server=https://{}", relay.address());
    let words = ["logs", "probe", "-f", "--include=^line", "--exclude=nothing", &server];
    let mut logs = shared.plugin(&place)?.command(&words).spawn()?;
    let mut lines = BufReader::new(logs.stdout.take().ok_or("a child without an output")?).lines();
    for number in 0..2 * LINES {
        let line = lines.next_line().await?.ok_or("logs ended")?;
        let expected = format!("probe-0 | line {} written", number % LINES);
        ensure!(line.starts_with(&expected), "{line} instead of {expected} after {number} lines");
        if number == LINES / 3 {
            relay.cut();
            relay.mend();
        }
    }
    logs.kill().await?;
    place.delete().await
}
