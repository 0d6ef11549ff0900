//! Facts about a cluster and a model as plain values, collected by the `cluster` crate and read by the
//! checks.
//!
//! This module only defines types. It must not send requests or evaluate facts.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::chat_template::ChatTemplate;
use crate::command::Fix;
use crate::error::Exit;
use crate::registry::ImageLookup;
use crate::resources::GraphApi;

/// A value that may be known, unavailable, or not queried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fact<T> {
    Known(T),
    /// The query failed. The text gives the reason, such as a missing permission to list nodes.
    Unavailable(String),
    /// The value was not queried.
    #[default]
    NotQueried,
}

impl<T> Fact<T> {
    /// Returns the value if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unavailable(_) | Self::NotQueried => None,
        }
    }
}

/// Everything known about a cluster, as far as it was queried and the user may read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterFacts {
    /// The target namespace.
    pub namespace: String,
    /// Major and minor version of Kubernetes.
    pub kubernetes: Fact<(u32, u32)>,
    /// The phase of the namespace, or `None` if it does not exist.
    pub namespace_phase: Fact<Option<String>>,
    /// The user's permissions in the namespace.
    pub permissions: Fact<Authorizer>,
    /// The Dynamo platform, or `None` if no API version serves DynamoGraphDeployment.
    pub platform: Fact<Option<Platform>>,
    /// All Dynamo operators that the user may read.
    pub operators: Fact<Vec<OperatorFacts>>,
    /// The admission webhooks for graphs.
    pub webhooks: Fact<Vec<Webhook>>,
    pub nodes: Fact<Vec<Node>>,
    /// Scheduled pods of all namespaces.
    pub pods: Fact<Vec<PodUsage>>,
    /// Whether a cluster autoscaler is running.
    pub autoscaler: Fact<bool>,
    pub quotas: Fact<Vec<Quota>>,
    pub limit_ranges: Fact<Vec<LimitRange>>,
    pub storage_classes: Fact<Vec<StorageClass>>,
    /// PersistentVolumes that are unbound or reserved for a PVC by name.
    pub volumes: Fact<Vec<Volume>>,
    /// The keys with a value in the Secret of the hub token, or `None` if the Secret does not exist.
    pub token_secret: Fact<Option<Vec<String>>>,
    /// What the registries responded for the images of the plan, by image. An image that was not looked up is missing.
    pub images: BTreeMap<String, ImageLookup>,
    /// The hub's response for the model, with the same credentials as the pods.
    pub model: Fact<ModelLookup>,
    /// The complete Job that fetched this revision of the model to the PVC.
    pub model_fetched_by: Option<String>,
    /// `HF_ENDPOINT` of this machine, which pods do not get.
    pub local_hub_endpoint: Option<String>,
}

/// The hub's response for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelLookup {
    Found(ModelMetadata),
    /// The hub denies access without a token.
    Denied(AccessError),
}

/// Metadata of a model on the hub.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelMetadata {
    pub commit: String,
    /// Number of files that a fetch downloads.
    pub files: usize,
    /// Total size of these files in bytes.
    pub bytes: u64,
    /// Total size of the weight files that the engine loads, in bytes.
    pub weight_bytes: u64,
    /// The model's `config.json`, if it was requested.
    pub config: Option<Value>,
    /// The model's chat template, if it was requested and exists.
    pub chat_template: Option<ChatTemplate>,
}

/// Why the hub denies access to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessError {
    pub text: String,
    pub hint: Fix,
    pub exit: Exit,
}

impl ModelMetadata {
    /// Returns the abbreviated commit (7 digits, as in git).
    pub fn revision(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }
}

impl ClusterFacts {
    /// Returns the model's metadata if the hub grants access.
    pub fn model(&self) -> Option<&ModelMetadata> {
        match self.model.known()? {
            ModelLookup::Found(model) => Some(model),
            ModelLookup::Denied(_) => None,
        }
    }
}

/// The Dynamo platform as reported by API discovery, which every authenticated user may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Platform {
    /// The storage version of graphs. Fields that exist only in another served version are dropped.
    pub graph_api: GraphApi,
    /// Whether the API group serves v1beta1 (Dynamo 1.0 and later).
    pub serves_v1beta1: bool,
    /// Whether v1beta1 includes DynamoGraphDeployment (Dynamo 1.2 and later).
    pub serves_v1beta1_graph: bool,
    /// Whether Grove is installed, which limits the length of names.
    pub grove: bool,
    /// Whether LeaderWorkerSet is installed, which runs multinode workers without Grove.
    pub leader_worker_sets: bool,
    /// Whether Volcano is installed, which the operator requires with LeaderWorkerSet.
    pub volcano: bool,
    /// Whether the KAI scheduler is installed.
    pub kai_scheduler: bool,
    /// Whether Karpenter is installed, which adds nodes.
    pub karpenter: bool,
    /// Whether EKS Auto Mode manages nodes, detected by its NodeClass.
    pub eks_auto_mode: bool,
    /// Whether the PodMonitor resource of the Prometheus operator is served.
    pub pod_monitors: bool,
}

impl Platform {
    /// Whether the operator can run workers that span several nodes: with Grove, or with LeaderWorkerSet and
    /// Volcano.
    pub fn can_span_nodes(&self) -> bool {
        self.grove || (self.leader_worker_sets && self.volcano)
    }
}

/// The user's permissions in a namespace, as returned by a SelfSubjectRulesReview.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorizer {
    pub rules: Vec<PolicyRule>,
    /// Whether the user may have permissions that the rules do not contain, as with the authorizers of some
    /// clouds.
    pub incomplete: bool,
}

/// An RBAC rule that allows all verbs on all resources of the groups. `*` matches any value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyRule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
}

/// A Dynamo operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperatorFacts {
    /// `NAMESPACE/NAME` of the operator's Deployment.
    pub deployment: String,
    /// Tag of the operator's image.
    pub version: Option<String>,
    pub ready: u64,
    pub desired: u64,
}

/// An admission webhook for graphs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Webhook {
    pub name: String,
    /// `NAMESPACE/NAME` of the webhook's Service, or `None` if it is configured by URL.
    pub service: Option<String>,
    /// Number of ready endpoints of the Service.
    pub ready: Fact<usize>,
    /// Whether writes fail while the webhook is unreachable (failure policy `Fail`).
    pub is_required: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub ready: bool,
    pub cordoned: bool,
    /// Number of allocatable GPUs.
    pub gpus: u64,
    /// Whether the node has an allocatable RDMA device.
    pub rdma: bool,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

/// The resources that a scheduled pod uses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodUsage {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub gpus: u64,
    /// Names of the PVCs that the pod mounts.
    pub pvcs: Vec<String>,
    /// Name of the pod's graph.
    pub graph: Option<String>,
}

/// A ResourceQuota: the hard limit and the current use of each resource, as Kubernetes quantities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quota {
    pub name: String,
    pub hard: BTreeMap<String, String>,
    pub used: BTreeMap<String, String>,
    /// Whether the quota has scopes and therefore counts only some pods.
    pub scoped: bool,
}

/// The container limits of a LimitRange.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitRange {
    pub name: String,
    pub max: BTreeMap<String, String>,
    pub min: BTreeMap<String, String>,
    /// Default limits of containers that do not set one.
    pub default_limit: BTreeMap<String, String>,
}

/// A StorageClass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageClass {
    pub name: String,
    pub is_default: bool,
    /// Whether PVCs are bound only when a pod that mounts them is scheduled (`WaitForFirstConsumer`).
    pub binds_on_first_consumer: bool,
    pub provisioner: String,
}

/// A PersistentVolume that a new PVC can bind to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volume {
    pub class: String,
}

/// The facts about the PVC of the model cache that the plan needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PvcFacts {
    pub bound: bool,
    pub is_multi_node: bool,
    /// The requested size as a Kubernetes quantity.
    pub size: String,
    pub storage_class: String,
    /// All access modes, separated by commas.
    pub access_modes: String,
    /// `Pending`, `Bound` or `Lost`.
    pub phase: String,
}
