//! The ways in which releases differ: each kind of difference is an enum, and what a value spells stands with it.
//! Which release behaves how is for `catalog.rs` alone.

use std::fmt;

/// How a worker is told whether it prefills, decodes or does both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleSpelling {
    /// `--is-prefill-worker` and `--is-decode-worker`.
    Booleans,
    /// `--disaggregation-mode prefill|decode`.
    DisaggregationMode,
}

/// How vLLM's KV connectors are chosen: NIXL between prefill and decode, KVBM to CPU memory and disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorSpelling {
    /// `--connector nixl|kvbm|none`; `nixl` is set up even for an aggregated worker unless `none` is said.
    Connector,
    /// `--kv-transfer-config JSON`, on prefill and decode alike; nothing when aggregated.
    KvTransferConfig,
}

/// Whether vLLM workers announce their KV blocks to the router by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvEvents {
    /// Announced whenever prefix caching is on.
    Automatic,
    /// Announced only with `--kv-events-config`, on aggregated and prefill workers.
    Configured,
}

/// What turns the KV router's ear off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvEventsSwitch {
    KvEvents,
    RouterUseKvEvents,
}

impl KvEventsSwitch {
    /// The frontend's variable; `false` turns the events off.
    pub fn variable(self) -> &'static str {
        match self {
            Self::KvEvents => "DYN_KV_EVENTS",
            Self::RouterUseKvEvents => "DYN_ROUTER_USE_KV_EVENTS",
        }
    }
}

/// What weighs cached blocks against load. It was renamed twice; the second time two settings came of it, and
/// the one that does what the weight did is the scale (so Dynamo itself says, and reads the old weight as it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlapSetting {
    KvOverlapScoreWeight,
    RouterKvOverlapScoreWeight,
    RouterPrefillLoadScale,
}

impl OverlapSetting {
    /// The frontend's variable.
    pub fn variable(self) -> &'static str {
        match self {
            Self::KvOverlapScoreWeight => "DYN_KV_OVERLAP_SCORE_WEIGHT",
            Self::RouterKvOverlapScoreWeight => "DYN_ROUTER_KV_OVERLAP_SCORE_WEIGHT",
            Self::RouterPrefillLoadScale => "DYN_ROUTER_PREFILL_LOAD_SCALE",
        }
    }
}

/// How long the KV router believes what it predicted of a worker's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouterTtl {
    Ttl,
    TtlSecs,
}

impl RouterTtl {
    /// The frontend's variable, in seconds.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Ttl => "DYN_ROUTER_TTL",
            Self::TtlSecs => "DYN_ROUTER_TTL_SECS",
        }
    }
}

/// Who is told how often a request may move to another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationLimit {
    /// Every worker, with `--migration-limit`.
    Worker,
    /// The frontend, with `DYN_MIGRATION_LIMIT`; workers refuse the flag.
    Frontend,
}

/// How processes outside Kubernetes find each other through files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileDiscovery {
    /// `--store-kv file`; the mocker wants NATS besides.
    StoreKv,
    /// `DYN_DISCOVERY_BACKEND=file`, with no other service.
    DiscoveryBackend,
}

/// Where the frontend reads the model card from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelCard {
    /// From its own disk or the hub, by the served name: the name must resolve as a path below the mount.
    FrontendResolvesName,
    /// From its own disk, by the worker's model path.
    FrontendReadsPath,
    /// The workers serve it.
    WorkersServe,
}

/// What the mocker reads a model's configuration with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigurationReader {
    /// Dynamo itself.
    Dynamo,
    /// The transformers package.
    Transformers,
}

/// What KVBM, which offloads KV cache to CPU memory and disk, is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kvbm {
    /// Works, and Dynamo's own examples turn CUDA graphs off beside it.
    Eager,
    Works,
    /// Works while vLLM's hybrid KV cache manager is off.
    WithoutHybridCache,
    /// The same, and an aggregated worker stalls while it starts (a known issue of the release).
    StallsAggregated,
    /// Works while the hybrid manager is off, and is announced to go.
    Deprecated,
}

/// How vLLM spans nodes, as the operator of the release starts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Executor {
    /// Ray, started by a shell line into which arguments go without quotes.
    Ray,
    /// vLLM's own processes, with every argument intact.
    Processes,
}

/// Which CUDA the release's vLLM images are built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CudaImages {
    /// CUDA 12, and CUDA 13 behind the suffix.
    TwelveOrThirteen,
    /// CUDA 13, without a suffix.
    Thirteen,
}

/// The suffix of an image for CUDA 13 beside one for CUDA 12.
pub const CUDA_13_SUFFIX: &str = "-cuda13";

/// What the release's operator wants of an image's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageTag {
    /// Anything.
    Any,
    /// A version, or the field that says it, which its v1alpha1 has as well.
    VersionInEitherShape,
    /// A version, or the field that says it, which v1beta1 has.
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
            Self::Connector => "`--connector`, `none` where there is none",
            Self::KvTransferConfig => "`--kv-transfer-config`",
        })
    }
}

impl fmt::Display for KvEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Automatic => "by itself",
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

impl fmt::Display for ModelCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FrontendResolvesName => "frontend, by the served name",
            Self::FrontendReadsPath => "frontend, by the model's path",
            Self::WorkersServe => "workers serve it",
        })
    }
}

impl fmt::Display for Kvbm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eager => "works, without CUDA graphs",
            Self::Works => "works",
            Self::WithoutHybridCache => "works, without the hybrid cache manager",
            Self::StallsAggregated => "disagg only: an aggregated worker stalls",
            Self::Deprecated => "deprecated, without the hybrid cache manager",
        })
    }
}

impl fmt::Display for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ray => "Ray",
            Self::Processes => "vLLM's own processes",
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
