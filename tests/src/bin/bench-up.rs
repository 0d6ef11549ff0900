//! Benchmarks the waiting of `up`: how soon it notices readiness, its requests and CPU time while waiting,
//! and the requests of an unchanged `up`. It uses the test control plane with a simulated operator and
//! kubelet.

use std::error::Error;
use std::io::Write;
use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::control_plane::ControlPlane;
use kubectl_dynamo_tests::kubernetes::definitions::GraphGeneration;
use kubectl_dynamo_tests::kubernetes::fake_kubelet::FakeKubelet;
use kubectl_dynamo_tests::kubernetes::{self, ClusterLayout, TestCluster, node};
use kubectl_dynamo_tests::operator::TestOperator;
use kubectl_dynamo_tests::plugin::{Plugin, RunningPlugin};
use kubectl_dynamo_tests::{Outcome, dynamo};

const USAGE: &str = "bench-up RUNS SECONDS
Prints a table for RUNS deployments of each API version. Each one waits SECONDS before its pods are ready.
";
/// Only requests of this user are counted.
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
    let prepared = kubernetes::prepare(ClusterLayout::ControlPlanes)?;
    let runtime = tokio::runtime::Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    runtime.block_on(measure(&cluster, runs, Duration::from_secs(seconds)))
}

async fn measure(cluster: &TestCluster, runs: usize, wait: Duration) -> Outcome {
    let mut out = std::io::stdout();
    writeln!(
        out,
        "| | ready noticed after | CPU while it waits | requests while it waits | of an unchanged `up` |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    for generation in [GraphGeneration::V1Beta1, GraphGeneration::V1Alpha1] {
        let plane = cluster.control_plane(generation)?;
        node::create_storage_classes(plane).await?;
        let log = cluster.folder().join(format!("log/operator-{}.log", generation.version()));
        let operator = TestOperator::start(plane, cluster.authority(), &log).await?;
        let mut rows = Vec::new();
        for run in 0..runs {
            let namespace = CaseNamespace::create(cluster, plane, &format!("bench-{run}")).await?;
            rows.push(measure_one(&namespace, plane, generation, wait).await?);
            namespace.delete().await?;
        }
        drop(operator);
        let median = |value_of: &dyn Fn(&Measurement) -> f64| {
            let mut values: Vec<f64> = rows.iter().map(value_of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        writeln!(
            out,
            "| {} | {:.0} ms | {:.2} % of a core | {:.0} in {} s | {:.0} |",
            generation.version(),
            median(&|row| row.notice_delay.as_secs_f64() * 1000.0),
            median(&|row| row.cpu.as_secs_f64() / wait.as_secs_f64() * 100.0),
            median(&|row| row.requests as f64),
            wait.as_secs(),
            median(&|row| row.unchanged as f64),
        )?;
    }
    Ok(())
}

struct Measurement {
    notice_delay: Duration,
    cpu: Duration,
    requests: usize,
    unchanged: usize,
}

async fn measure_one(
    namespace: &CaseNamespace,
    plane: &ControlPlane,
    generation: GraphGeneration,
    wait: Duration,
) -> Outcome<Measurement> {
    let (plugin, kubelet) =
        (Plugin::new(plane.audited_kubeconfig(), namespace.name()), FakeKubelet::new(namespace));
    let args = [&UP[..], &USER].concat();
    let mut up = plugin.start(&args)?;
    up.wait_for_line("model fetch: waiting").await?;
    kubelet.finish_fetch().await?;
    up.wait_for_line("ready: waiting for frontend").await?;
    // The pods exist by then, so nothing changes after this point.
    kubelet.pod_of_component("frontend").await?;
    kubelet.pod_of_component("worker").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (position, before) = (plane.audit_log().position()?, cpu_time(&up)?);
    tokio::time::sleep(wait).await;
    let cpu = cpu_time(&up)?.saturating_sub(before);
    let requests = plane.audit_log().requests_for(position, "counted")?.len();

    kubelet.set_ready("frontend").await?;
    kubelet.set_ready("worker").await?;
    let graphs = dynamo::graphs(namespace.client(), generation, namespace.name());
    let cluster = async {
        await_condition(graphs, "tiny", |graph: Option<&DynamicObject>| graph.is_some_and(is_ready)).await?;
        Outcome::Ok(Instant::now())
    };
    let command_ready = async {
        up.wait_for_line("ready: done").await?;
        Outcome::Ok(Instant::now())
    };
    let (cluster, command_ready) = tokio::try_join!(cluster, command_ready)?;
    up.finish().await?.expect(0)?;

    let position = plane.audit_log().position()?;
    plugin.run(&args).await?.expect(0)?;
    let unchanged = plane.audit_log().requests_for(position, "counted")?.len();
    Ok(Measurement {
        notice_delay: command_ready.saturating_duration_since(cluster),
        cpu,
        requests,
        unchanged,
    })
}

/// No earlier spec was ready, so readiness belongs to this one.
fn is_ready(graph: &DynamicObject) -> bool {
    graph.data["status"]["conditions"][0]["status"] == "True"
}

/// Returns user and system time so far from `/proc/PID/stat`, in kernel ticks of 10 ms.
fn cpu_time(up: &RunningPlugin) -> Outcome<Duration> {
    let id = up.id().ok_or("the process has exited")?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, behind_name) = stat.rsplit_once(')').ok_or("no name in stat")?;
    let ticks =
        behind_name.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}
