//! Names that Dynamo's operators write: labels, annotations, the finalizer.
//! They must not be imported from the code under test.

pub(super) const API_GROUP: &str = "nvidia.com";
pub(super) const FINALIZER: &str = "nvidia.com/finalizer";

pub(super) const GRAPH_LABEL: &str = "nvidia.com/dynamo-graph-deployment-name";
pub(super) const COMPONENT_LABEL: &str = "nvidia.com/dynamo-component";
pub(super) const COMPONENT_TYPE_LABEL: &str = "nvidia.com/dynamo-component-type";
pub(super) const SUB_COMPONENT_TYPE_LABEL: &str = "nvidia.com/dynamo-sub-component-type";
pub(super) const DYNAMO_NAMESPACE_LABEL: &str = "nvidia.com/dynamo-namespace";
pub(super) const WORKER_HASH_LABEL: &str = "nvidia.com/dynamo-worker-hash";
pub(super) const SELECTOR_LABEL: &str = "nvidia.com/selector";
pub(super) const METRICS_LABEL: &str = "nvidia.com/metrics-enabled";
pub(super) const DISCOVERY_BACKEND: &str = "nvidia.com/dynamo-discovery-backend";
pub(super) const DISCOVERY_ENABLED: &str = "nvidia.com/dynamo-discovery-enabled";

pub(super) const CURRENT_HASH: &str = "nvidia.com/current-worker-hash-v2";
pub(super) const ORIGIN_VERSION: &str = "nvidia.com/dynamo-operator-origin-version";
pub(super) const RESTART_AT: &str = "nvidia.com/restartAt";
pub(super) const WORKLOAD_PROVIDER: &str = "nvidia.com/workload-provider";
pub(super) const LAST_APPLIED_HASH: &str = "nvidia.com/last-applied-hash";
pub(super) const LAST_APPLIED_GENERATION: &str = "nvidia.com/last-applied-generation";
pub(super) const DEPLOYMENT_TARGET: &str = "nvidia.com/dynamo-deployment-target-type";

/// Field manager of the operators in `managedFields`.
pub(super) const FIELD_MANAGER: &str = "manager";

/// Returns the namespace of Dynamo's runtime for a graph. Dots are not allowed in it.
pub(super) fn dynamo_namespace(namespace: &str, graph: &str) -> String {
    format!("{namespace}-{}", graph.replace('.', "-"))
}
