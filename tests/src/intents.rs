//! Test intents: one with valid defaults, and the matrix of all combinations of mode, parallelism, router,
//! offload, engine, and release, with the combinations that must be rejected and why.

use std::fmt;

use kubectl_dynamo_core::code::MessageCode;

use kubectl_dynamo_core::error::Explain;
use kubectl_dynamo_core::intent::{
    Backend, Cache, DiskTier, DiskVolume, KvOffload, ModelRef, OutputParsers, Parallelism, Placement, Router,
    RouterMode, ServingIntent, Topology, WorkerGroup,
};
use kubectl_dynamo_core::plan::{FetchPlacement, ModelLocation, PlanError, ServingPlan, plan};
use kubectl_dynamo_core::release::{CATALOG, Release};

/// Returns an intent with valid defaults; a test sets only what it is about.
pub fn default_intent() -> ServingIntent {
    ServingIntent {
        name: "qwen".into(),
        model: ModelRef::Hub { repository: "Qwen/Qwen3-0.6B".into(), revision: None },
        served_model_name: "Qwen/Qwen3-0.6B".into(),
        trust_remote_code: false,
        backend: Backend::Vllm,
        topology: Topology::Aggregated { worker: WorkerGroup::default() },
        router: Router::new(RouterMode::RoundRobin),
        parsers: OutputParsers::default(),
        kv_offload: None,
        frontend_replicas: 1,
        engine_args: Vec::new(),
        cache: Cache::default(),
        token_secret: None,
        // A fixed version, because the tag of the default image is the version of the build, and golden files have the image.
        placement: Placement {
            fetcher_image: Some("ghcr.io/kubectl-dynamo/model-fetcher:0.1.0".into()),
            ..Placement::default()
        },
    }
}

/// Returns the plan of an intent for a release, on a volume that a Job fills.
pub fn plan_for_release(intent: &ServingIntent, release: &'static Release) -> Result<ServingPlan, PlanError> {
    plan(intent, release, release.version, ModelLocation::Volume(FetchPlacement::Job))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellMode {
    Aggregated,
    Disaggregated,
}

/// How each worker is spread over GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkerSize {
    OneGpu,
    FourGpus,
    /// TP 8 and PP 2, on two nodes.
    TwoNodes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffloadTiers {
    None,
    Cpu,
    CpuAndDisk,
}

/// One combination of the matrix.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub release: &'static Release,
    pub backend: Backend,
    pub mode: CellMode,
    pub worker_size: WorkerSize,
    pub router: RouterMode,
    pub tiers: OffloadTiers,
}

/// A KV router setting besides the mode, to check that every renamed setting is passed on.
pub const TEMPERATURE: f64 = 0.25;
pub const OVERLAP_WEIGHT: f64 = 2.0;

impl Cell {
    /// Returns all combinations.
    pub fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for release in CATALOG {
            for backend in [Backend::Vllm, Backend::Mocker] {
                for mode in [CellMode::Aggregated, CellMode::Disaggregated] {
                    for worker_size in [WorkerSize::OneGpu, WorkerSize::FourGpus, WorkerSize::TwoNodes] {
                        for router in [RouterMode::RoundRobin, RouterMode::Kv] {
                            for tiers in [OffloadTiers::None, OffloadTiers::Cpu, OffloadTiers::CpuAndDisk] {
                                cells.push(Self { release, backend, mode, worker_size, router, tiers });
                            }
                        }
                    }
                }
            }
        }
        cells
    }

    pub fn intent(&self) -> ServingIntent {
        let group = || self.group();
        let kv = Router {
            temperature: Some(TEMPERATURE),
            overlap_weight: Some(OVERLAP_WEIGHT),
            ..Router::new(RouterMode::Kv)
        };
        ServingIntent {
            name: "cell".into(),
            backend: self.backend,
            topology: match self.mode {
                CellMode::Aggregated => Topology::Aggregated { worker: group() },
                CellMode::Disaggregated => Topology::Disaggregated { prefill: group(), decode: group() },
            },
            router: if self.router == RouterMode::Kv { kv } else { Router::new(self.router) },
            kv_offload: self.offload(),
            ..default_intent()
        }
    }

    fn group(&self) -> WorkerGroup {
        let (tensor, pipeline, nodes) = match self.worker_size {
            WorkerSize::OneGpu => (1, 1, 1),
            WorkerSize::FourGpus => (4, 1, 1),
            WorkerSize::TwoNodes => (8, 2, 2),
        };
        let parallelism = Parallelism { tensor, pipeline, ..Parallelism::default() };
        WorkerGroup { parallelism, nodes, ..WorkerGroup::default() }
    }

    fn offload(&self) -> Option<KvOffload> {
        let disk = DiskTier { size: "200Gi".into(), volume: DiskVolume::Ephemeral { storage_class: None } };
        match self.tiers {
            OffloadTiers::None => None,
            OffloadTiers::Cpu => Some(KvOffload { cpu: "20Gi".into(), disk: None }),
            OffloadTiers::CpuAndDisk => Some(KvOffload { cpu: "20Gi".into(), disk: Some(disk) }),
        }
    }

    /// Returns why the combination must be rejected, if it must.
    pub fn unsupported_reason(&self) -> Option<&'static UnsupportedCombination> {
        UNSUPPORTED_COMBINATIONS.iter().find(|combination| (combination.applies)(self))
    }

    /// Returns the plan of a valid combination, or `None` if it is correctly rejected with the expected code.
    pub fn plan(&self) -> Result<Option<ServingPlan>, String> {
        match (plan_for_release(&self.intent(), self.release), self.unsupported_reason()) {
            (Ok(plan), None) => Ok(Some(plan)),
            (Err(error), Some(unsupported))
                if error.code().map(MessageCode::as_str) == Some(unsupported.code) =>
            {
                Ok(None)
            }
            (Ok(_), Some(unsupported)) => Err(format!("{self} is accepted, but {}", unsupported.reason)),
            (Err(error), _) => Err(format!("{self} is rejected with {:?}: {error}", error.code())),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            CellMode::Aggregated => "agg",
            CellMode::Disaggregated => "disagg",
        };
        let worker_size = match self.worker_size {
            WorkerSize::OneGpu => "tp1",
            WorkerSize::FourGpus => "tp4",
            WorkerSize::TwoNodes => "tp8-pp2-2nodes",
        };
        let backend = if self.backend == Backend::Vllm { "vllm" } else { "mocker" };
        let router = if self.router == RouterMode::Kv { "kv" } else { "no-kv" };
        let tiers = match self.tiers {
            OffloadTiers::None => "no-offload",
            OffloadTiers::Cpu => "cpu",
            OffloadTiers::CpuAndDisk => "cpu+disk",
        };
        write!(f, "{} {backend} {mode} {worker_size} {router} {tiers}", self.release.version)
    }
}

/// A rule that rejects combinations.
pub struct UnsupportedCombination {
    pub code: &'static str,
    pub reason: &'static str,
    pub source: &'static str,
    applies: fn(&Cell) -> bool,
}

/// The rules. The first one that applies is reported.
pub static UNSUPPORTED_COMBINATIONS: &[UnsupportedCombination] = &[
    UnsupportedCombination {
        code: "KD0621",
        reason: "the mocker does not use GPUs, so it cannot span nodes",
        source: "operator, backend_vllm.go: without parallel sizes nothing is injected, so each node would run a copy",
        applies: |cell| cell.backend == Backend::Mocker && cell.worker_size == WorkerSize::TwoNodes,
    },
    UnsupportedCombination {
        code: "KD0620",
        reason: "the mocker does not have a KV cache to offload",
        source: "wheels of all releases: dynamo.mocker does not accept a connector",
        applies: |cell| cell.backend == Backend::Mocker && cell.tiers != OffloadTiers::None,
    },
    UnsupportedCombination {
        code: "KD0620",
        reason: "an aggregated worker with KVBM stalls in its initialization",
        source: "Dynamo 1.4, known issues: agg_kvbm.yaml",
        applies: |cell| {
            cell.release.version == "1.4.2"
                && cell.mode == CellMode::Aggregated
                && cell.tiers != OffloadTiers::None
        },
    },
    UnsupportedCombination {
        code: "KD0620",
        reason: "KVBM's leader and workers communicate over loopback, so they cannot span nodes",
        source: "kvbm: default of DYN_KVBM_LEADER_ZMQ_HOST; log in ai-dynamo/dynamo#4580: tcp://127.0.0.1:56001",
        applies: |cell| cell.worker_size == WorkerSize::TwoNodes && cell.tiers != OffloadTiers::None,
    },
];
