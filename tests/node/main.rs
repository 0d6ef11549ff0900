//! The node tier: a real node runs the fetcher's image and Dynamo's frontend and mocker.

mod pods;

use std::process::ExitCode;

use kubectl_dynamo_tests::images::runtime;
use kubectl_dynamo_tests::kubernetes::{self, Cluster, Layout, definitions, node, programs};
use kubectl_dynamo_tests::{Outcome, cases, tier};
use tokio::runtime::Runtime;

/// What the cases share.
struct Shared {
    cluster: Cluster,
}

fn main() -> ExitCode {
    let missing = programs::node_missing().or_else(definitions::missing).or_else(runtime::missing);
    let cases = cases![pods::the_runtime_image_holds_dynamo];
    tier::run("node", missing, cases, start)
}

fn start() -> Outcome<(Runtime, Shared)> {
    let prepared = kubernetes::prepare(Layout::Node)?;
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    node::import(cluster.folder(), &runtime::archive()?)?;
    Ok((runtime, Shared { cluster }))
}
