//! The control-plane tier: real API servers with Dynamo's definitions of both generations; no pod runs.

mod serving;

use std::process::ExitCode;

use kubectl_dynamo_tests::kubernetes::{self, Cluster, Layout, definitions, programs};
use kubectl_dynamo_tests::{Outcome, cases, tier};
use tokio::runtime::Runtime;

/// What the cases share.
struct Shared {
    cluster: Cluster,
}

fn main() -> ExitCode {
    let missing = programs::control_plane_missing().or_else(definitions::missing);
    let cases = cases![serving::each_control_plane_serves_its_generation];
    tier::run("control-plane", missing, cases, start)
}

fn start() -> Outcome<(Runtime, Shared)> {
    let prepared = kubernetes::prepare(Layout::ControlPlanes)?;
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    Ok((runtime, Shared { cluster }))
}
