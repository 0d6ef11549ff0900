//! The table of permissions by command. Permissions that several commands use are named constants. Every new
//! API request of a command needs an entry here; the audit test in `tests/control_plane` fails otherwise.

mod groups;

use super::{CommandPermissions, Persona};
pub use groups::{
    ADAPTERS, COMPONENTS, COMPUTE_DOMAINS, CONFIG_MAPS, GRAPHS, JOBS, LEADER_WORKER_SETS, POD_CLIQUE_SETS,
    PORT_FORWARDS, PVCS, RESOURCE_CLAIM_TEMPLATES, SECRETS, SERVICE_ACCOUNTS,
};
use groups::{
    APPLY_COMPANIONS, CACHE_INVENTORY, CAPACITY, CHANGE_PREFLIGHT, CONNECT_TO_FRONTEND, CONNECT_TO_LISTED,
    DELETE_COMPANIONS, DEPLOYMENTS, EVENTS, FETCHER_JOB, FOLLOW_BENCH_RUN, FOLLOW_JOB, GRAPH_OBJECTS,
    LAST_APPLIED, LOGS, MODEL_OBJECTS, NAMESPACES, POD_MONITORS, PODS, PORT_FORWARD_VERBS, PREFLIGHT,
    PVC_USERS, READ_BENCH_RUN, READ_COMPANIONS, REVISION_HISTORY, REVISIONS, SMOKE_TEST,
    TREE_EVENTS_AND_LOGS, TREE_OBJECTS, UPDATE_GRAPH, WAIT_UNTIL_READY, deployer, inherited, optional,
    required,
};

/// All commands that query a cluster, ordered by persona.
pub const TABLE: &[CommandPermissions] = &[
    CommandPermissions {
        command: "completion",
        persona: Persona::Viewer,
        permission_groups: &[&[optional(GRAPHS, &["list"]), optional(NAMESPACES, &["list"])]],
    },
    CommandPermissions {
        command: "list",
        persona: Persona::Viewer,
        permission_groups: &[&[
            required(GRAPHS, &["list", "watch"]),
            optional(COMPONENTS, &["list"]),
            optional(PODS, &["list"]),
            optional(JOBS, &["list"]),
        ]],
    },
    CommandPermissions {
        command: "status",
        persona: Persona::Viewer,
        permission_groups: &[
            &[
                // `list` and `watch` are for `--wait` and `--watch`.
                required(GRAPHS, &["get", "list", "watch"]),
                optional(COMPONENTS, &["watch"]),
                optional(PODS, &["watch"]),
                optional(JOBS, &["list", "watch"]),
                inherited(PORT_FORWARDS, PORT_FORWARD_VERBS),
            ],
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
        ],
    },
    CommandPermissions {
        command: "diagnose",
        persona: Persona::Viewer,
        permission_groups: &[
            &[
                required(GRAPHS, &["get"]),
                required(JOBS, &["list"]),
                inherited(PORT_FORWARDS, PORT_FORWARD_VERBS),
            ],
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
        ],
    },
    CommandPermissions {
        command: "report",
        persona: Persona::Viewer,
        permission_groups: &[
            &[required(GRAPHS, &["get"]), optional(JOBS, &["list"])],
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
        ],
    },
    CommandPermissions {
        command: "events",
        persona: Persona::Viewer,
        permission_groups: &[
            &[required(GRAPHS, &["get"]), required(EVENTS, &["list", "watch"]), optional(JOBS, &["list"])],
            TREE_OBJECTS,
        ],
    },
    CommandPermissions {
        command: "logs",
        persona: Persona::Viewer,
        permission_groups: &[&[
            required(GRAPHS, &["get"]),
            required(PODS, &["list", "watch"]),
            required(LOGS, &["get"]),
            optional(JOBS, &["list"]),
        ]],
    },
    CommandPermissions {
        command: "endpoint",
        persona: Persona::Viewer,
        permission_groups: &[&[
            required(GRAPHS, &["get"]),
            optional(PODS, &["list"]),
            inherited(PORT_FORWARDS, PORT_FORWARD_VERBS),
        ]],
    },
    CommandPermissions {
        command: "rollout status",
        persona: Persona::Viewer,
        permission_groups: &[
            &[required(GRAPHS, &["get"])],
            WAIT_UNTIL_READY,
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
        ],
    },
    CommandPermissions {
        command: "rollout history",
        persona: Persona::Viewer,
        permission_groups: &[&[required(GRAPHS, &["get"]), required(REVISIONS, &["list"])]],
    },
    CommandPermissions {
        command: "cache list",
        persona: Persona::Viewer,
        permission_groups: &[CACHE_INVENTORY],
    },
    CommandPermissions {
        command: "bench list",
        persona: Persona::Viewer,
        permission_groups: &[&[optional(CONFIG_MAPS, &["list"]), optional(JOBS, &["list"])]],
    },
    CommandPermissions {
        command: "bench show",
        persona: Persona::Viewer,
        permission_groups: &[READ_BENCH_RUN],
    },
    CommandPermissions {
        command: "bench compare",
        persona: Persona::Viewer,
        permission_groups: &[READ_BENCH_RUN],
    },
    deployer(
        "bench run",
        &[
            CONNECT_TO_FRONTEND,
            &[
                // The access mode of the model's volume, and the GPU models of the nodes.
                optional(PVCS, &["get"]),
                optional("nodes", &["list"]),
                required(CONFIG_MAPS, &["list", "create"]),
                required(JOBS, &["create"]),
            ],
            FOLLOW_BENCH_RUN,
        ],
    ),
    deployer("bench logs", &[&[optional(GRAPHS, &["get"]), required(PODS, &["list"])], FOLLOW_BENCH_RUN]),
    deployer(
        "bench rm",
        &[READ_BENCH_RUN, &[required(CONFIG_MAPS, &["delete"]), required(JOBS, &["delete"])]],
    ),
    deployer("chat", &[CONNECT_TO_FRONTEND]),
    deployer("test", &[CONNECT_TO_FRONTEND, &[optional(POD_MONITORS, &["list"])]]),
    deployer("port-forward", &[CONNECT_TO_FRONTEND]),
    // `list` is for all deployments of a namespace or of the cluster.
    deployer("top", &[CONNECT_TO_FRONTEND, &[required(GRAPHS, &["list"])]]),
    deployer(
        "gateway config",
        &[
            CONNECT_TO_FRONTEND,
            &[
                required(GRAPHS, &["list"]),
                // For `--apply-to` and `--restart`.
                required(CONFIG_MAPS, &["get", "patch"]),
                required(DEPLOYMENTS, &["get", "patch"]),
            ],
        ],
    ),
    deployer("gateway list", &[CONNECT_TO_LISTED, &[required(SECRETS, &["get"])]]),
    deployer("gateway test", &[CONNECT_TO_FRONTEND, &[required(SECRETS, &["get"])]]),
    CommandPermissions {
        command: "render",
        persona: Persona::Deployer,
        permission_groups: &[
            &[
                required(GRAPHS, &["get"]),
                required(PVCS, &["get"]),
                required(JOBS, &["get"]),
                optional(SECRETS, &["get"]),
                optional(REVISIONS, &["list"]),
                // The version of the operator determines the default release.
                optional(DEPLOYMENTS, &["list"]),
            ],
            READ_COMPANIONS,
        ],
    },
    CommandPermissions {
        command: "diff",
        persona: Persona::Deployer,
        permission_groups: &[
            MODEL_OBJECTS,
            GRAPH_OBJECTS,
            APPLY_COMPANIONS,
            LAST_APPLIED,
            // The version of the operator determines the default release.
            &[optional(DEPLOYMENTS, &["list"])],
        ],
    },
    CommandPermissions {
        command: "up",
        persona: Persona::Deployer,
        permission_groups: &[
            MODEL_OBJECTS,
            GRAPH_OBJECTS,
            APPLY_COMPANIONS,
            PREFLIGHT,
            CAPACITY,
            FOLLOW_JOB,
            REVISION_HISTORY,
            WAIT_UNTIL_READY,
            SMOKE_TEST,
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
            &[
                // A failed Job does not retry, so it is deleted and created again.
                required(JOBS, &["delete"]),
                required(SECRETS, &["create", "patch"]),
            ],
        ],
    },
    CommandPermissions {
        command: "scale",
        persona: Persona::Deployer,
        permission_groups: &[
            UPDATE_GRAPH,
            CHANGE_PREFLIGHT,
            &[required(ADAPTERS, &["list", "patch"])],
            CAPACITY,
            REVISION_HISTORY,
            WAIT_UNTIL_READY,
            SMOKE_TEST,
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
        ],
    },
    CommandPermissions {
        command: "rollout undo",
        persona: Persona::Deployer,
        permission_groups: &[
            UPDATE_GRAPH,
            CHANGE_PREFLIGHT,
            &[required(REVISIONS, &["list"])],
            CAPACITY,
            REVISION_HISTORY,
            WAIT_UNTIL_READY,
            SMOKE_TEST,
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
        ],
    },
    CommandPermissions {
        command: "rollout restart",
        persona: Persona::Deployer,
        permission_groups: &[
            UPDATE_GRAPH,
            CHANGE_PREFLIGHT,
            CAPACITY,
            WAIT_UNTIL_READY,
            SMOKE_TEST,
            TREE_OBJECTS,
            TREE_EVENTS_AND_LOGS,
        ],
    },
    deployer("adopt", &[UPDATE_GRAPH, REVISION_HISTORY]),
    CommandPermissions {
        command: "down",
        persona: Persona::Deployer,
        permission_groups: &[
            &[
                required(GRAPHS, &["get", "list", "watch", "delete"]),
                // A dry run that checks whether the operator responds.
                optional(GRAPHS, &["patch"]),
                // Waits until the objects below the graph are deleted.
                optional(COMPONENTS, &["list", "watch"]),
                optional(DEPLOYMENTS, &["watch"]),
                required(JOBS, &["get", "create", "patch", "delete"]),
                required(PVCS, &["delete"]),
            ],
            FOLLOW_JOB,
            PVC_USERS,
            DELETE_COMPANIONS,
        ],
    },
    CommandPermissions {
        command: "cache pull",
        persona: Persona::Deployer,
        // A failed Job does not retry, so it is deleted and created again.
        permission_groups: &[
            MODEL_OBJECTS,
            FOLLOW_JOB,
            &[required(JOBS, &["delete"]), optional(SECRETS, &["get"])],
            // `--update` is refused while the model is used.
            &[required(GRAPHS, &["list"])],
            PVC_USERS,
        ],
    },
    CommandPermissions {
        command: "cache verify",
        persona: Persona::Deployer,
        permission_groups: &[CACHE_INVENTORY, &[required(PVCS, &["get"])], FETCHER_JOB, FOLLOW_JOB],
    },
    CommandPermissions {
        command: "cache rm",
        persona: Persona::Deployer,
        permission_groups: &[
            CACHE_INVENTORY,
            &[required(PVCS, &["get"]), required(GRAPHS, &["list"])],
            PVC_USERS,
            FETCHER_JOB,
            FOLLOW_JOB,
        ],
    },
    CommandPermissions {
        command: "cache prune",
        persona: Persona::Deployer,
        permission_groups: &[
            CACHE_INVENTORY,
            &[required(GRAPHS, &["list"])],
            PVC_USERS,
            FETCHER_JOB,
            FOLLOW_JOB,
        ],
    },
    CommandPermissions {
        command: "check",
        persona: Persona::Platform,
        permission_groups: &[
            PREFLIGHT,
            CAPACITY,
            &[
                // A missing permission is reported as a finding.
                optional(GRAPHS, &["get", "patch"]),
                optional(PVCS, &["get"]),
                optional(JOBS, &["get"]),
                optional(SECRETS, &["get"]),
                optional(NAMESPACES, &["get"]),
                optional(REVISIONS, &["list"]),
            ],
        ],
    },
];
