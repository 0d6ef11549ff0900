//! The table itself. What several verbs share has a name of its own; a verb that begins to ask for something else
//! gets it here, and the audit test of the control-plane tier says so when it does not.

use super::{Calls, Need, Persona, VerbRights};

pub(crate) const GRAPHS: &str = "dynamographdeployments.nvidia.com";
pub(crate) const COMPONENTS: &str = "dynamocomponentdeployments.nvidia.com";
const ADAPTERS: &str = "dynamographdeploymentscalingadapters.nvidia.com";
const REVISIONS: &str = "controllerrevisions.apps";
pub(crate) const CLAIMS: &str = "persistentvolumeclaims";
const DEPLOYMENTS: &str = "deployments.apps";
pub(crate) const LEADER_WORKER_SETS: &str = "leaderworkersets.leaderworkerset.x-k8s.io";
pub(crate) const POD_CLIQUE_SETS: &str = "podcliquesets.grove.io";
const STATEFUL_SETS: &str = "statefulsets.apps";
pub(crate) const JOBS: &str = "jobs.batch";
const PODS: &str = "pods";
const LOGS: &str = "pods/log";
pub(crate) const TUNNELS: &str = "pods/portforward";
const EVENTS: &str = "events";
pub(crate) const SECRETS: &str = "secrets";
const NAMESPACES: &str = "namespaces";

const fn must(resource: &'static str, verbs: &'static [&'static str]) -> Calls {
    Calls { resource, verbs, need: Need::Required }
}

const fn may(resource: &'static str, verbs: &'static [&'static str]) -> Calls {
    Calls { resource, verbs, need: Need::Optional }
}

const fn borrows(resource: &'static str, verbs: &'static [&'static str]) -> Calls {
    Calls { resource, verbs, need: Need::Borrowed }
}

/// A tunnel is opened as kubectl opens one, by `create`, and by a WebSocket where a proxy lets nothing else through: that
/// is `get` until Kubernetes 1.34, and `create` as well from 1.35 on.
const TUNNEL: &[&str] = &["create", "get"];

/// The objects below a graph.
const TREE_OBJECTS: &[Calls] = &[
    may(COMPONENTS, &["list"]),
    may(DEPLOYMENTS, &["list"]),
    may(LEADER_WORKER_SETS, &["list"]),
    may(POD_CLIQUE_SETS, &["list"]),
    may(PODS, &["list"]),
    may(CLAIMS, &["list"]),
];

/// What they say, for a verdict on it.
const TREE_WORDS: &[Calls] = &[may(EVENTS, &["list"]), may(LOGS, &["get"])];

/// Talking to a frontend is the purpose.
const TALK: &[Calls] = &[must(GRAPHS, &["get"]), must(PODS, &["list"]), must(TUNNELS, TUNNEL)];

/// A claim and a fetch Job: asking the API server what they would become, and making them.
const MODEL_OBJECTS: &[Calls] =
    &[must(CLAIMS, &["get", "create", "patch"]), must(JOBS, &["get", "create", "patch"])];

/// What `up` would apply.
const OBJECTS: &[Calls] = &[must(GRAPHS, &["get", "create", "patch"]), may(SECRETS, &["get"])];

/// What a preflight looks at, beside the namespace's own objects. What may not be seen is skipped and counted.
const PREFLIGHT: &[Calls] = &[
    may("selfsubjectrulesreviews.authorization.k8s.io", &["create"]),
    may(DEPLOYMENTS, &["list"]),
    may("validatingwebhookconfigurations.admissionregistration.k8s.io", &["list"]),
    may("mutatingwebhookconfigurations.admissionregistration.k8s.io", &["list"]),
    may("endpointslices.discovery.k8s.io", &["list"]),
    may("storageclasses.storage.k8s.io", &["list"]),
    may("persistentvolumes", &["list"]),
];

/// What tells whether new pods find room.
const ROOM: &[Calls] = &[
    may("nodes", &["list"]),
    // The cluster autoscaler's own account of itself.
    may("configmaps", &["get"]),
    may(PODS, &["list"]),
    may("resourcequotas", &["list"]),
    may("limitranges", &["list"]),
];

/// Watching a graph until it is ready.
const UNTIL_READY: &[Calls] = &[
    must(GRAPHS, &["list", "watch"]),
    may(PODS, &["watch"]),
    may(COMPONENTS, &["watch"]),
    may(DEPLOYMENTS, &["watch"]),
    may(EVENTS, &["watch"]),
];

/// Asking it for a completion then.
const SMOKE_TEST: &[Calls] = &[must(PODS, &["list"]), must(TUNNELS, TUNNEL)];

/// A graph that is there, and another spec for it.
const CHANGE: &[Calls] = &[must(GRAPHS, &["get", "patch"])];

/// Keeping what was applied, to come back to, and letting the oldest go.
const KEEP: &[Calls] = &[may(REVISIONS, &["list", "create", "patch", "delete"])];

/// Following a Job to its end, and what its fetcher says; a log that breaks off is read on while the pod runs.
const FOLLOW_JOB: &[Calls] = &[
    must(JOBS, &["list", "watch"]),
    may(PODS, &["get", "list", "watch"]),
    may(LOGS, &["get"]),
    may(EVENTS, &["list", "watch"]),
];

/// Who mounts a claim.
const MOUNTS: &[Calls] =
    &[must(PODS, &["list"]), must(DEPLOYMENTS, &["list"]), must(STATEFUL_SETS, &["list"])];

/// What is known of models on claims.
const KNOWN_MODELS: &[Calls] = &[
    must(CLAIMS, &["list"]),
    may(JOBS, &["list"]),
    may(GRAPHS, &["list"]),
    may(PODS, &["list"]),
    may(DEPLOYMENTS, &["list"]),
    may(STATEFUL_SETS, &["list"]),
];

/// A Job of the fetcher on a claim: made, followed and taken away.
const FETCHER_JOB: &[Calls] = &[must(JOBS, &["get", "create", "patch", "delete"])];

/// All verbs that ask a cluster, those of viewers first.
pub const TABLE: &[VerbRights] = &[
    VerbRights {
        verb: "completion",
        persona: Persona::Viewer,
        calls: &[&[may(GRAPHS, &["list"]), may(NAMESPACES, &["list"])]],
    },
    VerbRights {
        verb: "list",
        persona: Persona::Viewer,
        calls: &[&[must(GRAPHS, &["list", "watch"]), may(COMPONENTS, &["list"])]],
    },
    VerbRights {
        verb: "status",
        persona: Persona::Viewer,
        calls: &[
            &[
                must(GRAPHS, &["get"]),
                may(GRAPHS, &["list", "watch"]),
                may(COMPONENTS, &["watch"]),
                may(PODS, &["watch"]),
                may(JOBS, &["list", "watch"]),
                borrows(TUNNELS, TUNNEL),
            ],
            TREE_OBJECTS,
            TREE_WORDS,
        ],
    },
    VerbRights {
        verb: "diagnose",
        persona: Persona::Viewer,
        calls: &[
            &[must(GRAPHS, &["get"]), must(JOBS, &["list"]), borrows(TUNNELS, TUNNEL)],
            TREE_OBJECTS,
            TREE_WORDS,
        ],
    },
    VerbRights {
        verb: "report",
        persona: Persona::Viewer,
        calls: &[&[must(GRAPHS, &["get"]), may(JOBS, &["list"])], TREE_OBJECTS, TREE_WORDS],
    },
    VerbRights {
        verb: "events",
        persona: Persona::Viewer,
        calls: &[
            &[must(GRAPHS, &["get"]), must(EVENTS, &["list", "watch"]), may(JOBS, &["list"])],
            TREE_OBJECTS,
        ],
    },
    VerbRights {
        verb: "logs",
        persona: Persona::Viewer,
        calls: &[&[
            must(GRAPHS, &["get"]),
            must(PODS, &["list", "watch"]),
            must(LOGS, &["get"]),
            may(JOBS, &["list"]),
        ]],
    },
    VerbRights {
        verb: "endpoint",
        persona: Persona::Viewer,
        calls: &[&[must(GRAPHS, &["get"]), may(PODS, &["list"]), borrows(TUNNELS, TUNNEL)]],
    },
    VerbRights {
        verb: "rollout status",
        persona: Persona::Viewer,
        calls: &[&[must(GRAPHS, &["get"])], UNTIL_READY, TREE_OBJECTS, TREE_WORDS],
    },
    VerbRights {
        verb: "rollout history",
        persona: Persona::Viewer,
        calls: &[&[must(GRAPHS, &["get"]), must(REVISIONS, &["list"])]],
    },
    VerbRights { verb: "cache list", persona: Persona::Viewer, calls: &[KNOWN_MODELS] },
    VerbRights { verb: "chat", persona: Persona::Deployer, calls: &[TALK] },
    VerbRights { verb: "port-forward", persona: Persona::Deployer, calls: &[TALK] },
    VerbRights {
        verb: "render",
        persona: Persona::Deployer,
        calls: &[&[
            must(GRAPHS, &["get"]),
            must(CLAIMS, &["get"]),
            must(JOBS, &["get"]),
            may(SECRETS, &["get"]),
        ]],
    },
    VerbRights { verb: "diff", persona: Persona::Deployer, calls: &[MODEL_OBJECTS, OBJECTS] },
    VerbRights {
        verb: "up",
        persona: Persona::Deployer,
        calls: &[
            MODEL_OBJECTS,
            OBJECTS,
            PREFLIGHT,
            ROOM,
            FOLLOW_JOB,
            KEEP,
            UNTIL_READY,
            SMOKE_TEST,
            TREE_OBJECTS,
            TREE_WORDS,
            &[
                // A failed Job never tries again, so it is made anew.
                must(JOBS, &["delete"]),
                must(SECRETS, &["create", "patch"]),
            ],
        ],
    },
    VerbRights {
        verb: "scale",
        persona: Persona::Deployer,
        calls: &[
            CHANGE,
            &[must(ADAPTERS, &["list", "patch"])],
            ROOM,
            KEEP,
            UNTIL_READY,
            SMOKE_TEST,
            TREE_OBJECTS,
            TREE_WORDS,
        ],
    },
    VerbRights {
        verb: "rollout undo",
        persona: Persona::Deployer,
        calls: &[
            CHANGE,
            &[must(REVISIONS, &["list"])],
            ROOM,
            KEEP,
            UNTIL_READY,
            SMOKE_TEST,
            TREE_OBJECTS,
            TREE_WORDS,
        ],
    },
    VerbRights {
        verb: "rollout restart",
        persona: Persona::Deployer,
        calls: &[CHANGE, UNTIL_READY, SMOKE_TEST, TREE_OBJECTS, TREE_WORDS],
    },
    VerbRights { verb: "adopt", persona: Persona::Deployer, calls: &[CHANGE, KEEP] },
    VerbRights {
        verb: "down",
        persona: Persona::Deployer,
        calls: &[
            &[
                must(GRAPHS, &["get", "list", "watch", "delete"]),
                // A dry run that asks whether the operator still answers.
                may(GRAPHS, &["patch"]),
                // What is below it, until it is gone.
                may(COMPONENTS, &["list", "watch"]),
                may(DEPLOYMENTS, &["watch"]),
                must(JOBS, &["get", "create", "patch", "delete"]),
                must(CLAIMS, &["delete"]),
            ],
            FOLLOW_JOB,
            MOUNTS,
        ],
    },
    VerbRights {
        verb: "cache pull",
        persona: Persona::Deployer,
        // A failed Job never tries again, so it is made anew.
        calls: &[MODEL_OBJECTS, FOLLOW_JOB, &[must(JOBS, &["delete"]), may(SECRETS, &["get"])]],
    },
    VerbRights {
        verb: "cache verify",
        persona: Persona::Deployer,
        calls: &[KNOWN_MODELS, &[must(CLAIMS, &["get"])], FETCHER_JOB, FOLLOW_JOB],
    },
    VerbRights {
        verb: "cache rm",
        persona: Persona::Deployer,
        calls: &[
            KNOWN_MODELS,
            &[must(CLAIMS, &["get"]), must(GRAPHS, &["list"])],
            MOUNTS,
            FETCHER_JOB,
            FOLLOW_JOB,
        ],
    },
    VerbRights {
        verb: "cache prune",
        persona: Persona::Deployer,
        calls: &[KNOWN_MODELS, &[must(GRAPHS, &["list"])], MOUNTS, FETCHER_JOB, FOLLOW_JOB],
    },
    VerbRights {
        verb: "check",
        persona: Persona::Platform,
        calls: &[
            PREFLIGHT,
            ROOM,
            &[
                // What may not be seen is a finding of its own.
                may(GRAPHS, &["get", "patch"]),
                may(CLAIMS, &["get"]),
                may(JOBS, &["get"]),
                may(SECRETS, &["get"]),
                may(NAMESPACES, &["get"]),
            ],
        ],
    },
];
