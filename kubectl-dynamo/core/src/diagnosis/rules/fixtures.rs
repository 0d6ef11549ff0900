//! Sample messages for every diagnosis rule, with the expected code and a fragment of the expected text.
//! Sources: `R` is a recording or a real run of this project. `K` is built from the format strings of
//! Kubernetes, `V` from those of the vLLM wheel of the default release. `L` is a message of another library.

mod engine;

use super::MessageSource::{self, *};
use crate::code::MessageCode;

/// Message code, source, message, and a fragment of the expected text.
pub(in crate::diagnosis) type Sample = (MessageCode, MessageSource, &'static str, &'static str);

/// Returns the samples of all rules.
pub(in crate::diagnosis) fn samples() -> impl Iterator<Item = &'static Sample> {
    MESSAGES.iter().chain(engine::LINES)
}

/// Messages of the operator, of Kubernetes, and of container runtimes.
const MESSAGES: &[Sample] = &[
    // R operator-1.5/multinode-without-orchestrator, operator-0.9.1 of the same name
    (
        MessageCode::MultinodeOrchestratorMissing,
        Operator,
        "no multinode orchestrator available",
        "neither Grove",
    ),
    (
        MessageCode::MultinodeOrchestratorMissing,
        Operator,
        "failed to reconcile Dynamo components deployments: no multinode orchestrator available",
        "neither Grove",
    ),
    // R operator-0.9.1/volume-claim-missing-then-made, and operator-facts §3 for 1.5
    (
        MessageCode::DeploymentPvcNotFound,
        Operator,
        r#"failed to reconcile top-level PVCs: PersistentVolumeClaim "no-such-pvc" not found"#,
        "PVC \"no-such-pvc\" not found",
    ),
    (
        MessageCode::DeploymentPvcNotFound,
        Operator,
        r#"failed to reconcile top-level PVCs: legacy top-level PVC "missing-one" does not exist and create is not enabled: PersistentVolumeClaim "missing-one" not found"#,
        "PVC \"missing-one\" not found",
    ),
    // R operator-1.5/name-too-long
    (
        MessageCode::ChildObjectNameTooLong,
        Operator,
        r#"failed to reconcile the resources: failed to create or update the deployment: create or update deployment: Deployment.apps "cccc-worker-d74f1aad" is invalid: [spec.selector.matchLabels: Invalid value: "cccc-worker-d74f1aad": must be no more than 63 characters, spec.selector: Invalid value: {}: invalid label selector]"#,
        "Deployment.apps \"cccc-worker-d74f1aad\" exceeds 63",
    ),
    // R operator-facts-0.9.1 §2: names over 41
    (
        MessageCode::ChildObjectNameTooLong,
        Operator,
        r#"failed to reconcile K8s discovery resources: failed: ServiceAccount "n-k8s-service-discovery" is invalid: metadata.labels: Invalid value: "n": must be no more than 63 characters"#,
        "ServiceAccount \"n-k8s-service-discovery\" exceeds 63",
    ),
    (
        MessageCode::InvalidServiceName,
        Operator,
        r#"Service "1abc-frontend" is invalid: metadata.name: Invalid value: "1abc-frontend": a DNS-1035 label must consist of lower case alphanumeric characters"#,
        "DNS-1035",
    ),
    (
        MessageCode::InvalidServiceName,
        Operator,
        r#"DynamoComponentDeployment "mark-my_worker" is invalid: metadata.name: Invalid value: "mark-my_worker": a lowercase RFC 1123 subdomain must consist of"#,
        "RFC 1123",
    ),
    // R operator-facts-0.9.1 §2: gpu "abc"
    (
        MessageCode::InvalidGpuQuantity,
        Operator,
        "failed to reconcile: parse limits gpu quantity: quantities must match the regular expression",
        "invalid GPU quantity",
    ),
    // R operator-facts-0.9.1 §1: the same volume again
    (
        MessageCode::DuplicateVolume,
        Operator,
        r#"Deployment.apps "a" is invalid: spec.template.spec.volumes[1].name: Duplicate value: "model-cache""#,
        "volume \"model-cache\" is defined twice",
    ),
    // R operator-facts-0.9.1 §4: webhooks off
    (
        MessageCode::SpecRejectedByOperator,
        Operator,
        "Validation failed: spec.services must have at least one service",
        "at least one service",
    ),
    // R operator-facts §5: the operator stopped
    (
        MessageCode::OperatorWebhookUnavailable,
        Operator,
        r#"Internal error occurred: failed calling webhook "mdynamographdeployment.kb.io": failed to call webhook"#,
        "mdynamographdeployment.kb.io",
    ),
    (
        MessageCode::OperatorWebhookUnavailable,
        Operator,
        "conversion webhook for nvidia.com/v1beta1, Kind=DynamoGraphDeployment failed: Post",
        "nvidia.com/v1beta1",
    ),
    // K
    (
        MessageCode::QuotaTooSmall,
        Replicas,
        r#"pods "a-worker-1-x" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=4, limited: requests.nvidia.com/gpu=4"#,
        "quota \"gpus\" exceeded: requested requests.nvidia.com/gpu=4",
    ),
    (
        MessageCode::PodSecurityViolation,
        Replicas,
        r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false"#,
        "restricted:latest",
    ),
    (
        MessageCode::PodSecurityViolation,
        Replicas,
        r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false), seccompProfile (pod or containers "model-fetch", "main" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#,
        "the pod: allowPrivilegeEscalation != false (container \"main\" must set",
    ),
    (
        MessageCode::PodSecurityViolation,
        Replicas,
        r#"pods "a" is forbidden: violates PodSecurity "baseline:latest": hostPath volumes (volume "kv-offload")"#,
        "hostPath volumes (volume \"kv-offload\")",
    ),
    (
        MessageCode::PodSecurityViolation,
        Replicas,
        r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" must set securityContext.allowPrivilegeEscalation=false), restricted volume types (volume "kv-offload" uses restricted volume type "hostPath")"#,
        "restricted volume types",
    ),
    (
        MessageCode::LimitRangeViolation,
        Replicas,
        r#"pods "a" is forbidden: maximum memory usage per Container is 1Gi, but limit is 20Gi"#,
        "1Gi of memory per container",
    ),
    (
        MessageCode::ServiceAccountNotFound,
        Replicas,
        r#"pods "a" is forbidden: error looking up service account serving/runner: serviceaccount "runner" not found"#,
        "ServiceAccount \"runner\" not found",
    ),
    // R operator-1.5/volume-claim-missing, aggregated-with-rollouts, no-gpu-then-eight
    (
        MessageCode::PodPvcNotFound,
        Scheduling,
        r#"0/1 nodes are available: persistentvolumeclaim "no-such-pvc" not found. not found"#,
        "PVC \"no-such-pvc\" not found",
    ),
    (
        MessageCode::PvcNotBound,
        Scheduling,
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
        "not bound",
    ),
    (
        MessageCode::NotEnoughGpus,
        Scheduling,
        "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        "insufficient free GPUs on 1 of 1 nodes",
    ),
    // K
    (
        MessageCode::VolumeNodeMismatch,
        Scheduling,
        "0/4 nodes are available: 4 node(s) had volume node affinity conflict.",
        "the volume with the model",
    ),
    (
        MessageCode::NotEnoughNodeResources,
        Scheduling,
        "0/3 nodes are available: 3 Insufficient memory.",
        "enough free memory",
    ),
    (
        MessageCode::UntoleratedTaint,
        Scheduling,
        "0/4 nodes are available: 4 node(s) had untolerated taint {nvidia.com/gpu: present}.",
        "nvidia.com/gpu",
    ),
    (
        MessageCode::NoMatchingNode,
        Scheduling,
        "0/4 nodes are available: 4 node(s) didn't match Pod's node affinity/selector.",
        "no node has the requested labels",
    ),
    // K
    (
        MessageCode::InvalidImageReference,
        Image,
        r#"Failed to apply default image tag "UPPER//x": couldn't parse image name "UPPER//x": invalid reference format"#,
        "invalid image reference",
    ),
    // L containerd
    (
        MessageCode::RegistryAccessDenied,
        Image,
        "failed to resolve reference \"registry.test/x:1\": pull access denied, repository does not exist or may require authorization",
        "denies the pull",
    ),
    // R operator-1.5/image-cannot-be-pulled
    (
        MessageCode::RegistryUnreachable,
        Image,
        r#"failed to pull and unpack image "nvcr.io/nvidia/ai-dynamo/vllm-runtime:absent": failed to resolve reference "nvcr.io/nvidia/ai-dynamo/vllm-runtime:absent": failed to do request: Head "https://nvcr.io/v2/nvidia/ai-dynamo/vllm-runtime/manifests/absent": dial tcp: lookup nvcr.io on 192.0.2.1:53: read udp 10.0.0.2:53: i/o timeout"#,
        "the registry (nvcr.io): i/o timeout",
    ),
    (
        MessageCode::ImageNotFound,
        Image,
        r#"failed to resolve reference "registry.test/x:9": registry.test/x:9: not found"#,
        "image or tag not found",
    ),
    (
        MessageCode::ImageArchitectureMismatch,
        Image,
        "no match for platform in manifest: not found",
        "architecture",
    ),
    // R operator-0.9.1/secret-missing
    (
        MessageCode::PodSecretNotFound,
        Container,
        r#"secret "no-such-secret" not found"#,
        "Secret \"no-such-secret\" not found",
    ),
    // K
    (
        MessageCode::SecretKeyNotFound,
        Container,
        "couldn't find key HF_TOKEN in Secret serving/hf-token-secret",
        "key \"HF_TOKEN\"",
    ),
    (
        MessageCode::ConfigMapNotFound,
        Container,
        r#"configmap "settings" not found"#,
        "ConfigMap \"settings\" not found",
    ),
    (
        MessageCode::ProgramNotInImage,
        Container,
        r#"failed to create containerd task: runc create failed: unable to start container process: exec: "python3": executable file not found in $PATH"#,
        "program \"python3\" not found",
    ),
    (
        MessageCode::NvidiaRuntimeFailure,
        Container,
        "error running prestart hook #0: nvidia-container-cli: initialization error: driver not loaded",
        "initialization error",
    ),
    (MessageCode::ContainerOutOfMemory, Exit, "OOMKilled exit 137 ", "exceeded its memory limit"),
    (MessageCode::CommandNotExecutable, Exit, "Error exit 127 ", "command is not found"),
    (MessageCode::ContainerKilled, Exit, "Error exit 137 ", "container was killed"),
    (
        MessageCode::VolumeAttachedElsewhere,
        Mount,
        r#"FailedAttachVolume: Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) a"#,
        "another node",
    ),
    (
        MessageCode::PodSecretNotFound,
        Mount,
        r#"FailedMount: MountVolume.SetUp failed for volume "token" : secret "hub" not found"#,
        "Secret \"hub\" not found",
    ),
    (
        MessageCode::ConfigMapNotFound,
        Mount,
        r#"FailedMount: MountVolume.SetUp failed for volume "ca-bundle" : configmap "corporate-ca" not found"#,
        "ConfigMap \"corporate-ca\" not found",
    ),
    (
        MessageCode::VolumeNotMounted,
        Mount,
        r#"FailedMount: MountVolume.SetUp failed for volume "pvc-1" : mount failed: exit status 32"#,
        "exit status 32",
    ),
    (
        MessageCode::PodNetworkFailure,
        Mount,
        "FailedCreatePodSandBox: Failed to create pod sandbox: plugin type=\"bridge\" failed",
        "sandbox",
    ),
];
