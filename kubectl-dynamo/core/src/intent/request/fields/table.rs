//! The table of request fields: path, flag, type, and help text, grouped by heading in the order of the help
//! text. The texts are also the descriptions in the JSON schema. A text has at most 100 characters.

use super::{Field, FieldType, Heading, TopologyMode, enum_values, field};
use crate::intent::{AccessMode, Backend, PodSecurity, RouterMode};

/// Topology fields of a worker group, with the same names for all, prefill, and decode workers. The replicas of
/// prefill and decode do not have a common value.
macro_rules! group {
    ($path:literal, $flag:literal, $long:literal, $of:literal, $replicas_of:literal) => {
        &[
            field(
                concat!($path, "replicas"),
                concat!($flag, "replicas"),
                FieldType::Integer,
                concat!("Number of worker replicas [default: 1]", $replicas_of),
            )
            .with_value("N", "2")
            .with_heading(Heading::Topology),
            field(
                concat!($path, "tensorParallelSize"),
                concat!($flag, "tp"),
                FieldType::Integer,
                concat!("Tensor parallel size: GPUs per layer [default: 1]", $of),
            )
            .with_value("N", "4")
            .with_long_flag(concat!($long, "tensor-parallel-size"))
            .with_heading(Heading::Topology),
            field(
                concat!($path, "pipelineParallelSize"),
                concat!($flag, "pp"),
                FieldType::Integer,
                concat!("Pipeline parallel size: stages per worker [default: 1]", $of),
            )
            .with_value("N", "2")
            .with_long_flag(concat!($long, "pipeline-parallel-size"))
            .with_heading(Heading::Topology),
            field(
                concat!($path, "dataParallelSize"),
                concat!($flag, "dp"),
                FieldType::Integer,
                concat!("Data parallel size: model copies per worker [default: 1]", $of),
            )
            .with_value("N", "2")
            .with_long_flag(concat!($long, "data-parallel-size"))
            .with_heading(Heading::Topology),
            field(
                concat!($path, "enableExpertParallel"),
                concat!($flag, "enable-expert-parallel"),
                FieldType::Bool,
                concat!("Distribute experts across GPUs [default: false]", $of),
            )
            .with_heading(Heading::Topology),
            field(
                concat!($path, "nodes"),
                concat!($flag, "nodes"),
                FieldType::Integer,
                concat!("Number of nodes per worker [default: 1]", $of),
            )
            .with_value("N", "2")
            .with_heading(Heading::Topology),
        ]
    };
}

const MODEL: &[Field] = &[
    field(
        "name",
        "--name",
        FieldType::String,
        "Name of the deployment [default: derived from the model name]",
    )
    .with_value("NAME", "qwen32"),
    field(
        "model",
        "--model",
        FieldType::String,
        "Model ID, instead of MODEL; also accepts IDs without an organization, such as gpt2",
    )
    .with_value("ID", "Qwen/Qwen3-0.6B"),
    field(
        "servedModelName",
        "--served-model-name",
        FieldType::String,
        "Model name that clients use in requests [default: the hub ID]",
    )
    .with_value("NAME", "Qwen/Qwen3-0.6B"),
    field("revision", "--revision", FieldType::String, "Branch, tag, or commit of the model [default: main]")
        .with_value("REVISION", "main"),
    field(
        "trustRemoteCode",
        "--trust-remote-code",
        FieldType::Bool,
        "Run code from the model's repository [default: false]",
    ),
    field(
        "hfTokenSecret",
        "--hf-token-secret",
        FieldType::String,
        "Secret with the hub token (key HF_TOKEN) [default: none; hf-token-secret with --hf-token-stdin]",
    )
    .with_value("NAME[/KEY]", "hf-token-secret"),
    field(
        "release",
        "--release",
        FieldType::String,
        "Dynamo release [default: the newest for the cluster's operator]",
    )
    .with_value("VERSION", ""),
    field(
        "forceRelease",
        "--force-release",
        FieldType::Bool,
        "Allow an unknown release and treat it like the nearest known one",
    ),
    field(
        "backend",
        "--backend",
        FieldType::Enum(enum_values::<Backend>),
        "Engine [default: vllm; mocker for --local without a GPU]",
    )
    .with_value("BACKEND", ""),
    field(
        "toolCallParser",
        "--tool-call-parser",
        FieldType::String,
        "Parser of tool calls: a name, \"auto\", or \"none\" [default: auto for a new deployment]",
    )
    .with_value("auto|none|NAME", "hermes"),
    field(
        "reasoningParser",
        "--reasoning-parser",
        FieldType::String,
        "Parser of reasoning: a name, \"auto\", or \"none\" [default: auto for a new deployment]",
    )
    .with_value("auto|none|NAME", "qwen3"),
];

const TOPOLOGY: &[Field] = &[field(
    "mode",
    "--mode",
    FieldType::Enum(enum_values::<TopologyMode>),
    "Aggregated workers, or separate prefill and decode workers [default: agg]",
)
.with_value("MODE", "")
.with_heading(Heading::Topology)];

const ENGINE_ARGS: &[Field] = &[
    field(
        "prefill.args",
        "--prefill-arg",
        FieldType::Args,
        "Engine flag for prefill workers, as --prefill-arg=--flag=value (repeatable)",
    )
    .with_value("ARG", "--max-num-seqs=64")
    .with_heading(Heading::Topology),
    field(
        "decode.args",
        "--decode-arg",
        FieldType::Args,
        "Engine flag for decode workers, as --decode-arg=--flag=value (repeatable)",
    )
    .with_value("ARG", "--max-num-seqs=64")
    .with_heading(Heading::Topology),
    field("engineArgs", "--", FieldType::Args, "Engine flags for all workers")
        .with_value("ENGINE FLAGS", "--max-model-len=8192")
        .with_heading(Heading::Topology),
];

const ROUTING: &[Field] = &[
    field(
        "router.mode",
        "--router-mode",
        FieldType::Enum(enum_values::<RouterMode>),
        "How the frontend selects a worker [default: round-robin]",
    )
    .with_value("MODE", "")
    .with_heading(Heading::Routing),
    field(
        "router.temperature",
        "--router-temperature",
        FieldType::Number,
        "Randomness among workers of similar cost; 0 selects the best one [Dynamo's default: 0]",
    )
    .with_value("NUMBER", "0.5")
    .with_heading(Heading::Routing),
    field(
        "router.overlapWeight",
        "--router-overlap-weight",
        FieldType::Number,
        "Weight of cached blocks relative to load [Dynamo's default: 1]",
    )
    .with_value("NUMBER", "2")
    .with_heading(Heading::Routing),
    field(
        "router.kvEvents",
        "--router-kv-events",
        FieldType::Bool,
        "Publish KV block events to the KV router; without them, it predicts the blocks [default: true]",
    )
    .with_heading(Heading::Routing),
    field(
        "frontend.replicas",
        "--frontend-replicas",
        FieldType::Integer,
        "Number of frontend replicas [default: 1]",
    )
    .with_value("N", "2")
    .with_heading(Heading::Routing),
];

const OFFLOAD: &[Field] = &[
    field(
        "kvOffload.cpu",
        "--kv-offload",
        FieldType::String,
        "Offload KV cache from the GPU to CPU memory and disk; \"none\" disables it [default: none]",
    )
    .with_value("cpu=QUANTITY[,disk=QUANTITY]", "20Gi")
    .with_heading(Heading::KvOffload),
    field("kvOffload.disk", "--kv-offload", FieldType::Quantity, "Size of the disk tier of KV offload")
        .with_value("QUANTITY", "200Gi")
        .with_heading(Heading::KvOffload),
    field(
        "kvOffload.diskVolume",
        "--kv-offload-disk-volume",
        FieldType::String,
        "Volume of the disk tier: ephemeral[=CLASS], hostPath=PATH, or pvc=NAME [default: ephemeral]",
    )
    .with_value("VOLUME", "hostPath=/mnt/nvme")
    .with_heading(Heading::KvOffload),
];

const CACHE: &[Field] = &[
    field(
        "cache.claim",
        "--cache",
        FieldType::String,
        "Existing PVC for the model [default: a new PVC \"model-cache\"]",
    )
    .with_value("PVC", "models")
    .with_heading(Heading::Cache),
    field("cache.size", "--cache-size", FieldType::Quantity, "Size of the new PVC [default: 500Gi]")
        .with_value("QUANTITY", "200Gi")
        .with_heading(Heading::Cache),
    field(
        "cache.storageClass",
        "--storage-class",
        FieldType::String,
        "StorageClass of the new PVC [default: the cluster's default class]",
    )
    .with_value("NAME", "fast")
    .with_heading(Heading::Cache),
    field(
        "cache.accessMode",
        "--access-mode",
        FieldType::Enum(enum_values::<AccessMode>),
        "Access mode of the new PVC [default: ReadWriteMany]",
    )
    .with_value("MODE", "")
    .with_heading(Heading::Cache),
];

const PLACEMENT: &[Field] = &[
    field(
        "image",
        "--image",
        FieldType::String,
        "Image for all Dynamo containers [default: vllm-runtime of the release]",
    )
    .with_value("IMAGE", "registry.example/vllm-runtime:1")
    .with_heading(Heading::Placement),
    field(
        "fetcherImage",
        "--fetcher-image",
        FieldType::String,
        "Image for the fetch containers [default: model-fetcher of this version]",
    )
    .with_value("IMAGE", "registry.example/model-fetcher:1")
    .with_heading(Heading::Placement),
    field(
        "registryMirror",
        "--registry-mirror",
        FieldType::String,
        "Registry mirror for images that are not set explicitly",
    )
    .with_value("REGISTRY", "registry.example/mirror")
    .with_heading(Heading::Placement),
    field(
        "imagePullSecrets",
        "--image-pull-secret",
        FieldType::List,
        "Secret for pulling images (repeatable)",
    )
    .with_value("SECRET", "ngc")
    .with_heading(Heading::Placement),
    field(
        "nodeSelector",
        "--node-selector",
        FieldType::Map,
        "Label that the nodes of workers must have (repeatable)",
    )
    .with_value("KEY=VALUE", "pool=gpu")
    .with_heading(Heading::Placement),
    field(
        "tolerations",
        "--toleration",
        FieldType::List,
        "Additional toleration for workers, in the notation of kubectl taint (repeatable)",
    )
    .with_value("KEY[=VALUE][:EFFECT]", "team=search:NoSchedule")
    .with_heading(Heading::Placement),
    field(
        "priorityClass",
        "--priority-class",
        FieldType::String,
        "PriorityClass of the Dynamo pods [default: none]",
    )
    .with_value("NAME", "serving")
    .with_heading(Heading::Placement),
    field("serviceAccount", "--service-account", FieldType::String, "ServiceAccount of the Dynamo pods")
        .with_value("NAME", "serving")
        .with_heading(Heading::Placement),
    field(
        "podSecurity",
        "--pod-security",
        FieldType::Enum(enum_values::<PodSecurity>),
        "Pod Security Standard of all rendered containers [default: baseline]",
    )
    .with_value("LEVEL", "")
    .with_heading(Heading::Placement),
    field("labels", "--label", FieldType::Map, "Additional label for all objects (repeatable)")
        .with_value("KEY=VALUE", "team=search")
        .with_heading(Heading::Placement),
    field(
        "annotations",
        "--annotation",
        FieldType::Map,
        "Additional annotation for all objects (repeatable)",
    )
    .with_value("KEY=VALUE", "example.com/owner=search")
    .with_heading(Heading::Placement),
    field("env", "--env", FieldType::Map, "Additional environment variable for all containers (repeatable)")
        .with_value("NAME=VALUE", "DYN_LOG=debug")
        .with_heading(Heading::Placement),
    field(
        "fetcherEnv",
        "--fetcher-env",
        FieldType::Map,
        "Additional environment variable for the fetch containers only (repeatable)",
    )
    .with_value("NAME=VALUE", "HTTPS_PROXY=http://proxy.example:3128")
    .with_heading(Heading::Placement),
    field(
        "caBundle",
        "--ca-bundle",
        FieldType::String,
        "ConfigMap with the CA certificates that all containers trust (key ca.crt) [default: none]",
    )
    .with_value("CONFIGMAP[/KEY]", "corporate-ca")
    .with_heading(Heading::Placement),
    field(
        "sharedMemory",
        "--shared-memory",
        FieldType::Quantity,
        "Size of /dev/shm in workers [default: 8Gi]",
    )
    .with_value("QUANTITY", "20Gi")
    .with_heading(Heading::Placement),
];

/// All fields by heading, in the order of the help text.
pub static GROUPS: &[&[Field]] = &[
    MODEL,
    TOPOLOGY,
    group!("worker.", "--", "--", "", " (aggregated only)"),
    group!(
        "prefill.",
        "--prefill-",
        "--prefill-",
        " (prefill only, overrides the common value)",
        " (prefill only)"
    ),
    group!(
        "decode.",
        "--decode-",
        "--decode-",
        " (decode only, overrides the common value)",
        " (decode only)"
    ),
    ENGINE_ARGS,
    ROUTING,
    OFFLOAD,
    CACHE,
    PLACEMENT,
];
