//! The node tier: a real node runs the fetcher's image and Dynamo's frontend and mocker.

mod operator;
mod pods;

use std::process::ExitCode;

use kubectl_dynamo_tests::images::runtime;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::{self, GraphGeneration};
use kubectl_dynamo_tests::kubernetes::{self, Cluster, Layout, node, programs};
use kubectl_dynamo_tests::operator::Operator;
use kubectl_dynamo_tests::{Outcome, cases, tier};
use tokio::runtime::Runtime;

/// What the cases share.
struct Shared {
    // The operator stops before its cluster goes.
    _operator: Operator,
    cluster: Cluster,
}

impl Shared {
    fn generation(&self) -> GraphGeneration {
        GraphGeneration::V1Beta1
    }

    /// A namespace for the case `name`.
    async fn place(&self, name: &str) -> Outcome<CaseNamespace> {
        CaseNamespace::create(&self.cluster, self.cluster.control_plane(self.generation())?, name).await
    }
}

fn main() -> ExitCode {
    let missing = programs::node_missing().or_else(definitions::missing).or_else(runtime::missing);
    let cases = cases![pods::the_runtime_image_holds_dynamo, operator::an_aggregated_graph_answers_a_chat];
    tier::run("node", missing, cases, start)
}

fn start() -> Outcome<(Runtime, Shared)> {
    let prepared = kubernetes::prepare(Layout::Node)?;
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    node::import(cluster.folder(), &runtime::archive()?)?;
    let plane = cluster.control_plane(GraphGeneration::V1Beta1)?;
    let log = cluster.folder().join("log/operator.log");
    let operator = runtime.block_on(Operator::start(plane, cluster.authority(), &log))?;
    Ok((runtime, Shared { cluster, _operator: operator }))
}
