//! `bench run` as a Job: it measures a deployment through its Service and leaves nothing behind except the results, or
//! says why it cannot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams};
use kube::runtime::wait::await_condition;
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::plugin::Plugin;
use kubectl_dynamo_tests::{Outcome, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Shared;
use crate::plugin::{up_args, with_pod_details};

const RUN_LABEL: &str = "kubectl-dynamo.dev/bench-run";

/// A namespace with a deployment, and a machine with an empty home folder.
struct Bench {
    namespace: CaseNamespace,
    plugin: Plugin,
    home: TempDir,
    /// The folder of the volume with the model.
    volume: PathBuf,
}

impl Bench {
    async fn new(shared: &Shared, name: &str) -> Outcome<Self> {
        let namespace = shared.namespace(name).await?;
        let volume = namespace.create_volume("model-cache", "manual").await?;
        let home = tempfile::tempdir()?;
        let plugin = shared.plugin(&namespace)?.with_home(home.path());
        with_pod_details(plugin.run(&up_args(shared, &[])).await?.expect(0), &namespace).await?;
        Ok(Self { namespace, plugin, home, volume })
    }

    /// The folder of a run on this machine.
    fn folder(&self, run: &str) -> PathBuf {
        self.home.path().join(".local/share/kubectl-dynamo/bench").join(run)
    }
}

/// Waits until the pods of all runs are deleted, and returns the names of the remaining ConfigMaps of runs.
async fn remaining(namespace: &CaseNamespace) -> Outcome<Vec<String>> {
    let runs = ListParams::default().labels(RUN_LABEL);
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let jobs = jobs.list(&runs).await?.items;
    ensure!(jobs.iter().all(|job| job.metadata.deletion_timestamp.is_some()), "{jobs:?}");
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    for pod in pods.list(&runs).await?.items {
        let name = pod.metadata.name.unwrap_or_default();
        await_condition(pods.clone(), &name, |pod: Option<&Pod>| pod.is_none()).await?;
    }
    let maps: Api<ConfigMap> = Api::namespaced(namespace.client(), namespace.name());
    let maps = maps.list(&runs).await?.items;
    Ok(maps.into_iter().filter_map(|map| map.metadata.name).collect())
}

/// The runtime image contains Python and no AIPerf.
pub(crate) async fn failed_bench_runs_name_the_cause_and_leave_nothing(shared: Arc<Shared>) -> Outcome {
    let bench = Bench::new(&shared, "bench-bad").await?;
    let Bench { namespace, plugin, volume, .. } = &bench;
    let runtime = format!("nvcr.io/nvidia/ai-dynamo/vllm-runtime:{}", shared.release());
    let with_runtime = ["bench", "run", "tiny", "--cpu=100m", "--image", &runtime];
    let output = with_pod_details(plugin.run(&with_runtime).await?.expect(1), namespace).await?;
    ensure!(output.err.contains("error [KD0934]") && output.err.contains("AIPerf"), "{}", output.err);
    ensure!(remaining(namespace).await?.is_empty(), "{:?}", remaining(namespace).await?);

    let unpullable = ["bench", "run", "tiny", "--cpu=100m", "--image", "registry.invalid/aiperf:1"];
    let output = plugin.run(&unpullable).await?.expect(1)?;
    ensure!(output.err.contains("error [KD0934]"), "{}", output.err);
    ensure!(output.err.contains("registry.invalid/aiperf:1"), "{}", output.err);
    ensure!(remaining(namespace).await?.is_empty(), "{:?}", remaining(namespace).await?);

    // The workers have read it, so they continue.
    let model = volume.join(crate::MODEL);
    std::fs::rename(model.join("tokenizer.json"), model.join("moved.json"))?;
    let output = plugin.run(&["bench", "run", "tiny", "--cpu=100m", "--image", &runtime]).await?;
    std::fs::rename(model.join("moved.json"), model.join("tokenizer.json"))?;
    let output = output.expect(2)?;
    ensure!(output.err.contains("error [KD0929]"), "{}", output.err);
    ensure!(output.err.contains(&format!("/opt/models/{}", crate::MODEL)), "{}", output.err);
    ensure!(remaining(namespace).await?.is_empty(), "{:?}", remaining(namespace).await?);

    let output = plugin.run(&["bench", "run", "absent"]).await?.expect(1)?;
    ensure!(output.err.contains("error [KD0106]"), "{}", output.err);
    ensure!(!bench.folder("tiny-check-1").exists(), "a folder remains");
    let output = plugin.run(&["bench", "list"]).await?.expect(0)?;
    ensure!(output.err.contains("no benchmark runs found"), "{output:?}");
    bench.namespace.delete().await
}

pub(crate) async fn job_measures_a_sweep_and_only_its_results_remain(shared: Arc<Shared>) -> Outcome {
    let bench = Bench::new(&shared, "bench").await?;
    let Bench { namespace, plugin, .. } = &bench;
    let results = namespace.create_pvc("results").await?;
    let run = ["bench", "run", "tiny", "--workload", "sweep", "--concurrency", "1,2", "--isl-osl", "64,16"];
    let flags = ["--name", "one", "--cpu=100m", "--results", "results", "--progress", "plain"];
    let output = plugin.run(&[&run[..], &flags].concat()).await?;
    // On a busy machine, AIPerf can be the bottleneck. The results are the same in form.
    ensure!([Some(0), Some(1)].contains(&output.code), "{output:?}\n{}", namespace.describe().await?);
    ensure!(output.code == Some(0) || output.err.contains("KD0927"), "{}", output.err);
    let map = remaining(namespace).await?;
    ensure!(map == ["bench-one"], "{map:?}\n{}", output.err);

    let record = show(plugin, "one").await?;
    ensure!(record["status"] == "completed", "{record:#}");
    let levels = record["levels"].as_array().ok_or("the levels")?;
    let requests: Vec<&Value> = levels.iter().map(|one| &one["runs"][0]["measurement"]["requests"]).collect();
    ensure!(requests == [&json!(20), &json!(20)], "{requests:?}");
    expect_numbers_of_aiperf(&record, &bench.folder("one"))?;
    let target = &record["target"];
    let url = format!("http://tiny-frontend.{}.svc:8000/v1", namespace.name());
    ensure!(target["url"] == url.as_str(), "{target}");
    ensure!(target["tokenizer"] == format!("/opt/models/{}", crate::MODEL).as_str(), "{target}");
    ensure!(target["deployment"]["revision"] == 1, "{target}");
    ensure!(target["deployment"]["images"].as_array().is_some_and(|images| images.len() == 1), "{target}");

    // Another machine finds the run without a pod, and the raw files are on the PVC.
    // The name of the folder is that of the run and its start.
    let folder = std::fs::read_dir(&results)?.next().ok_or("no folder on the PVC")??;
    ensure!(folder.file_name().to_string_lossy().starts_with("one-"), "{folder:?}");
    let requests = folder.path().join("concurrency-1/run-1/profile_export.jsonl");
    ensure!(requests.is_file(), "{} is not on the PVC", requests.display());
    let other_home = tempfile::tempdir()?;
    let other = shared.plugin(namespace)?.with_home(other_home.path());
    ensure!(show(&other, "one").await? == record, "the record of the ConfigMap differs");
    let listed = other.run(&["bench", "list"]).await?.expect(0)?;
    ensure!(listed.out.contains("one") && listed.out.contains("completed"), "{}", listed.out);
    let again = other.run(&["bench", "run", "tiny", "--name", "one"]).await?.expect(2)?;
    ensure!(again.err.contains("error [KD0920]"), "{}", again.err);
    other.run(&["bench", "rm", "one", "-y"]).await?.expect(0)?;
    ensure!(remaining(namespace).await?.is_empty(), "the record remains");
    bench.namespace.delete().await
}

pub(crate) async fn detached_run_is_followed_by_another_machine(shared: Arc<Shared>) -> Outcome {
    let bench = Bench::new(&shared, "bench-detach").await?;
    let Bench { namespace, plugin, .. } = &bench;
    let run = ["bench", "run", "tiny", "--cpu=100m", "--isl-osl", "64,16", "--name", "two"];
    let output = plugin.run(&[&run[..], &["--detach"]].concat()).await?.expect(0)?;
    ensure!(output.out.contains("benchmark run \"two\" started"), "{}", output.out);
    ensure!(output.err.contains("bench logs two"), "{}", output.err);

    // A follower that is killed, and one that is interrupted, lose nothing.
    let follow = ["bench", "logs", "-f", "two", "--progress", "plain"];
    for signal in [Signal::KILL, Signal::INT] {
        let (running, lines) = plugin.run_until(&follow, "benchmark").await?;
        let mut running = running.ok_or_else(|| format!("it ended: {lines:?}"))?;
        let id = running.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)).ok_or("it has exited")?;
        kill_process(id, signal)?;
        let status = running.wait().await?;
        ensure!(status.code() == (signal == Signal::INT).then_some(130), "{status:?}");
    }
    let other_home = tempfile::tempdir()?;
    let other = shared.plugin(namespace)?.with_home(other_home.path());
    let output = other.run(&follow).await?;
    let is_measured = output.code == Some(0) || output.err.contains("KD0927");
    ensure!(is_measured, "{}\n{}", output.err, namespace.describe().await?);
    ensure!(show(&other, "two").await?["status"] == "completed", "{}", output.err);
    ensure!(remaining(namespace).await? == ["bench-two"], "the record remains");
    let logs = other.run(&["bench", "logs", "two"]).await?.expect(0)?;
    ensure!(!logs.out.is_empty() && !logs.out.contains("@bench"), "{}", logs.out);
    bench.namespace.delete().await
}

async fn show(plugin: &Plugin, run: &str) -> Outcome<Value> {
    let output = plugin.run(&["bench", "show", run, "-o", "json"]).await?.expect(0)?;
    Ok(serde_json::from_str(&output.out)?)
}

/// Compares the headline numbers with AIPerf's own file.
fn expect_numbers_of_aiperf(record: &Value, folder: &Path) -> Outcome {
    for level in record["levels"].as_array().into_iter().flatten() {
        let run = &level["runs"][0];
        let path = folder.join(run["folder"].as_str().ok_or("a folder")?).join("profile_export_aiperf.json");
        let summary: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        for (name, metric, statistic) in [
            ("ttft_p95", "time_to_first_token", "p95"),
            ("itl_p50", "inter_token_latency", "p50"),
            ("requests_per_second", "request_throughput", "avg"),
            ("output_tokens_per_second", "output_token_throughput", "avg"),
        ] {
            let (shown, own) = (level["summary"][name]["mean"].as_f64(), summary[metric][statistic].as_f64());
            // A number can change in its last digit when it is read from JSON.
            let is_same = |(shown, own): (f64, f64)| (shown - own).abs() <= own.abs() * 1e-12;
            ensure!(shown.zip(own).is_some_and(is_same), "{name}: {shown:?}, AIPerf {own:?}");
        }
    }
    Ok(())
}
