//! `logs` of a container that restarts, over a connection that breaks.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::cuttable_proxy::CuttableProxy;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::{Outcome, dynamo, ensure, probe_pod};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::Shared;

/// Lines of one run of the container; it writes for three seconds.
const LINES_PER_RUN: usize = 3000;

pub(crate) async fn logs_follow_survives_container_restart_and_disconnect(shared: Arc<Shared>) -> Outcome {
    let namespace = namespace_with_graph(&shared, "restarts").await?;
    let plane = shared.cluster.control_plane(shared.generation())?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    probe_pod::create(&pods, "probe", "probe-0", &["write", "1000", "3", "end"]).await?;

    let server = plane.server().strip_prefix("https://").ok_or("the API server uses TLS")?;
    let proxy = CuttableProxy::with_connection_delay(server.parse()?, Duration::ZERO).await?;
    let server = format!("--server=https://{}", proxy.address());
    let args = ["logs", "probe", "-f", "--include=^line", "--exclude=nothing", &server];
    let mut logs = shared.plugin(&namespace)?.command(&args).spawn()?;
    let mut lines = BufReader::new(logs.stdout.take().ok_or("child does not have stdout")?).lines();
    for number in 0..2 * LINES_PER_RUN {
        let line = lines.next_line().await?.ok_or("logs exited")?;
        let expected = format!("probe-0 | line {} written", number % LINES_PER_RUN);
        ensure!(line.starts_with(&expected), "{line} instead of {expected} after {number} lines");
        if number == LINES_PER_RUN / 3 {
            proxy.cut();
            proxy.restore();
        }
    }
    logs.kill().await?;
    namespace.delete().await
}

/// The last lines of several pods are printed in the order in which they were written.
pub(crate) async fn tail_of_several_pods_is_ordered_by_time(shared: Arc<Shared>) -> Outcome {
    let namespace = namespace_with_graph(&shared, "tails").await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    // Each one is ready after it has written its lines.
    for pod in ["probe-1", "probe-0"] {
        probe_pod::start(&pods, "probe", pod, &["write", "50", "1"]).await?;
    }
    let args = ["logs", "probe", "--tail=40", "--timestamps"];
    let output = shared.plugin(&namespace)?.run(&args).await?.expect(0)?;
    let lines: Vec<(&str, &str)> = output.out.lines().filter_map(|line| line.split_once(" | ")).collect();
    let times: Vec<&str> = lines.iter().filter_map(|(_, line)| line.split(' ').next()).collect();
    ensure!(lines.len() == 80 && times.is_sorted(), "{}", output.out);
    ensure!(lines[0].0.starts_with("probe-1"), "the lines are ordered by pod:\n{}", output.out);
    namespace.delete().await
}

/// Creates a namespace with a graph whose components do not have pods; a probe can be one of them.
async fn namespace_with_graph(shared: &Shared, name: &str) -> Outcome<CaseNamespace> {
    let namespace = shared.namespace(name).await?;
    let mut graph = dynamo::aggregated_graph("probe", "none", "none");
    for component in graph["spec"]["components"].as_array_mut().into_iter().flatten() {
        component["replicas"] = 0.into();
    }
    let graphs = dynamo::graphs(namespace.client(), shared.generation(), namespace.name());
    graphs.create(&PostParams::default(), &serde_json::from_value(graph)?).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(namespace.client(), namespace.name());
    await_condition(accounts, "default", |account: Option<&_>| account.is_some()).await?;
    Ok(namespace)
}
