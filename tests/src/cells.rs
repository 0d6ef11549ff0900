//! Wishes of tests: one with valid defaults, and the matrix of all that modes, shapes, routers, offload, engines and
//! releases can be combined to, with what must be refused of it and why.

use std::fmt;

use kubectl_dynamo::error::Explain;
use kubectl_dynamo::intent::{
    Backend, Cache, DiskTier, DiskVolume, KvOffload, ModelRef, Parallelism, Placement, Router, RouterMode,
    ServingIntent, Topology, WorkerGroup,
};
use kubectl_dynamo::plan::{FetchPlacement, ModelPlace, PlanError, ServingPlan, plan};
use kubectl_dynamo::release::{CATALOG, Release};

/// A wish with valid defaults; a test sets only what it is about.
pub fn wish() -> ServingIntent {
    ServingIntent {
        name: "qwen".into(),
        model: ModelRef::Hub { repository: "Qwen/Qwen3-0.6B".into(), revision: None },
        served_model_name: "Qwen/Qwen3-0.6B".into(),
        trust_remote_code: false,
        backend: Backend::Vllm,
        topology: Topology::Aggregated { worker: WorkerGroup::default() },
        router: Router::of(RouterMode::RoundRobin),
        kv_offload: None,
        frontend_replicas: 1,
        engine_args: Vec::new(),
        cache: Cache::default(),
        token_secret: None,
        placement: Placement::default(),
    }
}

/// The plan of a wish for a release, on a volume that a Job fills.
pub fn planned(intent: &ServingIntent, release: &'static Release) -> Result<ServingPlan, PlanError> {
    plan(intent, release, release.version, ModelPlace::Volume(FetchPlacement::Job))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Aggregated,
    Disaggregated,
}

/// How each worker is spread over GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    OneGpu,
    FourGpus,
    /// Tensor 8 and pipeline 2, on two nodes.
    TwoNodes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiers {
    None,
    Cpu,
    CpuAndDisk,
}

/// One combination.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub release: &'static Release,
    pub backend: Backend,
    pub mode: Mode,
    pub spread: Spread,
    pub router: RouterMode,
    pub tiers: Tiers,
}

/// What a KV router is told besides its mode, so that every renamed setting is seen to arrive.
pub const TEMPERATURE: f64 = 0.25;
pub const OVERLAP_WEIGHT: f64 = 2.0;

impl Cell {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for release in CATALOG {
            for backend in [Backend::Vllm, Backend::Mocker] {
                for mode in [Mode::Aggregated, Mode::Disaggregated] {
                    for spread in [Spread::OneGpu, Spread::FourGpus, Spread::TwoNodes] {
                        for router in [RouterMode::RoundRobin, RouterMode::Kv] {
                            for tiers in [Tiers::None, Tiers::Cpu, Tiers::CpuAndDisk] {
                                cells.push(Self { release, backend, mode, spread, router, tiers });
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
            ..Router::of(RouterMode::Kv)
        };
        ServingIntent {
            name: "cell".into(),
            backend: self.backend,
            topology: match self.mode {
                Mode::Aggregated => Topology::Aggregated { worker: group() },
                Mode::Disaggregated => Topology::Disaggregated { prefill: group(), decode: group() },
            },
            router: if self.router == RouterMode::Kv { kv } else { Router::of(self.router) },
            kv_offload: self.offload(),
            ..wish()
        }
    }

    fn group(&self) -> WorkerGroup {
        let (tensor, pipeline, nodes) = match self.spread {
            Spread::OneGpu => (1, 1, 1),
            Spread::FourGpus => (4, 1, 1),
            Spread::TwoNodes => (8, 2, 2),
        };
        let parallelism = Parallelism { tensor, pipeline, ..Parallelism::default() };
        WorkerGroup { parallelism, nodes, ..WorkerGroup::default() }
    }

    fn offload(&self) -> Option<KvOffload> {
        let disk = DiskTier { size: "200Gi".into(), volume: DiskVolume::Ephemeral { storage_class: None } };
        match self.tiers {
            Tiers::None => None,
            Tiers::Cpu => Some(KvOffload { cpu: "20Gi".into(), disk: None }),
            Tiers::CpuAndDisk => Some(KvOffload { cpu: "20Gi".into(), disk: Some(disk) }),
        }
    }

    /// Why it must be refused, if it must.
    pub fn refusal(&self) -> Option<&'static Refusal> {
        REFUSALS.iter().find(|refusal| (refusal.applies)(self))
    }

    /// The plan of a cell that must be accepted; `None` where it must be refused, and is, with the right code.
    pub fn plan(&self) -> Result<Option<ServingPlan>, String> {
        match (planned(&self.intent(), self.release), self.refusal()) {
            (Ok(plan), None) => Ok(Some(plan)),
            (Err(error), Some(refusal)) if error.code() == Some(refusal.code) => Ok(None),
            (Ok(_), Some(refusal)) => Err(format!("{self} is accepted, though {}", refusal.reason)),
            (Err(error), _) => Err(format!("{self} is refused with {:?}: {error}", error.code())),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Aggregated => "agg",
            Mode::Disaggregated => "disagg",
        };
        let spread = match self.spread {
            Spread::OneGpu => "tp1",
            Spread::FourGpus => "tp4",
            Spread::TwoNodes => "tp8-pp2-2nodes",
        };
        let backend = if self.backend == Backend::Vllm { "vllm" } else { "mocker" };
        let router = if self.router == RouterMode::Kv { "kv" } else { "no-kv" };
        let tiers = match self.tiers {
            Tiers::None => "no-offload",
            Tiers::Cpu => "cpu",
            Tiers::CpuAndDisk => "cpu+disk",
        };
        write!(f, "{} {backend} {mode} {spread} {router} {tiers}", self.release.version)
    }
}

/// Cells that nobody can run.
pub struct Refusal {
    pub code: &'static str,
    pub reason: &'static str,
    pub source: &'static str,
    applies: fn(&Cell) -> bool,
}

/// The first that applies is the one that is told.
pub static REFUSALS: &[Refusal] = &[
    Refusal {
        code: "KD0621",
        reason: "the mocker has no GPUs to spread over nodes",
        source: "operator, backend_vllm.go: without parallel sizes nothing is injected, so each node would run a copy",
        applies: |cell| cell.backend == Backend::Mocker && cell.spread == Spread::TwoNodes,
    },
    Refusal {
        code: "KD0620",
        reason: "the mocker keeps no KV cache that could be offloaded",
        source: "wheels of all releases: dynamo.mocker takes no connector",
        applies: |cell| cell.backend == Backend::Mocker && cell.tiers != Tiers::None,
    },
    Refusal {
        code: "KD0620",
        reason: "an aggregated worker with KVBM stalls in its initialisation",
        source: "Dynamo 1.4, known issues: agg_kvbm.yaml",
        applies: |cell| {
            cell.release.version == "1.4.2" && cell.mode == Mode::Aggregated && cell.tiers != Tiers::None
        },
    },
    Refusal {
        code: "KD0620",
        reason: "KVBM's leader and its workers meet on loopback, so they cannot be on several nodes",
        source: "kvbm: default of DYN_KVBM_LEADER_ZMQ_HOST; log in ai-dynamo/dynamo#4580: tcp://127.0.0.1:56001",
        applies: |cell| cell.spread == Spread::TwoNodes && cell.tiers != Tiers::None,
    },
];
