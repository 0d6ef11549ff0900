//! Diagnosis rules for log lines of engines and the Dynamo runtime.
//!
//! Rules for causes precede rules for their consequences: a memory error must match before the general engine
//! failure that follows it in every log.

use super::{DiagnosisRule, MessageSource};
use crate::code::MessageCode;
use crate::diagnosis::fix_template::FixPart::*;

pub(super) const RULES: &[DiagnosisRule] = &[
    DiagnosisRule {
        code: MessageCode::KvCacheTooSmall,
        source: MessageSource::Log,
        pattern: r"max seq len \((\d+)\),? \(?([\d.]+) GiB KV cache is needed, which is larger than the available KV cache memory \(([\d.]+) GiB\)\.?.*estimated maximum model length is (\d+)",
        message: "KV cache too small: one $1-token request needs $2 GiB per GPU, $3 GiB available",
        fix: &[UpEngine("--max-model-len=$4")],
    },
    DiagnosisRule {
        code: MessageCode::KvCacheTooSmall,
        source: MessageSource::Log,
        pattern: r"max seq len \((\d+)\),? \(?([\d.]+) GiB KV cache is needed, which is larger than the available KV cache memory \(([\d.]+) GiB\)",
        message: "KV cache too small: one $1-token request needs $2 GiB per GPU, $3 GiB available",
        fix: &[Text("use more GPUs per worker with "), UpMoreGpus],
    },
    DiagnosisRule {
        code: MessageCode::NoMemoryForKvCache,
        source: MessageSource::Log,
        pattern: r"No available memory for the cache blocks",
        message: "no GPU memory left for KV cache beside the weights",
        fix: &[Text("use more GPUs per worker with "), UpMoreGpus],
    },
    DiagnosisRule {
        code: MessageCode::GpuMemoryInUse,
        source: MessageSource::Log,
        pattern: r"Free memory on device (\S+) \(([\d.]+)/([\d.]+) GiB\) on startup is less than desired GPU memory utilization",
        message: "GPU \"$1\" has only $2 of $3 GiB free: another process uses it",
        fix: &[
            Text("stop the other process, or use less memory with "),
            UpFreeMemory { free: "$2", total: "$3" },
        ],
    },
    DiagnosisRule {
        code: MessageCode::GpuOutOfMemory,
        source: MessageSource::Log,
        pattern: r"(?:OutOfMemoryError: )?CUDA out of memory\. Tried to allocate ([\d.]+ [KMGT]iB)",
        message: "out of GPU memory: cannot allocate $1",
        fix: &[
            Text("use more GPUs per worker with "),
            UpMoreGpus,
            Text(", or less memory with "),
            UpEngine("--gpu-memory-utilization=0.85"),
        ],
    },
    DiagnosisRule {
        code: MessageCode::AttentionHeadsNotDivisible,
        source: MessageSource::Log,
        pattern: r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
        message: "$1 attention heads cannot be split over $2 GPUs",
        fix: &[
            Text("use a tensor parallel size that divides $1 with "),
            UpDivisor { heads: "$1", size: "$2" },
        ],
    },
    DiagnosisRule {
        code: MessageCode::EngineArgumentRejected,
        source: MessageSource::Log,
        pattern: r"error: (?:unrecognized arguments: (.+)|argument (.+))",
        message: "the engine does not support these arguments: $1$2",
        fix: &[Text("correct or omit them with "), UpEngine("FLAGS")],
    },
    DiagnosisRule {
        code: MessageCode::ContextTooLong,
        source: MessageSource::Log,
        pattern: r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \([a-z_]+=(\d+)",
        message: "the model supports $2 tokens, but $1 were requested",
        fix: &[UpEngine("--max-model-len=$2")],
    },
    DiagnosisRule {
        code: MessageCode::UnsupportedModelArchitecture,
        source: MessageSource::Log,
        pattern: r"Model architectures (\[.+?\]) are not supported for now",
        message: "the engine does not support the architecture $1",
        fix: &[Text("use another model, or a newer release with "), Up(&["--release", "RELEASE"])],
    },
    DiagnosisRule {
        code: MessageCode::RemoteCodeNotTrusted,
        source: MessageSource::Log,
        pattern: r"consider setting `trust_remote_code=True`|requires you to execute the configuration file in that repo",
        message: "the model requires --trust-remote-code",
        fix: &[Text("review the model's code, then allow it with "), Up(&["--trust-remote-code"])],
    },
    DiagnosisRule {
        code: MessageCode::UnsupportedQuantization,
        source: MessageSource::Log,
        pattern: r"The quantization method (\S+) is not supported for the current GPU\. Minimum capability: (\d+)\. Current capability: (\d+)",
        message: "$1 weights require compute capability $2, but the GPU has $3",
        fix: &[
            Text("use weights with another quantization, or select newer GPUs with "),
            Up(&["--node-selector", "KEY=VALUE"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::GpuCommunicationFailure,
        source: MessageSource::Log,
        pattern: r"(?:NCCL error|ncclSystemError|ncclInternalError|ncclUnhandledCudaError)[^:]*:? ?(.*)",
        message: "communication between GPUs failed (NCCL): $1",
        fix: &[
            Text("log more details with "),
            Up(&["--env", "NCCL_DEBUG=INFO"]),
            Text(", or increase the shared memory with "),
            Up(&["--shared-memory", "16Gi"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::NoUsableGpu,
        source: MessageSource::Log,
        pattern: r"(Failed to infer device type|No CUDA GPUs are available|CUDA driver version is insufficient for CUDA runtime version|libcuda\.so\.1: cannot open shared object file)",
        message: "the engine cannot find a usable GPU: $1",
        fix: &[
            Text("check the GPU driver of the node, and the GPU limits of the pod with "),
            Kubectl(&["describe", "pod", "{pod}"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::HubAccessDeniedToEngine,
        source: MessageSource::Log,
        pattern: r"(?:GatedRepoError|Access to model (\S+) is restricted|401 Client Error)",
        message: "the hub denies the engine access to the model $1",
        fix: &[Text("provide a token of an account with access with "), Up(&["--hf-token-stdin"])],
    },
    DiagnosisRule {
        code: MessageCode::UnreadableWeights,
        source: MessageSource::Log,
        pattern: r"(?:SafetensorError: (.+)|Error while deserializing header: (.+))",
        message: "the weights cannot be read: $1$2",
        fix: &[
            Text("check the fetch with "),
            Verb("logs", &["-c", "fetch"]),
            Text(", then fetch the model again"),
        ],
    },
    DiagnosisRule {
        code: MessageCode::VolumeFull,
        source: MessageSource::Log,
        pattern: r"No space left on device",
        message: "a volume is full",
        fix: &[
            Text("find the volume with "),
            Kubectl(&["describe", "pod", "{pod}"]),
            Text(", or use a larger PVC with "),
            Up(&["--cache-size", "SIZE"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::KvTransferFailed,
        source: MessageSource::Log,
        pattern: r"(?:RuntimeError: NIXL is not available|NIXL_ERR_[A-Z_]+|nixlBackendError.*)",
        message: "KV cache transfer between prefill and decode failed (NIXL)",
        fix: &[
            Text("check the network between the nodes, and the connector log with "),
            Verb("logs", &["--include", "NIXL"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::DiscoveryUnavailable,
        source: MessageSource::Log,
        pattern: r"(?:(?:etcd not reachable yet|Unable to create lease).*Check etcd server status at (\S+)|JetStream not available|NATS[^:]*: (?:failed to connect|connection refused).*)",
        message: "the worker cannot register: the discovery service is not responding $1",
        fix: &[
            Text("check that etcd and NATS run with "),
            KubectlCluster(&["get", "pods", "-A", "-l", "app.kubernetes.io/part-of=dynamo-platform"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::PodPortInUse,
        source: MessageSource::Log,
        pattern: r"(?:Failed to start HTTP server: port (\d+) already in use|Address already in use)",
        message: "a port in the pod is already in use: $1",
        fix: &[
            Text("remove --http-port and DYN_SYSTEM_PORT, which the operator sets, with "),
            Kubectl(&["edit", "dynamographdeployment", "{name}"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::ModelRequestedFromHub,
        source: MessageSource::Log,
        pattern: r"Failed to fetch model '([^']+)'(?: at revision '[^']+')? from HuggingFace",
        message: "model \"$1\" not found at the configured path, so Dynamo requests it from the hub",
        fix: &[Text("check the folder and name of the model with "), Verb("status", &["--details"])],
    },
    DiagnosisRule {
        code: MessageCode::ModelFilesNotFound,
        source: MessageSource::Log,
        pattern: r"(?:OSError|HFValidationError|ValueError|FileNotFoundError): .*?(/opt/models/\S+|'[^']+' is not a local folder).*",
        message: "the engine cannot find the model: $1",
        fix: &[Text("check that the fetch is complete with "), Verb("logs", &["-c", "fetch"])],
    },
    DiagnosisRule {
        code: MessageCode::PythonModuleNotInImage,
        source: MessageSource::Log,
        pattern: r"(?:ModuleNotFoundError: No module named|No module named) '?([A-Za-z0-9_.]+)'?",
        message: "Python module \"$1\" not found in the image",
        fix: &[Text("use the runtime image with "), UpImage("REGISTRY/NAME:TAG")],
    },
    DiagnosisRule {
        code: MessageCode::EngineStartFailed,
        source: MessageSource::Log,
        pattern: r"(?:Engine core initialization failed|EngineCore failed to start)",
        message: "the engine failed to start for an unknown reason",
        fix: &[Text("show its log with "), PodLog],
    },
];
