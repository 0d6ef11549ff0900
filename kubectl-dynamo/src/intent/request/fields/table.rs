//! Every field of a request: its path, flag, kind and words, by subject in the order help shows them.

use super::{Field, Heading, Kind, Shape, field, words};
use crate::intent::{AccessMode, Backend, RouterMode};

/// The shape of one kind of worker: spelled alike for all workers, prefill workers and decode workers.
macro_rules! group {
    ($path:literal, $flag:literal, $long:literal, $of:literal) => {
        &[
            field(
                concat!($path, "replicas"),
                concat!($flag, "replicas"),
                Kind::Count,
                concat!("Workers", $of),
            )
            .takes("N", "2")
            .under(Heading::Shape),
            field(
                concat!($path, "tensorParallelSize"),
                concat!($flag, "tp"),
                Kind::Count,
                concat!("GPUs that share each layer of a worker", $of),
            )
            .takes("N", "4")
            .long(concat!($long, "tensor-parallel-size"))
            .under(Heading::Shape),
            field(
                concat!($path, "pipelineParallelSize"),
                concat!($flag, "pp"),
                Kind::Count,
                concat!("Stages that share the layers of a worker", $of),
            )
            .takes("N", "2")
            .long(concat!($long, "pipeline-parallel-size"))
            .under(Heading::Shape),
            field(
                concat!($path, "dataParallelSize"),
                concat!($flag, "dp"),
                Kind::Count,
                concat!("Copies of the model inside a worker", $of),
            )
            .takes("N", "2")
            .long(concat!($long, "data-parallel-size"))
            .under(Heading::Shape),
            field(
                concat!($path, "enableExpertParallel"),
                concat!($flag, "enable-expert-parallel"),
                Kind::Switch,
                concat!("Spread the experts of a mixture-of-experts model", $of),
            )
            .under(Heading::Shape),
            field(
                concat!($path, "nodes"),
                concat!($flag, "nodes"),
                Kind::Count,
                concat!("Nodes that a worker spans", $of),
            )
            .takes("N", "2")
            .under(Heading::Shape),
        ]
    };
}

const MODEL: &[Field] = &[
    field("name", "--name", Kind::Text, "Name of the deployment; made from the model's when absent")
        .takes("NAME", "qwen32"),
    field(
        "model",
        "--model",
        Kind::Text,
        "The same as MODEL, for hub ids without an organisation, such as gpt2",
    )
    .takes("ID", "Qwen/Qwen3-0.6B"),
    field(
        "servedModelName",
        "--served-model-name",
        Kind::Text,
        "Name that clients ask for; the hub id when absent",
    )
    .takes("NAME", "Qwen/Qwen3-0.6B"),
    field("revision", "--revision", Kind::Text, "Branch, tag or commit of the model")
        .takes("REVISION", "main"),
    field(
        "trustRemoteCode",
        "--trust-remote-code",
        Kind::Switch,
        "Run code that the model's repository brings",
    ),
    field(
        "hfTokenSecret",
        "--hf-token-secret",
        Kind::Text,
        "Secret that holds the hub token; public models need none",
    )
    .takes("NAME[/KEY]", "hf-token-secret"),
    field("release", "--release", Kind::Text, "Dynamo release").takes("VERSION", ""),
    field(
        "forceRelease",
        "--force-release",
        Kind::Switch,
        "Take a release that is not known, in the words of the nearest that is",
    ),
    field("backend", "--backend", Kind::Words(words::<Backend>), "Engine; vllm unless --local finds no GPU"),
];

const SHAPE: &[Field] = &[field(
    "mode",
    "--mode",
    Kind::Words(words::<Shape>),
    "One kind of worker, or prefill and decode apart [default: agg]",
)
.under(Heading::Shape)];

const ARGUMENTS: &[Field] = &[
    field(
        "prefill.args",
        "--prefill-arg",
        Kind::Arguments,
        "Engine flag for prefill workers only, as --prefill-arg=--flag=value; may be given again",
    )
    .takes("ARG", "--max-num-seqs=64")
    .under(Heading::Shape),
    field(
        "decode.args",
        "--decode-arg",
        Kind::Arguments,
        "Engine flag for decode workers only; may be given again",
    )
    .takes("ARG", "--max-num-seqs=64")
    .under(Heading::Shape),
    field("engineArgs", "--", Kind::Arguments, "Engine flags for every worker")
        .takes("ENGINE FLAGS", "--max-model-len=8192")
        .under(Heading::Shape),
];

const ROUTING: &[Field] = &[
    field(
        "router.mode",
        "--router-mode",
        Kind::Words(words::<RouterMode>),
        "How the frontend picks a worker [default: round-robin]",
    )
    .under(Heading::Routing),
    field(
        "router.temperature",
        "--router-temperature",
        Kind::Number,
        "Randomness between workers of similar cost; Dynamo's own default is 0, the best one always",
    )
    .takes("NUMBER", "0.5")
    .under(Heading::Routing),
    field(
        "router.overlapWeight",
        "--router-overlap-weight",
        Kind::Number,
        "Weight of cached blocks against load; Dynamo's own default is 1",
    )
    .takes("NUMBER", "2")
    .under(Heading::Routing),
    field(
        "router.kvEvents",
        "--router-kv-events",
        Kind::Switch,
        "Workers announce their KV blocks to the KV router [default: true]; --no-router-kv-events lets it predict them",
    )
    .under(Heading::Routing),
    field("frontend.replicas", "--frontend-replicas", Kind::Count, "Frontends [default: 1]")
        .takes("N", "2")
        .under(Heading::Routing),
];

const OFFLOAD: &[Field] = &[
    field(
        "kvOffload.cpu",
        "--kv-offload",
        Kind::Text,
        "Keep KV cache that no longer fits the GPU in CPU memory and, behind it, on disk; `none` ends it",
    )
    .takes("cpu=QUANTITY[,disk=QUANTITY]", "20Gi")
    .under(Heading::KvOffload),
    field("kvOffload.disk", "--kv-offload", Kind::Quantity, "Space of the disk tier")
        .takes("QUANTITY", "200Gi")
        .under(Heading::KvOffload),
    field(
        "kvOffload.diskVolume",
        "--kv-offload-disk-volume",
        Kind::Text,
        "Volume of the disk tier: ephemeral[=CLASS], hostPath=PATH or pvc=NAME [default: ephemeral]",
    )
    .takes("VOLUME", "hostPath=/mnt/nvme")
    .under(Heading::KvOffload),
];

const CACHE: &[Field] = &[
    field(
        "cache.claim",
        "--cache",
        Kind::Text,
        "Existing claim that holds or will hold the model; without it `model-cache` is part of the objects",
    )
    .takes("PVC", "models")
    .under(Heading::Cache),
    field("cache.size", "--cache-size", Kind::Quantity, "Size of the claim [default: 500Gi]")
        .takes("QUANTITY", "200Gi")
        .under(Heading::Cache),
    field(
        "cache.storageClass",
        "--storage-class",
        Kind::Text,
        "Storage class of the claim; the cluster's default when absent",
    )
    .takes("NAME", "fast")
    .under(Heading::Cache),
    field(
        "cache.accessMode",
        "--access-mode",
        Kind::Words(words::<AccessMode>),
        "Access mode of the claim [default: ReadWriteMany]",
    )
    .under(Heading::Cache),
];

const PLACEMENT: &[Field] = &[
    field(
        "image",
        "--image",
        Kind::Text,
        "Image of every Dynamo container; the release's vllm-runtime when absent",
    )
    .takes("IMAGE", "registry.example/vllm-runtime:1")
    .under(Heading::Placement),
    field("fetcherImage", "--fetcher-image", Kind::Text, "Image of the fetch containers")
        .takes("IMAGE", "registry.example/model-fetcher:1")
        .under(Heading::Placement),
    field(
        "registryMirror",
        "--registry-mirror",
        Kind::Text,
        "Take images that are not named from here: it stands in place of their registry",
    )
    .takes("REGISTRY", "registry.example/mirror")
    .under(Heading::Placement),
    field(
        "imagePullSecrets",
        "--image-pull-secret",
        Kind::List,
        "Secret for pulling images; may be given again",
    )
    .takes("SECRET", "ngc")
    .under(Heading::Placement),
    field(
        "nodeSelector",
        "--node-selector",
        Kind::Map,
        "Label that a worker's node must have; may be given again",
    )
    .takes("KEY=VALUE", "pool=gpu")
    .under(Heading::Placement),
    field(
        "tolerations",
        "--toleration",
        Kind::List,
        "Taint that workers bear besides that of GPU nodes, as kubectl taint writes it; may be given again",
    )
    .takes("KEY[=VALUE][:EFFECT]", "team=search:NoSchedule")
    .under(Heading::Placement),
    field("priorityClass", "--priority-class", Kind::Text, "PriorityClass of the pods")
        .takes("NAME", "serving")
        .under(Heading::Placement),
    field("serviceAccount", "--service-account", Kind::Text, "ServiceAccount of the pods")
        .takes("NAME", "serving")
        .under(Heading::Placement),
    field("labels", "--label", Kind::Map, "Extra label of the objects; may be given again")
        .takes("KEY=VALUE", "team=search")
        .under(Heading::Placement),
    field("annotations", "--annotation", Kind::Map, "Extra annotation of the objects; may be given again")
        .takes("KEY=VALUE", "example.com/owner=search")
        .under(Heading::Placement),
    field("env", "--env", Kind::Map, "Extra environment of every container; may be given again")
        .takes("NAME=VALUE", "DYN_LOG=debug")
        .under(Heading::Placement),
    field("sharedMemory", "--shared-memory", Kind::Quantity, "Size of /dev/shm in workers")
        .takes("QUANTITY", "20Gi")
        .under(Heading::Placement),
];

/// All fields by subject, in the order help shows them.
pub static GROUPS: &[&[Field]] = &[
    MODEL,
    SHAPE,
    group!("worker.", "--", "--", ""),
    group!("prefill.", "--prefill-", "--prefill-", ", of prefill only"),
    group!("decode.", "--decode-", "--decode-", ", of decode only"),
    ARGUMENTS,
    ROUTING,
    OFFLOAD,
    CACHE,
    PLACEMENT,
];
