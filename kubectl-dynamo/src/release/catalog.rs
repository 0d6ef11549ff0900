//! One row per supported Dynamo release. Each value was read in the release's wheel, tag or notes, or seen on
//! the real operator; a row answers for all patches of its minor.

use super::{
    ConnectorSpelling, FileDiscovery, KvEvents, ModelCard, OperatorGeneration, Release, RoleSpelling,
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
        file_discovery: FileDiscovery::StoreKv,
        model_card: ModelCard::FrontendResolvesName,
    },
    // 1.0 still announces KV events by itself, with a warning that this ends.
    Release { kv_events: KvEvents::Automatic, model_card: ModelCard::FrontendReadsPath, ..v1("1.0.2") },
    Release { model_card: ModelCard::FrontendReadsPath, ..v1("1.1.1") },
    Release { model_card: ModelCard::FrontendReadsPath, ..v1("1.2.1") },
    Release { model_card: ModelCard::FrontendReadsPath, ..v1("1.3.1") },
    v1("1.4.2"),
    v1("1.5.1"),
    v1("1.6.1"),
];

const fn v1(version: &'static str) -> Release {
    Release {
        version,
        role_spelling: RoleSpelling::DisaggregationMode,
        connector_spelling: ConnectorSpelling::KvTransferConfig,
        kv_events: KvEvents::Configured,
        file_discovery: FileDiscovery::DiscoveryBackend,
        model_card: ModelCard::WorkersServe,
    }
}
