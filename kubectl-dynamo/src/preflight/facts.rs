//! What one look at a cluster tells, as plain values: whoever looks fills them in, and a test writes them down.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::Exit;
use crate::resources::GraphApi;

/// Something that was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Fact<T> {
    Known(T),
    /// It could not be looked at, and why: `no right to list nodes`.
    Hidden(String),
    /// Nobody looked.
    #[default]
    Unasked,
}

impl<T> Fact<T> {
    /// The value, where it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Hidden(_) | Self::Unasked => None,
        }
    }
}

/// Everything that was learned of a cluster, as far as it was asked and may be seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterFacts {
    /// The namespace that is meant.
    pub namespace: String,
    /// Major and minor version of Kubernetes.
    pub kubernetes: Fact<(u32, u32)>,
    /// The phase of the namespace; `None` where it does not exist.
    pub namespace_phase: Fact<Option<String>>,
    /// What the person may do in the namespace.
    pub rights: Fact<Authorizer>,
    /// `None` where no version serves DynamoGraphDeployment.
    pub platform: Fact<Option<Platform>>,
    /// Every Dynamo operator that may be seen.
    pub operators: Fact<Vec<Operator>>,
    /// The webhooks that are asked before a graph is written.
    pub webhooks: Fact<Vec<Webhook>>,
    pub nodes: Fact<Vec<Node>>,
    /// Pods that have a node, of all namespaces.
    pub pods: Fact<Vec<PodUse>>,
    /// Whether something adds nodes by itself.
    pub autoscaler: Fact<bool>,
    pub quotas: Fact<Vec<Quota>>,
    pub limit_ranges: Fact<Vec<LimitRange>>,
    pub storage_classes: Fact<Vec<StorageClass>>,
    /// Volumes that no claim has yet, or that are kept for one by name.
    pub volumes: Fact<Vec<Volume>>,
    /// The keys of the token's Secret that hold something; `None` where it does not exist.
    pub token_secret: Fact<Option<Vec<String>>>,
    /// The model, as the hub tells it to whoever asks as the pods will.
    pub model: Fact<HubModel>,
}

/// What the hub tells of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubModel {
    Known(ModelFacts),
    /// It is not shown, or not given, without a token.
    Refused(Refusal),
}

/// A model that the hub gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelFacts {
    pub commit: String,
    /// Files that a fetch brings.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
    /// Bytes of the weights among them that an engine loads.
    pub weight_bytes: u64,
    /// Its `config.json`, where that was asked for.
    pub config: Option<Value>,
}

/// Why the hub does not give a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub text: String,
    pub hint: String,
    pub exit: Exit,
}

impl ModelFacts {
    /// The commit, as short as git shows it.
    pub fn revision(&self) -> &str {
        self.commit.get(..7).unwrap_or(&self.commit)
    }
}

impl ClusterFacts {
    /// The model, where the hub gives it.
    pub fn model(&self) -> Option<&ModelFacts> {
        match self.model.known()? {
            HubModel::Known(model) => Some(model),
            HubModel::Refused(_) => None,
        }
    }
}

/// What the cluster's discovery says of the Dynamo platform; any logged-in user may ask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Platform {
    /// The shape that is stored. The other one may be served and still come back empty.
    pub graph_api: GraphApi,
    /// Whether the group is served as v1beta1 at all: it is from Dynamo 1.0 on.
    pub serves_v1beta1: bool,
    /// Whether v1beta1 knows DynamoGraphDeployment: it does from 1.2 on.
    pub serves_v1beta1_graph: bool,
    /// Whether Grove is there, which puts its own limit on names.
    pub grove: bool,
    /// Whether LeaderWorkerSet is there, for workers of several nodes without Grove.
    pub leader_worker_sets: bool,
    /// Whether Volcano is there, which the operator uses together with LeaderWorkerSet.
    pub volcano: bool,
    /// Whether the KAI scheduler is there.
    pub kai_scheduler: bool,
    /// Whether Karpenter is there, which adds nodes.
    pub karpenter: bool,
    /// Whether nodes come and go by EKS Auto Mode, which has a NodeClass of its own.
    pub eks_auto_mode: bool,
    /// Whether Prometheus' operator is there to collect what pods say (its PodMonitor).
    pub pod_monitors: bool,
}

/// What a person may do in a namespace, by the API server's own word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Authorizer {
    pub rules: Vec<Rule>,
    /// Whether there may be more rights than the rules tell, as with the authorizers of some clouds.
    pub incomplete: bool,
}

/// One rule: all these verbs on all these resources, with `*` for any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    pub verbs: Vec<String>,
    pub groups: Vec<String>,
    pub resources: Vec<String>,
}

/// A Dynamo operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Operator {
    /// `namespace/name` of its Deployment.
    pub deployment: String,
    /// The tag of its image.
    pub version: Option<String>,
    pub ready: u64,
    pub wanted: u64,
}

/// A webhook that is asked before a graph is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Webhook {
    pub name: String,
    /// `namespace/name` of its Service; absent where it is reached by an address.
    pub service: Option<String>,
    /// How many addresses behind the Service are ready.
    pub ready: Fact<usize>,
    /// Whether nothing can be written while it does not answer.
    pub must_answer: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub ready: bool,
    pub cordoned: bool,
    /// GPUs that pods may ask it for.
    pub gpus: u64,
    /// Whether pods may ask it for an RDMA device.
    pub rdma: bool,
}

/// A taint of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: String,
}

/// What a pod holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodUse {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub gpus: u64,
    /// The claims it mounts.
    pub claims: Vec<String>,
    /// The graph it is of.
    pub graph: Option<String>,
}

/// A ResourceQuota: what may be used of each resource and what is, in Kubernetes' own words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Quota {
    pub name: String,
    pub hard: BTreeMap<String, String>,
    pub used: BTreeMap<String, String>,
    /// Whether it counts only some pods.
    pub scoped: bool,
}

/// What a LimitRange says of one container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitRange {
    pub name: String,
    pub max: BTreeMap<String, String>,
    pub min: BTreeMap<String, String>,
    /// The limit of a container that has none.
    pub default_limit: BTreeMap<String, String>,
}

/// A StorageClass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StorageClass {
    pub name: String,
    pub is_default: bool,
    /// Whether a claim gets its volume only when a pod that mounts it has a node.
    pub binds_late: bool,
}

/// A PersistentVolume that a new claim may get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Volume {
    pub class: String,
}

/// What is known of the claim that holds models, as far as the plan needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClaimFacts {
    pub bound: bool,
    pub many_nodes: bool,
    /// What was requested, as the claim spells it.
    pub size: String,
    pub storage_class: String,
    /// All of them, with commas between.
    pub access_modes: String,
    /// `Pending`, `Bound` or `Lost`.
    pub phase: String,
}
