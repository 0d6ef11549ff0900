//! The catalog of supported Dynamo releases. A row covers all patches of its minor version. Each value comes
//! from the release's wheel, tag, or notes, or was measured with the real operator. Version numbers must only
//! appear here.

use super::measured_loss::{MeasuredLoss, ReplacedPods};
use super::{
    CheckpointKvFormats, ConfigurationReader, ConnectorSpelling, CudaImages, Executor, FileDiscovery,
    ImageTag, InFlightSteps, KvEvents, KvEventsSwitch, Kvbm, MemoryRules, MigrationLimit, ModelCard,
    OperatorGeneration, OverlapSetting, Release, RoleSpelling, RouterTtl, SessionAffinity, WindowLimits,
    YarnLength, major_minor,
};

/// The memory rules of the oldest releases.
const FIRST_MEMORY_RULES: MemoryRules = MemoryRules {
    yarn_length: YarnLength::OriginalTimesFactor,
    gpu_memory_percent: 90,
    in_flight_steps: InFlightSteps::One,
    reserved_blocks: 0,
    checkpoint_kv_formats: CheckpointKvFormats::ModelOpt8,
    window_limits: WindowLimits::TransferAndEvents,
};

/// Since 1.0 vLLM also uses the KV cache format of compressed-tensors checkpoints.
const MEMORY_RULES_SINCE_1_0: MemoryRules =
    MemoryRules { checkpoint_kv_formats: CheckpointKvFormats::Bits8, ..FIRST_MEMORY_RULES };

/// Since 1.2 vLLM takes two percent more, and it stores NVFP4 KV cache if the checkpoint asks for it.
const MEMORY_RULES_SINCE_1_2: MemoryRules = MemoryRules {
    gpu_memory_percent: 92,
    checkpoint_kv_formats: CheckpointKvFormats::Bits8AndNvfp4,
    window_limits: WindowLimits::Transfer,
    ..FIRST_MEMORY_RULES
};

/// Since 1.3 vLLM keeps windows with KV transfer.
const MEMORY_RULES_SINCE_1_3: MemoryRules =
    MemoryRules { window_limits: WindowLimits::None, ..MEMORY_RULES_SINCE_1_2 };

/// Since 1.4 layers with a sliding window keep the tokens of every step in flight.
const MEMORY_RULES_SINCE_1_4: MemoryRules =
    MemoryRules { in_flight_steps: InFlightSteps::StagesAndOne, ..MEMORY_RULES_SINCE_1_3 };

/// The release that is used if neither a setting nor the cluster determines one.
pub const DEFAULT_RELEASE: &str = "1.6.1";

/// The newest release that an operator supports. Its version limits the minor version of the release. If it is
/// unknown, its generation decides: v1beta1 exists since 1.0, v1beta1 graphs since 1.2, and v1beta1 is the
/// storage version since 1.5.
pub fn newest_release_for(generation: OperatorGeneration, operator: Option<&str>) -> &'static str {
    let newest = match generation {
        OperatorGeneration::AlphaOnly => "0.9.1",
        OperatorGeneration::ServesBetaGroup => "1.1.1",
        OperatorGeneration::ServesBetaGraph => "1.4.2",
        OperatorGeneration::StoresBeta => DEFAULT_RELEASE,
    };
    let limit = major_minor(newest).min(operator.and_then(major_minor).or(major_minor(newest)));
    let supported = CATALOG.iter().rev().find(|release| major_minor(release.version) <= limit);
    supported.map_or(newest, |release| release.version)
}

const fn measured(
    operator: &'static str,
    replaced: ReplacedPods,
    (failed, requests): (u32, u32),
    tenths_of_seconds: Option<u32>,
) -> MeasuredLoss {
    MeasuredLoss { operator, replaced, failed, requests, tenths_of_seconds }
}

/// Failed requests while a deployment was changed, at 5 requests per second on the real operators. Each row is the
/// last measurement of its kind.
pub const MEASURED_LOSSES: &[MeasuredLoss] = &[
    measured("0.9.1", ReplacedPods::DisaggregatedWorkers, (6, 149), Some(46)),
    // One request hung until the client's timeout, and one failed with status 500.
    measured("0.9.1", ReplacedPods::AggregatedWorkers, (2, 190), None),
    measured("0.9.1", ReplacedPods::Removed, (4, 225), Some(6)),
    measured("0.9.1", ReplacedPods::Frontend, (0, 225), None),
    // Another run lost 0 of 159, and a third one 4 of 225 within 0.8 s.
    measured("1.5", ReplacedPods::DisaggregatedWorkers, (2, 199), Some(4)),
    measured("1.5", ReplacedPods::Frontend, (4, 200), Some(6)),
    measured("1.5", ReplacedPods::Removed, (4, 250), None),
    measured("1.5", ReplacedPods::AggregatedWorkers, (0, 350), None),
];

/// All releases, oldest first.
pub const CATALOG: &[Release] = &[
    Release {
        version: "0.9.1",
        role_spelling: RoleSpelling::Booleans,
        connector_spelling: ConnectorSpelling::Connector,
        kv_events: KvEvents::Automatic,
        kv_events_switch: KvEventsSwitch::KvEvents,
        overlap_setting: OverlapSetting::KvOverlapScoreWeight,
        router_ttl: RouterTtl::Ttl,
        migration_limit: MigrationLimit::Worker,
        session_affinity: SessionAffinity::None,
        // All its examples and the starter kit disable CUDA graphs.
        kvbm: Kvbm::Eager,
        executor: Executor::Ray,
        cuda_images: CudaImages::TwelveOrThirteen,
        image_tag: ImageTag::Any,
        file_discovery: FileDiscovery::StoreKv,
        model_card: ModelCard::FrontendResolvesName,
        configuration_reader: ConfigurationReader::Transformers,
        memory: FIRST_MEMORY_RULES,
        vllm_packages: ["vllm[flashinfer,runai]==0.14.1", "nixl[cu12]<=0.9.0"],
    },
    // 1.0 still publishes KV events automatically, with a deprecation warning.
    Release {
        kv_events: KvEvents::Automatic,
        memory: MEMORY_RULES_SINCE_1_0,
        ..for_both_cudas("1.0.2", ["vllm[flashinfer,runai]==0.16.0", "nixl[cu12]<=0.10.1"])
    },
    Release {
        memory: MEMORY_RULES_SINCE_1_0,
        ..for_both_cudas("1.1.1", ["vllm[flashinfer,otel,runai]==0.19.0", "nixl[cu12]<=0.10.1"])
    },
    // Since 1.2 the overlap weight is deprecated in favor of the prefill load scale.
    Release {
        overlap_setting: OverlapSetting::RouterPrefillLoadScale,
        memory: MEMORY_RULES_SINCE_1_2,
        ..for_both_cudas("1.2.1", ["vllm[flashinfer,otel,runai]==0.20.1", "nixl[cu12]<=0.10.1"])
    },
    // Since 1.3 Dynamo's KVBM examples disable the hybrid manager. Otherwise PdConnector fails, and vLLM
    // rejects DynamoConnector for hybrid models (ai-dynamo/dynamo#13755).
    Release {
        model_card: ModelCard::FrontendReadsPath,
        session_affinity: SessionAffinity::EachFrontend,
        kvbm: Kvbm::WithoutHybridCache,
        image_tag: ImageTag::Any,
        memory: MEMORY_RULES_SINCE_1_3,
        ..v1("1.3.1", ["vllm[flashinfer,otel,runai]==0.23.0", "nixl[cu13]==1.1.0"])
    },
    // Known issue in its release notes: an aggregated KVBM worker stalls during initialization.
    Release {
        kvbm: Kvbm::StallsAggregated,
        image_tag: ImageTag::VersionInEitherApi,
        ..v1("1.4.2", ["vllm[flashinfer,otel,runai]==0.26.0", "nixl[cu13]==1.3.2"])
    },
    v1("1.5.1", ["vllm[flashinfer,otel,runai]==0.28.0", "nixl[cu13]==1.3.2"]),
    // Since 1.6 vLLM no longer multiplies a YaRN length, and one block stays empty.
    Release {
        configuration_reader: ConfigurationReader::Dynamo,
        memory: MemoryRules {
            yarn_length: YarnLength::MaxPositionEmbeddings,
            reserved_blocks: 1,
            ..MEMORY_RULES_SINCE_1_4
        },
        ..v1("1.6.1", ["vllm[flashinfer,otel,runai]==0.31.0", "nixl[cu13]==1.4.1"])
    },
];

const fn for_both_cudas(version: &'static str, vllm_packages: [&'static str; 2]) -> Release {
    Release {
        overlap_setting: OverlapSetting::RouterKvOverlapScoreWeight,
        session_affinity: SessionAffinity::None,
        kvbm: Kvbm::Works,
        cuda_images: CudaImages::TwelveOrThirteen,
        image_tag: ImageTag::Any,
        model_card: ModelCard::FrontendReadsPath,
        ..v1(version, vllm_packages)
    }
}

const fn v1(version: &'static str, vllm_packages: [&'static str; 2]) -> Release {
    Release {
        version,
        role_spelling: RoleSpelling::DisaggregationMode,
        connector_spelling: ConnectorSpelling::KvTransferConfig,
        kv_events: KvEvents::Configured,
        kv_events_switch: KvEventsSwitch::RouterUseKvEvents,
        overlap_setting: OverlapSetting::RouterPrefillLoadScale,
        router_ttl: RouterTtl::TtlSecs,
        migration_limit: MigrationLimit::Frontend,
        session_affinity: SessionAffinity::AllFrontends,
        kvbm: Kvbm::Deprecated,
        executor: Executor::Processes,
        cuda_images: CudaImages::Thirteen,
        image_tag: ImageTag::Version,
        file_discovery: FileDiscovery::DiscoveryBackend,
        model_card: ModelCard::WorkersServe,
        configuration_reader: ConfigurationReader::Transformers,
        memory: MEMORY_RULES_SINCE_1_4,
        vllm_packages,
    }
}

/// Tool-call parsers that 1.6 lists but that only the second version of its parsers has. Measured with the frontend of
/// 1.6.1: without `DYN_PARSER_VERSION=2`, the calls stay in the text.
pub const SECOND_VERSION_PARSERS: &[&str] = &["glm45", "kimi_k25", "qwen3"];

/// Packages that Dynamo's frontend and mocker import besides Dynamo, pinned to versions that were tested with
/// 1.4.2, 1.5.1, and 1.6.1. Dynamo's requirements are not used, because one of their packages is only a
/// placeholder on PyPI.
pub const MOCKER_PACKAGES: &[&str] = &[
    "annotated-types==0.8.0",
    "msgspec==0.22.0",
    "packaging==26.3",
    "pydantic==2.13.5",
    "pydantic_core==2.46.5",
    "PyYAML==6.0.3",
    "typing-inspection==0.4.5",
    "typing_extensions==4.16.0",
    "uvloop==0.23.0",
];

/// The transformers package and its dependencies, pinned, for mockers that read the configuration with it.
pub const TRANSFORMERS_PACKAGES: &[&str] = &[
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "filelock==4.2.11",
    "fsspec==2026.9.0",
    "hf-xet==1.8.0",
    "huggingface_hub==0.36.2",
    "idna==3.20",
    "numpy==2.4.6",
    "regex==2026.11.15",
    "requests==2.34.2",
    "safetensors==0.8.0",
    "tokenizers==0.22.2",
    "tqdm==4.70.1",
    "transformers==4.57.6",
    "urllib3==2.8.0",
];

/// Packages that `dynamo.vllm` imports besides Dynamo and vLLM, with the version ranges of Dynamo's wheels.
pub const VLLM_EXTRA_PACKAGES: &[&str] = &[
    "aiohttp<4.0",
    "blake3>=1.0.0,<2.0.0",
    "kubernetes>=32.0.1,<33.0.0",
    "msgspec>=0.19.0",
    "prometheus-client>=0.23.1,<1.0",
    "pyzmq>=26.0.0",
    "uvloop",
];

/// The version of AIPerf that `bench` installs. Its files have schema 1.4.
pub const AIPERF_VERSION: &str = "0.13.0";
/// The image with this version. NVIDIA's registry has tags up to 0.12.0 in public files; this one was not pulled.
pub const AIPERF_IMAGE: &str = "nvcr.io/nvidia/ai-dynamo/aiperf:0.13.0";

/// The version of aiconfigurator that `recommend` installs. Its successor `aisimulate` keeps the command and the files, but
/// its versions 0.12.0 to 0.13.0 are packages on PyPI that cannot be installed.
pub const AICONFIGURATOR_VERSION: &str = "0.12.0";
