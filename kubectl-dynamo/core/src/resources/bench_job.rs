//! Renders the Job and the ConfigMap of a benchmark. One pod measures all levels, because levels of separate Jobs would
//! overlap. The ConfigMap contains the record of the run, so that every terminal finds it without a pod.

use serde_json::{Value, json};

use super::container::{pod_security_context, pull_secrets, tolerations};
use super::{NAME_LABEL, Resource, managed_labels, object_at};
use crate::intent::Placement;
use crate::plan::model_cache::CACHE_MOUNT_PATH;
use crate::quantity::format_cpu;

/// Label of the Job, its pod, and the ConfigMap, with the name of the benchmark run.
pub const BENCH_RUN_LABEL: &str = "kubectl-dynamo.dev/bench-run";
/// The container that runs AIPerf.
pub const BENCH_CONTAINER: &str = "aiperf";
/// The key of the record in the ConfigMap: `run.json`, compressed with gzip.
pub const BENCH_RECORD_KEY: &str = "run.json.gz";
/// The key of the trace in the ConfigMap, compressed with gzip.
pub const BENCH_TRACE_KEY: &str = "trace.jsonl.gz";
/// The longest name of a run in a cluster: with the prefix, a pod has it as the value of a label.
pub const BENCH_NAME_LIMIT: usize = 63 - PREFIX.len();
/// The path of a trace in the pod.
pub const BENCH_TRACE_PATH: &str = "/tmp/trace.jsonl";

const PREFIX: &str = "bench-";
const DRIVER: &str = include_str!("bench_driver.py");
const RESULTS_PATH: &str = "/results";
const CONFIG_MAP_PATH: &str = "/run/bench";

/// The time after the deadline in which the pod stops AIPerf and sends what was measured. Then the Job deletes the pod.
const SECONDS_AFTER_DEADLINE: u64 = 300;

/// What one worker process of AIPerf and its other processes request, and each further worker: AIPerf's own estimate for
/// CPU, and ten times the memory that was measured.
const BASE_MILLICPU: u32 = 2000;
const WORKER_MILLICPU: u32 = 700;
const BASE_MEBIBYTES: u32 = 2048;
const WORKER_MEBIBYTES: u32 = 1024;
/// The number of concurrent requests for each worker process, and the most worker processes.
const CONCURRENCY_PER_WORKER: u32 = 32;
const MAX_WORKERS: u32 = 8;

/// The nodes on which the model cache can be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PvcNodes {
    Any,
    /// Only the node of the pods with this label, as with the access mode ReadWriteOnce.
    OfPods {
        label: &'static str,
    },
}

/// One start of AIPerf in the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchJobMeasurement {
    /// The folder for AIPerf's files.
    pub folder: String,
    pub arguments: Vec<String>,
}

/// A benchmark that runs as a Job.
#[derive(Debug, Clone)]
pub struct BenchJob<'a> {
    /// The name of the run.
    pub run: &'a str,
    pub namespace: &'a str,
    pub deployment: &'a str,
    pub image: String,
    /// The placement of the deployment, for pull secrets and tolerations.
    pub placement: &'a Placement,
    /// The PVC with the model, for the tokenizer.
    pub model_pvc: &'a str,
    pub model_pvc_nodes: PvcNodes,
    /// The folder with the tokenizer.
    pub tokenizer: &'a str,
    /// A PVC for all files of AIPerf.
    pub results_pvc: Option<&'a str>,
    pub has_trace: bool,
    /// Worker processes of AIPerf.
    pub workers: u32,
    /// The CPU request in thousandths of a core; `None` for the one that the workers need.
    pub millicpu: Option<u32>,
    pub deadline_seconds: u64,
    pub measurements: Vec<BenchJobMeasurement>,
}

/// Returns the number of AIPerf's worker processes for the highest concurrency of a run.
pub fn bench_workers(concurrency: u32) -> u32 {
    concurrency.div_ceil(CONCURRENCY_PER_WORKER).clamp(1, MAX_WORKERS)
}

/// Returns the name of the Job and of the ConfigMap of a run.
pub fn bench_object_name(run: &str) -> String {
    format!("{PREFIX}{run}")
}

/// Returns the folder for the files of a run in the pod. Without a PVC, it is lost with the pod. A PVC can contain an
/// earlier run with the same name, so the name of the folder ends with the start in seconds since 1970.
pub fn bench_results_folder(run: &str, started: i64, results_pvc: Option<&str>) -> String {
    let parent = if results_pvc.is_some() { RESULTS_PATH } else { "/tmp/bench" };
    format!("{parent}/{run}-{started}")
}

/// Renders the ConfigMap with the record of a run. `data` contains base64.
pub fn bench_config_map(run: &str, deployment: &str, namespace: &str, data: &Value) -> Resource {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(run, deployment, namespace),
        "binaryData": data,
    });
    Resource { object }
}

fn metadata(run: &str, deployment: &str, namespace: &str) -> Value {
    let mut labels = managed_labels(&[]);
    labels.insert(NAME_LABEL.into(), deployment.into());
    labels.insert(BENCH_RUN_LABEL.into(), run.into());
    json!({ "name": bench_object_name(run), "namespace": namespace, "labels": labels })
}

impl BenchJob<'_> {
    /// Renders the Job.
    pub fn render(&self) -> Resource {
        let metadata = metadata(self.run, self.deployment, self.namespace);
        let object = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": metadata,
            "spec": {
                // A repeated measurement would mix with the first one.
                "backoffLimit": 0,
                "activeDeadlineSeconds": self.deadline_seconds.saturating_add(SECONDS_AFTER_DEADLINE),
                "template": { "metadata": { "labels": metadata.get("labels") }, "spec": self.pod() },
            },
        });
        Resource { object }
    }

    fn pod(&self) -> Value {
        let mut volumes = vec![
            json!({ "name": "tmp", "emptyDir": {} }),
            json!({ "name": "model", "persistentVolumeClaim": { "claimName": self.model_pvc, "readOnly": true } }),
        ];
        if let Some(pvc) = self.results_pvc {
            volumes.push(json!({ "name": "results", "persistentVolumeClaim": { "claimName": pvc } }));
        }
        if self.has_trace {
            let name = bench_object_name(self.run);
            volumes.push(json!({ "name": "run", "configMap": { "name": name } }));
        }
        let mut pod = json!({
            "restartPolicy": "Never",
            "containers": [self.container()],
            "volumes": volumes,
            "securityContext": pod_security_context(),
            // The cluster may only have GPU nodes, and a volume may only be mounted on one of them.
            "tolerations": tolerations(self.placement, 1),
            "affinity": self.affinity(),
            // The plugin reads the log. A pod does not need the API.
            "automountServiceAccountToken": false,
        });
        if let Some(secrets) = pull_secrets(self.placement) {
            object_at(&mut pod, &[]).insert("imagePullSecrets".into(), secrets);
        }
        pod
    }

    fn container(&self) -> Value {
        let mut mounts = vec![
            json!({ "name": "tmp", "mountPath": "/tmp" }),
            json!({ "name": "model", "mountPath": CACHE_MOUNT_PATH, "readOnly": true }),
        ];
        if self.results_pvc.is_some() {
            mounts.push(json!({ "name": "results", "mountPath": RESULTS_PATH }));
        }
        if self.has_trace {
            mounts.push(json!({ "name": "run", "mountPath": CONFIG_MAP_PATH, "readOnly": true }));
        }
        let further_workers = self.workers.saturating_sub(1);
        let cpu = self.millicpu.unwrap_or(BASE_MILLICPU + WORKER_MILLICPU * further_workers);
        let memory = BASE_MEBIBYTES + WORKER_MEBIBYTES * further_workers;
        json!({
            "name": BENCH_CONTAINER,
            "image": self.image,
            // The entry point of the image is not AIPerf.
            "command": ["python3", "-c", DRIVER, self.plan().to_string()],
            // AIPerf writes caches into the home folder.
            "env": [{ "name": "HOME", "value": "/tmp" }, { "name": "PYTHONUNBUFFERED", "value": "1" }],
            "workingDir": "/tmp",
            "volumeMounts": mounts,
            "resources": { "requests": { "cpu": format_cpu(cpu), "memory": format!("{memory}Mi") } },
            "securityContext": {
                "runAsUser": 1000,
                "runAsGroup": 1000,
                "runAsNonRoot": true,
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
        })
    }

    /// The input of the driver.
    fn plan(&self) -> Value {
        let measurements = self.measurements.iter();
        let measurements: Vec<Value> =
            measurements.map(|one| json!({ "folder": one.folder, "arguments": one.arguments })).collect();
        let trace = self.has_trace.then(|| {
            json!({ "compressed": format!("{CONFIG_MAP_PATH}/{BENCH_TRACE_KEY}"), "path": BENCH_TRACE_PATH })
        });
        json!({
            "tokenizer": self.tokenizer,
            "trace": trace,
            "deadlineSeconds": self.deadline_seconds,
            "measurements": measurements,
        })
    }

    fn affinity(&self) -> Value {
        let prefers_no_gpu = json!({ "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "preference": { "matchExpressions": [{ "key": "nvidia.com/gpu.present", "operator": "DoesNotExist" }] },
        }] });
        match self.model_pvc_nodes {
            PvcNodes::Any => json!({ "nodeAffinity": prefers_no_gpu }),
            PvcNodes::OfPods { label } => json!({ "podAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{
                    "labelSelector": { "matchLabels": { label: self.deployment } },
                    "topologyKey": "kubernetes.io/hostname",
                }],
            } }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectView;

    fn job() -> BenchJob<'static> {
        static PLACEMENT: std::sync::LazyLock<Placement> = std::sync::LazyLock::new(Placement::default);
        BenchJob {
            run: "tiny-check-1",
            namespace: "serving",
            deployment: "tiny",
            image: "nvcr.io/nvidia/ai-dynamo/aiperf:0.13.0".into(),
            placement: &PLACEMENT,
            model_pvc: "model-cache",
            model_pvc_nodes: PvcNodes::Any,
            tokenizer: "/opt/models/acme/tiny",
            results_pvc: None,
            has_trace: false,
            workers: 1,
            millicpu: None,
            deadline_seconds: 7200,
            measurements: vec![BenchJobMeasurement {
                folder: "/tmp/bench/tiny-check-1/concurrency-4/run-1".into(),
                arguments: vec!["profile".into()],
            }],
        }
    }

    fn text<'a>(object: &'a Value, path: &str) -> &'a str {
        ObjectView::new(object).text(path).unwrap_or_default()
    }

    #[test]
    fn one_worker_serves_32_concurrent_requests() {
        for (concurrency, workers) in [(0, 1), (1, 1), (32, 1), (33, 2), (256, 8), (4096, 8)] {
            assert_eq!(bench_workers(concurrency), workers, "{concurrency}");
        }
    }

    #[test]
    fn model_cache_is_read_only_and_results_are_optional() {
        let rendered = job().render().object;
        let pod = rendered.pointer("/spec/template/spec").expect("a pod");
        assert_eq!(pod.pointer("/volumes/1/persistentVolumeClaim/readOnly"), Some(&json!(true)));
        assert_eq!(pod.pointer("/containers/0/volumeMounts/1/readOnly"), Some(&json!(true)));
        assert_eq!(pod.pointer("/volumes/2"), None);
        let with_results =
            BenchJob { results_pvc: Some("results"), has_trace: true, ..job() }.render().object;
        let volumes = with_results.pointer("/spec/template/spec/volumes").expect("volumes");
        assert_eq!(text(volumes, "/2/persistentVolumeClaim/claimName"), "results");
        assert_eq!(text(volumes, "/3/configMap/name"), "bench-tiny-check-1");
    }

    #[test]
    fn volume_of_one_node_needs_the_node_of_the_workers() {
        let nodes = PvcNodes::OfPods { label: "nvidia.com/dynamo-graph-deployment-name" };
        let rendered = BenchJob { model_pvc_nodes: nodes, ..job() }.render().object;
        let affinity = rendered.pointer("/spec/template/spec/affinity/podAffinity").expect("an affinity");
        let selector = "/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector/matchLabels";
        let expected = json!({ "nvidia.com/dynamo-graph-deployment-name": "tiny" });
        assert_eq!(affinity.pointer(selector), Some(&expected));
    }

    #[test]
    fn requests_grow_with_the_workers() {
        let rendered = BenchJob { workers: 3, ..job() }.render().object;
        let requests = rendered.pointer("/spec/template/spec/containers/0/resources/requests");
        assert_eq!(requests, Some(&json!({ "cpu": "3400m", "memory": "4096Mi" })));
        let rendered = BenchJob { millicpu: Some(500), ..job() }.render().object;
        let requests = rendered.pointer("/spec/template/spec/containers/0/resources/requests");
        assert_eq!(requests, Some(&json!({ "cpu": "500m", "memory": "2048Mi" })));
    }

    #[test]
    fn longest_name_is_a_label_value() {
        let run = "a".repeat(BENCH_NAME_LIMIT);
        assert_eq!(bench_object_name(&run).len(), 63);
    }
}
