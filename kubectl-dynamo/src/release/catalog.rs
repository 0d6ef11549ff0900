//! One row per supported Dynamo release. Each value was read in the release's wheel, tag or notes, or seen on
//! the real operator; a row answers for all patches of its minor.

use super::{
    ConfigurationReader, ConnectorSpelling, CudaImages, Executor, FileDiscovery, ImageTag, KvEvents,
    KvEventsSwitch, Kvbm, MigrationLimit, ModelCard, OperatorGeneration, OverlapSetting, Release,
    RoleSpelling, RouterTtl,
};

/// The release used when neither a flag nor the cluster says another.
pub const DEFAULT: &str = "1.6.1";

/// The newest release of an operator generation: v1beta1 came with 1.0, its graphs with 1.2, their storage
/// with 1.5.
pub fn newest_for(generation: OperatorGeneration) -> &'static str {
    match generation {
        OperatorGeneration::AlphaOnly => "0.9.1",
        OperatorGeneration::ServesBetaGroup => "1.1.1",
        OperatorGeneration::ServesBetaGraph => "1.4.2",
        OperatorGeneration::StoresBeta => DEFAULT,
    }
}

/// Oldest first.
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
        // All its examples, and the starter kit, turn CUDA graphs off.
        kvbm: Kvbm::Eager,
        executor: Executor::Ray,
        cuda_images: CudaImages::TwelveOrThirteen,
        image_tag: ImageTag::Any,
        file_discovery: FileDiscovery::StoreKv,
        model_card: ModelCard::FrontendResolvesName,
        configuration_reader: ConfigurationReader::Transformers,
        vllm_packages: ["vllm[flashinfer,runai]==0.14.1", "nixl[cu12]<=0.9.0"],
    },
    // 1.0 still announces KV events by itself, with a warning that this ends.
    Release {
        kv_events: KvEvents::Automatic,
        ..for_both_cudas("1.0.2", ["vllm[flashinfer,runai]==0.16.0", "nixl[cu12]<=0.10.1"])
    },
    for_both_cudas("1.1.1", ["vllm[flashinfer,otel,runai]==0.19.0", "nixl[cu12]<=0.10.1"]),
    // From 1.2 on the overlap weight is called deprecated, in favour of the prefill load scale.
    Release {
        overlap_setting: OverlapSetting::RouterPrefillLoadScale,
        ..for_both_cudas("1.2.1", ["vllm[flashinfer,otel,runai]==0.20.1", "nixl[cu12]<=0.10.1"])
    },
    // From 1.3 on Dynamo's KVBM examples turn the hybrid manager off; without that PdConnector is broken, and
    // DynamoConnector is refused for hybrid models (ai-dynamo/dynamo#13755).
    Release {
        model_card: ModelCard::FrontendReadsPath,
        kvbm: Kvbm::WithoutHybridCache,
        image_tag: ImageTag::Any,
        ..v1("1.3.1", ["vllm[flashinfer,otel,runai]==0.23.0", "nixl[cu13]==1.1.0"])
    },
    // Its release notes know of an aggregated KVBM worker that stalls in its initialisation.
    Release {
        kvbm: Kvbm::StallsAggregated,
        image_tag: ImageTag::VersionInEitherShape,
        ..v1("1.4.2", ["vllm[flashinfer,otel,runai]==0.26.0", "nixl[cu13]==1.3.2"])
    },
    v1("1.5.1", ["vllm[flashinfer,otel,runai]==0.28.0", "nixl[cu13]==1.3.2"]),
    Release {
        configuration_reader: ConfigurationReader::Dynamo,
        ..v1("1.6.1", ["vllm[flashinfer,otel,runai]==0.31.0", "nixl[cu13]==1.4.1"])
    },
];

const fn for_both_cudas(version: &'static str, vllm_packages: [&'static str; 2]) -> Release {
    Release {
        overlap_setting: OverlapSetting::RouterKvOverlapScoreWeight,
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
        kvbm: Kvbm::Deprecated,
        executor: Executor::Processes,
        cuda_images: CudaImages::Thirteen,
        image_tag: ImageTag::Version,
        file_discovery: FileDiscovery::DiscoveryBackend,
        model_card: ModelCard::WorkersServe,
        configuration_reader: ConfigurationReader::Transformers,
        vllm_packages,
    }
}

/// What Dynamo's frontend and mocker import besides Dynamo, pinned as tried together with 1.4.2, 1.5.1 and
/// 1.6.1.
/// Dynamo's own list is not followed: it names a package that PyPI holds only as an empty shell.
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

/// The transformers package and all it needs, pinned, for mockers that read with it.
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

/// What `dynamo.vllm` imports besides Dynamo and vLLM, in the ranges of Dynamo's wheels.
pub const BESIDE_VLLM_PACKAGES: &[&str] = &[
    "aiohttp<4.0",
    "blake3>=1.0.0,<2.0.0",
    "kubernetes>=32.0.1,<33.0.0",
    "msgspec>=0.19.0",
    "prometheus-client>=0.23.1,<1.0",
    "pyzmq>=26.0.0",
    "uvloop",
];
