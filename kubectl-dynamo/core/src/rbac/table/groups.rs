//! The resources and the groups of permissions of which the table consists: what a step of a command uses.

use crate::rbac::{CommandPermissions, Persona, Requirement, ResourcePermissions};

pub const GRAPHS: &str = "dynamographdeployments.nvidia.com";
pub const COMPONENTS: &str = "dynamocomponentdeployments.nvidia.com";
pub const ADAPTERS: &str = "dynamographdeploymentscalingadapters.nvidia.com";
pub(super) const REVISIONS: &str = "controllerrevisions.apps";
pub const PVCS: &str = "persistentvolumeclaims";
pub(super) const DEPLOYMENTS: &str = "deployments.apps";
pub const LEADER_WORKER_SETS: &str = "leaderworkersets.leaderworkerset.x-k8s.io";
pub const POD_CLIQUE_SETS: &str = "podcliquesets.grove.io";
pub(super) const STATEFUL_SETS: &str = "statefulsets.apps";
pub const JOBS: &str = "jobs.batch";
pub(super) const PODS: &str = "pods";
pub(super) const LOGS: &str = "pods/log";
pub const PORT_FORWARDS: &str = "pods/portforward";
pub(super) const EVENTS: &str = "events";
pub const SECRETS: &str = "secrets";
pub const SERVICE_ACCOUNTS: &str = "serviceaccounts";
pub(super) const NAMESPACES: &str = "namespaces";
pub const CONFIG_MAPS: &str = "configmaps";
pub const RESOURCE_CLAIM_TEMPLATES: &str = "resourceclaimtemplates.resource.k8s.io";
pub(super) const POD_MONITORS: &str = "podmonitors.monitoring.coreos.com";
pub const COMPUTE_DOMAINS: &str = "computedomains.resource.nvidia.com";

pub(super) const fn required(resource: &'static str, verbs: &'static [&'static str]) -> ResourcePermissions {
    ResourcePermissions { resource, verbs, requirement: Requirement::Required }
}

pub(super) const fn optional(resource: &'static str, verbs: &'static [&'static str]) -> ResourcePermissions {
    ResourcePermissions { resource, verbs, requirement: Requirement::Optional }
}

pub(super) const fn inherited(resource: &'static str, verbs: &'static [&'static str]) -> ResourcePermissions {
    ResourcePermissions { resource, verbs, requirement: Requirement::Inherited }
}

pub(super) const fn deployer(
    command: &'static str,
    permission_groups: &'static [&'static [ResourcePermissions]],
) -> CommandPermissions {
    CommandPermissions { command, persona: Persona::Deployer, permission_groups }
}

/// Verbs for port-forwarding. SPDY, which kubectl uses, needs `create`. WebSocket, the fallback behind
/// proxies, needs `get` up to Kubernetes 1.34 and also `create` since 1.35.
pub(super) const PORT_FORWARD_VERBS: &[&str] = &["create", "get"];

/// The objects below a graph.
pub(super) const TREE_OBJECTS: &[ResourcePermissions] = &[
    optional(COMPONENTS, &["list"]),
    optional(DEPLOYMENTS, &["list"]),
    optional(LEADER_WORKER_SETS, &["list"]),
    optional(POD_CLIQUE_SETS, &["list"]),
    optional(PODS, &["list"]),
    optional(PVCS, &["list"]),
];

/// Events and logs of the objects below a graph, for diagnosis.
pub(super) const TREE_EVENTS_AND_LOGS: &[ResourcePermissions] =
    &[optional(EVENTS, &["list"]), optional(LOGS, &["get"])];

/// Connecting to a frontend.
pub(super) const CONNECT_TO_FRONTEND: &[ResourcePermissions] =
    &[required(GRAPHS, &["get"]), required(PODS, &["list"]), required(PORT_FORWARDS, PORT_FORWARD_VERBS)];

/// Connecting to the frontends of all deployments of a namespace or of the cluster.
pub(super) const CONNECT_TO_LISTED: &[ResourcePermissions] =
    &[required(GRAPHS, &["list"]), required(PODS, &["list"]), required(PORT_FORWARDS, PORT_FORWARD_VERBS)];

/// Dry runs and creation of the PVC and the fetch Job.
pub(super) const MODEL_OBJECTS: &[ResourcePermissions] =
    &[required(PVCS, &["get", "create", "patch"]), required(JOBS, &["get", "create", "patch"])];

/// The objects that `up` applies besides the PVC and the fetch Job.
pub(super) const GRAPH_OBJECTS: &[ResourcePermissions] =
    &[required(GRAPHS, &["get", "create", "patch"]), optional(SECRETS, &["get"])];

/// The kinds that a file may contain next to its graph. They are required only for such a file.
pub(super) const APPLY_COMPANIONS: &[ResourcePermissions] = &[
    required(CONFIG_MAPS, &["get", "create", "patch"]),
    required(RESOURCE_CLAIM_TEMPLATES, &["get", "create", "patch"]),
    required(COMPUTE_DOMAINS, &["get", "create", "patch"]),
];

/// Without them, `down` retains these objects and reports it.
pub(super) const DELETE_COMPANIONS: &[ResourcePermissions] = &[
    optional(CONFIG_MAPS, &["get", "delete"]),
    optional(RESOURCE_CLAIM_TEMPLATES, &["get", "delete"]),
    optional(COMPUTE_DOMAINS, &["get", "delete"]),
];

pub(super) const READ_COMPANIONS: &[ResourcePermissions] = &[
    required(CONFIG_MAPS, &["get"]),
    required(RESOURCE_CLAIM_TEMPLATES, &["get"]),
    required(COMPUTE_DOMAINS, &["get"]),
];

/// Preflight checks outside the namespace's deployment objects. Checks without permission are skipped.
pub(super) const PREFLIGHT: &[ResourcePermissions] = &[
    optional("selfsubjectrulesreviews.authorization.k8s.io", &["create"]),
    optional(DEPLOYMENTS, &["list"]),
    optional("validatingwebhookconfigurations.admissionregistration.k8s.io", &["list"]),
    optional("mutatingwebhookconfigurations.admissionregistration.k8s.io", &["list"]),
    optional("endpointslices.discovery.k8s.io", &["list"]),
    optional("storageclasses.storage.k8s.io", &["list"]),
    optional("persistentvolumes", &["list"]),
    // Their pull Secrets, if a registry requires credentials.
    optional(SERVICE_ACCOUNTS, &["get"]),
];

/// The checks of a command that changes an existing deployment. It does not change its volume, and the operator has
/// already accepted objects of this cluster.
pub(super) const CHANGE_PREFLIGHT: &[ResourcePermissions] = &[
    optional("selfsubjectrulesreviews.authorization.k8s.io", &["create"]),
    optional(DEPLOYMENTS, &["list"]),
];

/// Capacity checks for new pods.
pub(super) const CAPACITY: &[ResourcePermissions] = &[
    optional("nodes", &["list"]),
    // Status of the cluster autoscaler.
    optional(CONFIG_MAPS, &["get"]),
    optional(PODS, &["list"]),
    optional("resourcequotas", &["list"]),
    optional("limitranges", &["list"]),
];

/// Watching a graph until it becomes ready.
pub(super) const WAIT_UNTIL_READY: &[ResourcePermissions] = &[
    required(GRAPHS, &["list", "watch"]),
    optional(PODS, &["watch"]),
    optional(COMPONENTS, &["watch"]),
    optional(DEPLOYMENTS, &["watch"]),
    optional(EVENTS, &["watch"]),
];

/// Sending a test completion to the frontend.
pub(super) const SMOKE_TEST: &[ResourcePermissions] =
    &[required(PODS, &["list"]), required(PORT_FORWARDS, PORT_FORWARD_VERBS)];

/// Updating an existing graph.
pub(super) const UPDATE_GRAPH: &[ResourcePermissions] = &[required(GRAPHS, &["get", "patch"])];

/// The last applied fields of an adopted graph.
pub(super) const LAST_APPLIED: &[ResourcePermissions] = &[optional(REVISIONS, &["list"])];

/// Storing revisions for rollbacks, and deleting the oldest revisions.
pub(super) const REVISION_HISTORY: &[ResourcePermissions] =
    &[optional(REVISIONS, &["list", "create", "patch", "delete"])];

/// Watching a Job and its fetcher's log until the Job finishes. An interrupted log is resumed while the pod runs.
pub(super) const FOLLOW_JOB: &[ResourcePermissions] = &[
    required(JOBS, &["list", "watch"]),
    optional(PODS, &["get", "list", "watch"]),
    optional(LOGS, &["get"]),
    optional(EVENTS, &["list", "watch"]),
];

/// Reading the record of a benchmark run, and whether its Job still runs.
pub(super) const READ_BENCH_RUN: &[ResourcePermissions] =
    &[required(CONFIG_MAPS, &["get"]), required(JOBS, &["get"])];

/// Following the Job of a benchmark, and storing its results. A run that did not measure anything is deleted.
pub(super) const FOLLOW_BENCH_RUN: &[ResourcePermissions] = &[
    required(CONFIG_MAPS, &["get", "patch", "delete"]),
    required(JOBS, &["get", "list", "watch", "delete"]),
    required(PODS, &["list", "watch"]),
    required(LOGS, &["get"]),
    // Whether a pod whose log ends still runs.
    optional(PODS, &["get"]),
    optional(EVENTS, &["list", "watch"]),
];

/// Finding the users of a PVC.
pub(super) const PVC_USERS: &[ResourcePermissions] =
    &[required(PODS, &["list"]), required(DEPLOYMENTS, &["list"]), required(STATEFUL_SETS, &["list"])];

/// Inventory of the models on PVCs.
pub(super) const CACHE_INVENTORY: &[ResourcePermissions] = &[
    required(PVCS, &["list"]),
    optional(JOBS, &["list"]),
    optional(GRAPHS, &["list"]),
    optional(PODS, &["list"]),
    optional(DEPLOYMENTS, &["list"]),
    optional(STATEFUL_SETS, &["list"]),
];

/// Creating and deleting a model-fetcher Job.
pub(super) const FETCHER_JOB: &[ResourcePermissions] =
    &[required(JOBS, &["get", "create", "patch", "delete"])];
