//! Diagnosis rules for messages of Kubernetes and the Dynamo operator.
//!
//! The patterns come from recordings of real clusters and from the format strings of Kubernetes.

use super::{DiagnosisRule, MessageSource};
use crate::code::MessageCode;
use crate::diagnosis::fix_template::FixPart::*;

pub(super) const RULES: &[DiagnosisRule] = &[
    // --- the operator ---
    DiagnosisRule {
        code: MessageCode::MultinodeOrchestratorMissing,
        source: MessageSource::Operator,
        pattern: r"no multinode orchestrator available",
        message: "workers span several nodes, but the cluster has neither Grove nor LeaderWorkerSet",
        fix: &[
            Text("install Grove or LeaderWorkerSet, or choose a worker that fits on one node with "),
            FitModel,
        ],
    },
    DiagnosisRule {
        code: MessageCode::DeploymentPvcNotFound,
        source: MessageSource::Operator,
        pattern: r#"failed to reconcile top-level PVCs: .*(?:PersistentVolumeClaim|PVC) "([^"]+)""#,
        message: "PVC \"$1\" not found",
        fix: &[Text("create the PVC, or use another one with "), Up(&["--cache", "PVC"])],
    },
    DiagnosisRule {
        code: MessageCode::ChildObjectNameTooLong,
        source: MessageSource::Operator,
        pattern: r#"([A-Za-z.]+) "([^"]+)"[^"]* is invalid: .*must be no more than (\d+) (?:characters|bytes)"#,
        message: "name too long: $1 \"$2\" exceeds $3 characters",
        fix: &[
            Text("delete the deployment and use a shorter name: "),
            Verb("down", &[]),
            Text("; "),
            UpRenamed,
        ],
    },
    DiagnosisRule {
        code: MessageCode::InvalidServiceName,
        source: MessageSource::Operator,
        pattern: r"(DNS-1035|RFC 1123)",
        message: "a name is not a valid $1 label: it starts with a digit or contains a dot or an underscore",
        fix: &[
            Text("delete the deployment and use a name of letters, digits, and hyphens: "),
            Verb("down", &[]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::InvalidGpuQuantity,
        source: MessageSource::Operator,
        pattern: r"gpu quantity: quantities must match",
        message: "invalid GPU quantity",
        fix: &[Text("set a whole number with "), Kubectl(&["edit", "dynamographdeployment", "{name}"])],
    },
    DiagnosisRule {
        code: MessageCode::DuplicateVolume,
        source: MessageSource::Operator,
        pattern: r#"volumes\[\d+\]\.name: Duplicate value: "([^"]+)""#,
        message: "volume \"$1\" is defined twice, as a mount and in the volumes of the pod",
        fix: &[Text("remove one of the two with "), Kubectl(&["edit", "dynamographdeployment", "{name}"])],
    },
    DiagnosisRule {
        code: MessageCode::SpecRejectedByOperator,
        source: MessageSource::Operator,
        pattern: r"^Validation failed: (.+)",
        message: "the Dynamo operator rejects the spec: $1",
        fix: &[Text("correct the spec with "), Kubectl(&["edit", "dynamographdeployment", "{name}"])],
    },
    DiagnosisRule {
        code: MessageCode::OperatorWebhookUnavailable,
        source: MessageSource::Operator,
        pattern: r#"(?:failed calling webhook "([^"]*dynamo[^"]*)"|conversion webhook for (nvidia\.com/[^ ,]+))"#,
        message: "the webhook $1$2 of the Dynamo operator is not responding",
        fix: &[
            Text("check that the operator runs with "),
            KubectlCluster(&["get", "pods", "-A", "-l", "app.kubernetes.io/name=dynamo-operator"]),
        ],
    },
    // --- pods cannot be created ---
    DiagnosisRule {
        code: MessageCode::QuotaTooSmall,
        source: MessageSource::Replicas,
        pattern: r"exceeded quota: ([^,]+), requested: ([^,]+(?:,[^,]+)*), used",
        message: "quota \"$1\" exceeded: requested $2",
        fix: &[
            Text("free some of the quota or request an increase; show the usage with "),
            Kubectl(&["describe", "quota", "$1"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::PodSecurityViolation,
        source: MessageSource::Replicas,
        pattern: r#"violates PodSecurity "(restricted[^"]*)": (.*"kv-offload".*"hostPath".*)"#,
        message: "PodSecurity \"$1\" of the namespace forbids the pod: $2",
        fix: &[
            Text("meet the standard with "),
            Up(&["--pod-security", "restricted", "--kv-offload-disk-volume", "ephemeral"]),
            Text(", or use a namespace that allows it"),
        ],
    },
    DiagnosisRule {
        code: MessageCode::PodSecurityViolation,
        source: MessageSource::Replicas,
        pattern: r#"violates PodSecurity "(baseline[^"]*)": (.*hostPath.*"kv-offload".*)"#,
        message: "PodSecurity \"$1\" of the namespace forbids the pod: $2",
        fix: &[
            Text("use a volume that is not a folder of the node with "),
            Up(&["--kv-offload-disk-volume", "ephemeral"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::PodSecurityViolation,
        source: MessageSource::Replicas,
        pattern: r#"violates PodSecurity "(restricted[^"]*)": (.*container.*"main".*)"#,
        message: "PodSecurity \"$1\" of the namespace forbids the pod: $2",
        fix: &[
            Text("meet the standard with "),
            Up(&["--pod-security", "restricted"]),
            Text(", or use a namespace that enforces baseline"),
        ],
    },
    DiagnosisRule {
        code: MessageCode::PodSecurityViolation,
        source: MessageSource::Replicas,
        pattern: r#"violates PodSecurity "([^"]+)": (.+)"#,
        message: "PodSecurity \"$1\" of the namespace forbids the pod: $2",
        fix: &[
            Text("use a namespace that allows it, or relax the policy with "),
            KubectlCluster(&[
                "label",
                "namespace",
                "{namespace}",
                "pod-security.kubernetes.io/enforce=baseline",
                "--overwrite",
            ]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::LimitRangeViolation,
        source: MessageSource::Replicas,
        pattern: r"(?:maximum|minimum) (\S+) usage per (?:Container|Pod) is ([^,. ]+)",
        message: "the LimitRange of the namespace sets a limit of $2 of $1 per container",
        fix: &[Text("show it with "), Kubectl(&["describe", "limitrange"])],
    },
    DiagnosisRule {
        code: MessageCode::ServiceAccountNotFound,
        source: MessageSource::Replicas,
        pattern: r#"serviceaccount "([^"]+)" not found"#,
        message: "ServiceAccount \"$1\" not found",
        fix: &[Text("create it with "), Kubectl(&["create", "serviceaccount", "$1"])],
    },
    // --- the scheduler ---
    DiagnosisRule {
        code: MessageCode::PodPvcNotFound,
        source: MessageSource::Scheduling,
        pattern: r#"persistentvolumeclaim "([^"]+)" not found"#,
        message: "PVC \"$1\" not found",
        fix: &[Text("create the PVC, or use another one with "), Up(&["--cache", "PVC"])],
    },
    DiagnosisRule {
        code: MessageCode::PvcNotBound,
        source: MessageSource::Scheduling,
        pattern: r"unbound immediate PersistentVolumeClaims",
        message: "a PVC is not bound",
        fix: &[Text("find the cause with "), Kubectl(&["describe", "pvc"])],
    },
    DiagnosisRule {
        code: MessageCode::VolumeNodeMismatch,
        source: MessageSource::Scheduling,
        pattern: r"node\(s\) had volume node affinity conflict",
        message: "the volume with the model is on a node that cannot run the pod",
        fix: &[Text("use a ReadWriteMany PVC with "), Up(&["--cache", "PVC"])],
    },
    DiagnosisRule {
        code: MessageCode::NotEnoughGpus,
        source: MessageSource::Scheduling,
        pattern: r"^0/(\d+) nodes are available: (?:.*?)(\d+) Insufficient nvidia\.com/gpu",
        message: "insufficient free GPUs on $2 of $1 nodes",
        fix: &[
            Text("show the usage with "),
            KubectlCluster(&["describe", "nodes"]),
            Text(", or request fewer GPUs with "),
            Up(&["--tp", "1"]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::NotEnoughNodeResources,
        source: MessageSource::Scheduling,
        pattern: r"Insufficient (cpu|memory|ephemeral-storage|pods)",
        message: "no node has enough free $1",
        fix: &[Text("show the usage with "), KubectlCluster(&["describe", "nodes"])],
    },
    DiagnosisRule {
        code: MessageCode::UntoleratedTaint,
        source: MessageSource::Scheduling,
        pattern: r"had untolerated taint(?:\(s\)|s)? ?\{?([^,}: ]*)",
        message: "the nodes have the untolerated taint \"$1\"",
        fix: &[Text("tolerate the taint with "), Up(&["--toleration", "$1"])],
    },
    DiagnosisRule {
        code: MessageCode::NoMatchingNode,
        source: MessageSource::Scheduling,
        pattern: r"didn't match Pod's node affinity/selector",
        message: "no node has the requested labels",
        fix: &[
            Text("list the labels with "),
            KubectlCluster(&["get", "nodes", "--show-labels"]),
            Text(", then select nodes with "),
            Up(&["--node-selector", "KEY=VALUE"]),
        ],
    },
    // --- images ---
    DiagnosisRule {
        code: MessageCode::InvalidImageReference,
        source: MessageSource::Image,
        pattern: r#"(?i)(?:couldn't parse image|invalid reference format|failed to apply default image tag "([^"]+)")"#,
        message: "invalid image reference",
        fix: &[Text("set a valid image with "), UpImage("REGISTRY/NAME:TAG")],
    },
    DiagnosisRule {
        code: MessageCode::RegistryAccessDenied,
        source: MessageSource::Image,
        pattern: r"(?i)(401 Unauthorized|403 Forbidden|pull access denied|no basic auth credentials|authorization failed|unauthorized)",
        message: "the registry denies the pull: $1",
        fix: &[Text("create a pull Secret and set it with "), Up(&["--image-pull-secret", "SECRET"])],
    },
    DiagnosisRule {
        code: MessageCode::RegistryUnreachable,
        source: MessageSource::Image,
        pattern: r#"(?i)(?:https?://|lookup |dial tcp )([^ :"/]+).*?(no such host|i/o timeout|connection refused|server misbehaving|Temporary failure in name resolution|network is unreachable|TLS handshake timeout)"#,
        message: "the node cannot reach the registry ($1): $2",
        fix: &[Text("allow the nodes to reach it, or use a mirror with "), UpImage("MIRROR/NAME:TAG")],
    },
    DiagnosisRule {
        code: MessageCode::ImageArchitectureMismatch,
        source: MessageSource::Image,
        pattern: r"no match for platform in manifest",
        message: "the image is not built for the node's architecture",
        fix: &[Text("select matching nodes with "), Up(&["--node-selector", "kubernetes.io/arch=amd64"])],
    },
    DiagnosisRule {
        code: MessageCode::ImageNotFound,
        source: MessageSource::Image,
        pattern: r"(?i)((?:manifest unknown|manifest for \S+ not found|not found|name unknown))",
        message: "image or tag not found in the registry: $1",
        fix: &[Text("use an existing image with "), UpImage("REGISTRY/NAME:TAG")],
    },
    // --- containers ---
    DiagnosisRule {
        code: MessageCode::PodSecretNotFound,
        source: MessageSource::Container,
        pattern: r#"secret "([^"]+)" not found"#,
        message: "Secret \"$1\" not found",
        fix: &[Text("create it with "), Up(&["--hf-token-secret", "$1", "--hf-token-stdin"])],
    },
    DiagnosisRule {
        code: MessageCode::SecretKeyNotFound,
        source: MessageSource::Container,
        pattern: r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)",
        message: "key \"$1\" not found in $2 \"$3\"",
        fix: &[Text("list its keys with "), Kubectl(&["describe", "$2", "$3"])],
    },
    DiagnosisRule {
        code: MessageCode::ConfigMapNotFound,
        source: MessageSource::Container,
        pattern: r#"configmap "([^"]+)" not found"#,
        message: "ConfigMap \"$1\" not found",
        fix: &[Text("create it with "), Kubectl(&["create", "configmap", "$1"])],
    },
    DiagnosisRule {
        code: MessageCode::ProgramNotInImage,
        source: MessageSource::Container,
        pattern: r#"exec: "([^"]+)": (?:executable file not found|stat [^:]+: no such file)"#,
        message: "program \"$1\" not found in the image",
        fix: &[Text("use the runtime image with "), UpImage("REGISTRY/NAME:TAG")],
    },
    DiagnosisRule {
        code: MessageCode::NvidiaRuntimeFailure,
        source: MessageSource::Container,
        pattern: r"(nvidia-container-cli: .+|could not select device driver|failed to inject CDI devices.*)",
        message: "the NVIDIA container runtime of the node failed: $1",
        fix: &[
            Text("check the GPU operator on the node with "),
            KubectlCluster(&[
                "get",
                "pods",
                "-A",
                "-o",
                "wide",
                "-l",
                "app=nvidia-container-toolkit-daemonset",
            ]),
        ],
    },
    DiagnosisRule {
        code: MessageCode::ContainerOutOfMemory,
        source: MessageSource::Exit,
        pattern: r"^OOMKilled",
        message: "the container exceeded its memory limit and was killed",
        fix: &[Text("show its limits with "), Kubectl(&["describe", "pod", "{pod}"])],
    },
    DiagnosisRule {
        code: MessageCode::CommandNotExecutable,
        source: MessageSource::Exit,
        pattern: r"exit (?:126|127) ",
        message: "the container's command is not found or not executable",
        fix: &[Text("use the runtime image with "), UpImage("REGISTRY/NAME:TAG")],
    },
    DiagnosisRule {
        code: MessageCode::ContainerKilled,
        source: MessageSource::Exit,
        pattern: r"exit (?:137|143) ",
        message: "container was killed: failed liveness probe or node resource pressure",
        fix: &[Text("find the cause with "), Verb("events", &[])],
    },
    // --- volumes ---
    DiagnosisRule {
        code: MessageCode::VolumeAttachedElsewhere,
        source: MessageSource::Mount,
        pattern: r"FailedAttachVolume: Multi-Attach error for volume",
        message: "the volume is attached to another node and supports only one node",
        fix: &[Text("use a ReadWriteMany PVC with "), Up(&["--cache", "PVC"])],
    },
    DiagnosisRule {
        code: MessageCode::PodSecretNotFound,
        source: MessageSource::Mount,
        pattern: r#"FailedMount: .*secret "([^"]+)" not found"#,
        message: "Secret \"$1\" not found",
        fix: &[Text("create it with "), Kubectl(&["create", "secret", "generic", "$1"])],
    },
    DiagnosisRule {
        code: MessageCode::ConfigMapNotFound,
        source: MessageSource::Mount,
        pattern: r#"FailedMount: .*configmap "([^"]+)" not found"#,
        message: "ConfigMap \"$1\" not found",
        fix: &[Text("create it with "), Kubectl(&["create", "configmap", "$1"])],
    },
    DiagnosisRule {
        code: MessageCode::VolumeNotMounted,
        source: MessageSource::Mount,
        pattern: r"(?:FailedMount|FailedAttachVolume): (.+)",
        message: "a volume cannot be mounted: $1",
        fix: &[Text("check the PVC and its storage driver with "), Kubectl(&["describe", "pvc"])],
    },
    DiagnosisRule {
        code: MessageCode::PodNetworkFailure,
        source: MessageSource::Mount,
        pattern: r"FailedCreatePodSandBox: (.+)",
        message: "the node cannot create the pod sandbox: $1",
        fix: &[
            Text("check the network plugin of the node, and show the events with "),
            Kubectl(&["describe", "pod", "{pod}"]),
        ],
    },
];
