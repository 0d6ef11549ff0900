//! A cluster of one node with a probe pod for benchmarks. Prints one line when it is ready, and exits when
//! its stdin is closed.

use std::error::Error;
use std::io::{Read, Write};

use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::images::runtime;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::kubernetes::{self, ClusterLayout, node};
use kubectl_dynamo_tests::{Outcome, dynamo, probe_pod};

const USAGE: &str = "test-node [WORD…]
Prints `ready NETWORK-NAMESPACE KUBECONFIG ADDRESS`. The graph `probe` has one pod, whose program gets the WORDs as arguments.
";
const GRAPH: &str = "probe";

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help") {
        return Err(USAGE.into());
    }
    let prepared = kubernetes::prepare(ClusterLayout::Node(GraphGeneration::V1Beta1))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    node::import_image(cluster.folder(), &runtime::build_archive(runtime::NEWER)?)?;
    let plane = cluster.control_plane(GraphGeneration::V1Beta1)?;
    let address = runtime.block_on(create_graph_and_pod(plane.client(), &args))?;
    let namespace = cluster.namespace_name();
    writeln!(std::io::stdout().lock(), "ready {namespace} {} {address}", plane.admin_kubeconfig().display())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Creates the graph, which no operator handles, and its pod.
async fn create_graph_and_pod(client: kube::Client, args: &[String]) -> Outcome<String> {
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), "default");
    await_condition(accounts, "default", |account: Option<&_>| account.is_some()).await?;
    let graphs = dynamo::graphs(client.clone(), GraphGeneration::V1Beta1, "default");
    let graph = dynamo::aggregated_graph(GRAPH, "none", "none");
    graphs.create(&PostParams::default(), &serde_json::from_value(graph)?).await?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let pods = Api::namespaced(client, "default");
    if args.is_empty() {
        return probe_pod::start(&pods, GRAPH, "probe-0", &args).await;
    }
    // A probe that writes a log does not listen.
    probe_pod::create(&pods, GRAPH, "probe-0", &args).await?;
    Ok("-".into())
}
