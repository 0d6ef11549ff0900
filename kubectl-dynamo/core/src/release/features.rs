//! The differences between releases: one enum per difference, with the flag or variable name of each variant.
//! Only `catalog.rs` assigns variants to releases. `docs/reference/releases.md` shows the `Display` texts.

use std::fmt;

/// How the role of a worker (aggregated, prefill, or decode) is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleSpelling {
    /// `--is-prefill-worker` and `--is-decode-worker`.
    Booleans,
    /// `--disaggregation-mode prefill|decode`.
    DisaggregationMode,
}

/// How a KV connector of vLLM is selected: NIXL for transfer between prefill and decode, KVBM for offload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorSpelling {
    /// `--connector nixl|kvbm|none`. Even an aggregated worker uses `nixl` unless `none` is set.
    Connector,
    /// `--kv-transfer-config JSON`, for prefill and decode workers. Aggregated workers do not need it.
    KvTransferConfig,
}

/// When vLLM workers publish KV events to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvEvents {
    /// Always, if prefix caching is enabled.
    Automatic,
    /// Only with `--kv-events-config`, on aggregated and prefill workers.
    Configured,
}

/// Variable that disables KV events in the KV router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvEventsSwitch {
    KvEvents,
    RouterUseKvEvents,
}

impl KvEventsSwitch {
    /// Name of the frontend's variable. The value `false` disables the events.
    pub fn variable(self) -> &'static str {
        match self {
            Self::KvEvents => "DYN_KV_EVENTS",
            Self::RouterUseKvEvents => "DYN_ROUTER_USE_KV_EVENTS",
        }
    }
}

/// Whether frontends keep the requests of a session on one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionAffinity {
    /// The frontends do not know sessions.
    None,
    /// Each frontend has its own sessions.
    EachFrontend,
    /// The frontends share their sessions over the event plane.
    AllFrontends,
}

/// Setting for the weight of cached blocks relative to load. Dynamo renamed it twice. The second time it was
/// split into two settings; the load scale is the equivalent (Dynamo also reads the old weight as the load
/// scale).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlapSetting {
    KvOverlapScoreWeight,
    RouterKvOverlapScoreWeight,
    RouterPrefillLoadScale,
}

impl OverlapSetting {
    /// Name of the frontend's variable.
    pub fn variable(self) -> &'static str {
        match self {
            Self::KvOverlapScoreWeight => "DYN_KV_OVERLAP_SCORE_WEIGHT",
            Self::RouterKvOverlapScoreWeight => "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT",
            Self::RouterPrefillLoadScale => "DYN_ROUTER_PREFILL_LOAD_SCALE",
        }
    }
}

/// Setting for the lifetime of the KV router's predictions about a worker's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterTtl {
    Ttl,
    TtlSecs,
}

impl RouterTtl {
    /// Name of the frontend's variable. The unit is seconds.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Ttl => "DYN_ROUTER_TTL",
            Self::TtlSecs => "DYN_ROUTER_TTL_SECS",
        }
    }
}

/// Where the migration limit (how often a request may move to another worker) is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationLimit {
    /// In every worker, with `--migration-limit`.
    Worker,
    /// In the frontend, with `DYN_MIGRATION_LIMIT`. Workers reject the flag.
    Frontend,
}

/// How processes outside Kubernetes discover each other through files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDiscovery {
    /// `--store-kv file`. The mocker also requires NATS.
    StoreKv,
    /// `DYN_DISCOVERY_BACKEND=file`, without another service.
    DiscoveryBackend,
}

/// Where the frontend reads the model card from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelCard {
    /// From the frontend's disk or the hub, by the served name. The name must resolve as a path below the
    /// mount.
    FrontendResolvesName,
    /// From the frontend's disk, by the worker's model path.
    FrontendReadsPath,
    /// From the workers.
    WorkersServe,
}

/// What the mocker uses to read a model's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigurationReader {
    /// Dynamo, without an additional package.
    Dynamo,
    /// The transformers package.
    Transformers,
}

/// Support for KVBM, which offloads KV cache to CPU memory and disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kvbm {
    /// Works. Dynamo's examples disable CUDA graphs with it.
    Eager,
    Works,
    /// Works if vLLM's hybrid KV cache manager is disabled.
    WithoutHybridCache,
    /// Works like `WithoutHybridCache`, but an aggregated worker stalls at startup (a known issue of the
    /// release).
    StallsAggregated,
    /// Works if the hybrid manager is disabled, and is deprecated.
    Deprecated,
}

/// How the operator of the release starts multi-node vLLM workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// With Ray, started by a shell command line that contains the arguments without quotes.
    Ray,
    /// With vLLM processes, which receive every argument unchanged.
    Processes,
}

/// CUDA version of the release's vLLM images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CudaImages {
    /// CUDA 12, or CUDA 13 with the suffix.
    TwelveOrThirteen,
    /// CUDA 13, without a suffix.
    Thirteen,
}

/// Tag suffix of CUDA 13 images, for releases with CUDA 12 and CUDA 13 images.
pub const CUDA_13_SUFFIX: &str = "-cuda13";

/// What the release's operator requires of an image tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageTag {
    /// No requirement.
    Any,
    /// A version, or the version field, which exists in v1alpha1 and v1beta1.
    VersionInEitherApi,
    /// A version, or the version field, which exists only in v1beta1.
    Version,
}

impl fmt::Display for RoleSpelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Booleans => "`--is-prefill-worker`, `--is-decode-worker`",
            Self::DisaggregationMode => "`--disaggregation-mode`",
        })
    }
}

impl fmt::Display for ConnectorSpelling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connector => "`--connector` (`none` disables it)",
            Self::KvTransferConfig => "`--kv-transfer-config`",
        })
    }
}

impl fmt::Display for KvEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Automatic => "automatic",
            Self::Configured => "`--kv-events-config`",
        })
    }
}

impl fmt::Display for MigrationLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker: `--migration-limit`",
            Self::Frontend => "frontend: `DYN_MIGRATION_LIMIT`",
        })
    }
}

impl fmt::Display for SessionAffinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::EachFrontend => "`DYN_ROUTER_SESSION_AFFINITY_TTL_SECS`, in each frontend",
            Self::AllFrontends => "`DYN_ROUTER_SESSION_AFFINITY_TTL_SECS`, across frontends",
        })
    }
}

impl fmt::Display for ModelCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FrontendResolvesName => "frontend, by the served name",
            Self::FrontendReadsPath => "frontend, by the model's path",
            Self::WorkersServe => "served by the workers",
        })
    }
}

impl fmt::Display for Kvbm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eager => "works, without CUDA graphs",
            Self::Works => "works",
            Self::WithoutHybridCache => "works, without the hybrid cache manager",
            Self::StallsAggregated => "disagg only (aggregated workers stall)",
            Self::Deprecated => "deprecated, without the hybrid cache manager",
        })
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ray => "Ray",
            Self::Processes => "vLLM processes",
        })
    }
}

impl fmt::Display for CudaImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwelveOrThirteen => write!(f, "12, or 13 with `{CUDA_13_SUFFIX}`"),
            Self::Thirteen => f.write_str("13"),
        }
    }
}
