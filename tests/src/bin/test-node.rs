//! A cluster of one node with a probe pod, for benchmarks. Prints one line when it is ready, and ends with its
//! standard input.

use std::error::Error;
use std::io::{Read, Write};

use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::images::runtime;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::kubernetes::{self, Layout, node};
use kubectl_dynamo_tests::{Outcome, dynamo, probe};

const USAGE: &str = "test-node [WORD…]
Prints `ready NETWORK-NAMESPACE KUBECONFIG ADDRESS`. The graph `probe` has one pod, whose program is given the words.
";
const GRAPH: &str = "probe";

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        return Err(USAGE.into());
    }
    let prepared = kubernetes::prepare(Layout::Node(GraphGeneration::V1Beta1))?;
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    node::import(cluster.folder(), &runtime::archive(runtime::NEWER)?)?;
    let plane = cluster.control_plane(GraphGeneration::V1Beta1)?;
    let address = runtime.block_on(fill(plane.client(), &words))?;
    let namespace = cluster.namespace_name();
    writeln!(std::io::stdout().lock(), "ready {namespace} {} {address}", plane.admin_kubeconfig().display())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The graph, which no operator looks at, and its pod.
async fn fill(client: kube::Client, words: &[String]) -> Outcome<String> {
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> =
        Api::namespaced(client.clone(), "default");
    await_condition(accounts, "default", |account: Option<&_>| account.is_some()).await?;
    let graphs = dynamo::graphs(client.clone(), GraphGeneration::V1Beta1, "default");
    let graph = dynamo::aggregated(GRAPH, "none", "none");
    graphs.create(&PostParams::default(), &serde_json::from_value(graph)?).await?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let pods = Api::namespaced(client, "default");
    if words.is_empty() {
        return probe::start(&pods, GRAPH, "probe-0", &words).await;
    }
    // One that writes does not listen.
    probe::create(&pods, GRAPH, "probe-0", &words).await?;
    Ok("-".into())
}
