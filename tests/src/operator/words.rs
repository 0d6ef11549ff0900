//! The names that Dynamo's operators write: labels, annotations, the finalizer.

pub(super) const GROUP: &str = "nvidia.com";
pub(super) const FINALIZER: &str = "nvidia.com/finalizer";

pub(super) const GRAPH: &str = "nvidia.com/dynamo-graph-deployment-name";
pub(super) const COMPONENT: &str = "nvidia.com/dynamo-component";
pub(super) const COMPONENT_TYPE: &str = "nvidia.com/dynamo-component-type";
pub(super) const SUB_COMPONENT_TYPE: &str = "nvidia.com/dynamo-sub-component-type";
pub(super) const DYNAMO_NAMESPACE: &str = "nvidia.com/dynamo-namespace";
pub(super) const WORKER_HASH: &str = "nvidia.com/dynamo-worker-hash";
pub(super) const SELECTOR: &str = "nvidia.com/selector";
pub(super) const METRICS: &str = "nvidia.com/metrics-enabled";
pub(super) const DISCOVERY_BACKEND: &str = "nvidia.com/dynamo-discovery-backend";
pub(super) const DISCOVERY_ENABLED: &str = "nvidia.com/dynamo-discovery-enabled";

pub(super) const CURRENT_HASH: &str = "nvidia.com/current-worker-hash-v2";
pub(super) const ORIGIN_VERSION: &str = "nvidia.com/dynamo-operator-origin-version";
pub(super) const RESTART_AT: &str = "nvidia.com/restartAt";
pub(super) const WORKLOAD_PROVIDER: &str = "nvidia.com/workload-provider";
pub(super) const LAST_APPLIED_HASH: &str = "nvidia.com/last-applied-hash";
pub(super) const LAST_APPLIED_GENERATION: &str = "nvidia.com/last-applied-generation";
pub(super) const DEPLOYMENT_TARGET: &str = "nvidia.com/dynamo-deployment-target-type";

/// Who the operators are in `managedFields`.
pub(super) const MANAGER: &str = "manager";

/// The namespace of Dynamo's own runtime for a graph; dots are not allowed in it.
pub(super) fn dynamo_namespace(namespace: &str, graph: &str) -> String {
    format!("{namespace}-{}", graph.replace('.', "-"))
}
