//! How an `up` waits: how soon it notices that the cluster is ready, what it asks and computes meanwhile, and what one
//! that changes nothing asks. On the control plane of the tests, whose operator's part and kubelet's reports are played.

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::control_plane::ControlPlane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::kubernetes::puppet::Puppet;
use kubectl_dynamo_tests::kubernetes::{self, Cluster, Layout, node};
use kubectl_dynamo_tests::operator::Operator;
use kubectl_dynamo_tests::plugin::{Plugin, Running};
use kubectl_dynamo_tests::{Outcome, dynamo};

const USAGE: &str = "bench-up RUNS SECONDS
Prints a table: RUNS deployments of each object version, each of which waits for SECONDS before its pods are ready.
";
/// Requests of this user alone are counted.
const USER: [&str; 2] = ["--as=counted", "--as-group=system:masters"];
const UP: [&str; 7] = [
    "up",
    "acme/tiny",
    "--backend=mocker",
    "--storage-class=manual",
    "--fetcher-image=registry.test/fetcher:1",
    "--no-smoke-test",
    "--progress=plain",
];

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [runs, seconds] = arguments.as_slice() else { return Err(USAGE.into()) };
    let (runs, seconds): (usize, u64) = (runs.parse()?, seconds.parse()?);
    let prepared = kubernetes::prepare(Layout::ControlPlanes)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    runtime.block_on(measure(&cluster, runs, Duration::from_secs(seconds)))
}

async fn measure(cluster: &Cluster, runs: usize, wait: Duration) -> Outcome {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| | ready noticed after | CPU while it waits | requests while it waits | of an unchanged `up` |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    for generation in [GraphGeneration::V1Beta1, GraphGeneration::V1Alpha1] {
        let plane = cluster.control_plane(generation)?;
        node::make_storage_classes(plane).await?;
        let log = cluster.folder().join(format!("log/operator-{}.log", generation.version()));
        let operator = Operator::start(plane, cluster.authority(), &log).await?;
        let mut rows = Vec::new();
        for run in 0..runs {
            let place = CaseNamespace::create(cluster, plane, &format!("bench-{run}")).await?;
            rows.push(one(&place, plane, generation, wait).await?);
            place.delete().await?;
        }
        drop(operator);
        let median = |of: &dyn Fn(&Row) -> f64| {
            let mut values: Vec<f64> = rows.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        writeln!(
            out,
            "| {} | {:.0} ms | {:.2} % of a core | {:.0} in {} s | {:.0} |",
            generation.version(),
            median(&|row| row.noticed.as_secs_f64() * 1000.0),
            median(&|row| row.cpu.as_secs_f64() / wait.as_secs_f64() * 100.0),
            median(&|row| row.asked as f64),
            wait.as_secs(),
            median(&|row| row.unchanged as f64),
        )?;
    }
    Ok(())
}

struct Row {
    noticed: Duration,
    cpu: Duration,
    asked: usize,
    unchanged: usize,
}

async fn one(
    place: &CaseNamespace,
    plane: &ControlPlane,
    generation: GraphGeneration,
    wait: Duration,
) -> Outcome<Row> {
    let (plugin, puppet) = (Plugin::new(plane.kubeconfig(), place.name()), Puppet::of(place));
    let words = [&UP[..], &USER].concat();
    let mut up = plugin.start(&words)?;
    up.until("model fetch: waiting").await?;
    puppet.finish_fetch().await?;
    up.until("ready: waiting for frontend").await?;
    // The pods exist by then, so nothing moves from here on.
    puppet.pod_of("frontend").await?;
    puppet.pod_of("worker").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (position, before) = (plane.audit().position()?, cpu_time(&up)?);
    tokio::time::sleep(wait).await;
    let cpu = cpu_time(&up)?.saturating_sub(before);
    let asked = plane.audit().requests_for(position, "counted")?.len();

    puppet.make_ready("frontend").await?;
    puppet.make_ready("worker").await?;
    let graphs = dynamo::graphs(place.client(), generation, place.name());
    let cluster = async {
        await_condition(graphs, "tiny", |graph: Option<&DynamicObject>| graph.is_some_and(is_ready)).await?;
        Outcome::Ok(Instant::now())
    };
    let seen = async {
        up.until("ready: done").await?;
        Outcome::Ok(Instant::now())
    };
    let (cluster, seen) = tokio::try_join!(cluster, seen)?;
    up.end().await?.expect(0)?;

    let position = plane.audit().position()?;
    plugin.run(&words).await?.expect(0)?;
    let unchanged = plane.audit().requests_for(position, "counted")?.len();
    Ok(Row { noticed: seen.saturating_duration_since(cluster), cpu, asked, unchanged })
}

/// Nothing was ready before, so it is this specification that is.
fn is_ready(graph: &DynamicObject) -> bool {
    graph.data["status"]["conditions"][0]["status"] == "True"
}

/// User and system time so far, from `/proc/PID/stat`, in the kernel's ticks of 10 ms.
fn cpu_time(up: &Running) -> Outcome<Duration> {
    let id = up.id().ok_or("it has ended")?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, behind_name) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let ticks =
        behind_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
