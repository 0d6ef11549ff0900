//! Which of Dynamo's custom resource definitions check which releases of the catalog.

use kubectl_dynamo_core::release::Release;
use kubectl_dynamo_core::resources::GraphApi;

use super::definitions::{GraphDefinition, StoredVersion};

/// CRDs of one upstream commit with one storage version, and the releases that are checked with them.
#[derive(Debug)]
pub struct DefinitionSet {
    pub definition: GraphDefinition,
    /// Releases of the catalog.
    releases: &'static [&'static str],
}

const fn definition_set(
    folder: &'static str,
    stored: StoredVersion,
    releases: &'static [&'static str],
) -> DefinitionSet {
    DefinitionSet { definition: GraphDefinition { folder, stored_version: stored }, releases }
}

/// Fields are only added over time. A release without its own CRDs here is checked with the nearest older
/// ones in the API version that existed then, and with the nearest newer ones in the version that they
/// introduced.
pub const DEFINITION_SETS: &[DefinitionSet] = &[
    definition_set("0.9.1", StoredVersion::V1Alpha1, &["0.9.1"]),
    definition_set("1.0.2", StoredVersion::V1Alpha1, &["1.0.2", "1.1.1", "1.2.1", "1.3.1"]),
    definition_set("1.4.0-main-20260730", StoredVersion::V1Alpha1, &["1.4.2"]),
    definition_set("1.4.0-main-20260730", StoredVersion::V1Beta1, &["1.2.1", "1.3.1", "1.4.2"]),
    definition_set("1.5.0-main-20260821", StoredVersion::V1Alpha1, &["1.5.1", "1.6.1"]),
    definition_set("1.5.0-main-20260821", StoredVersion::V1Beta1, &["1.5.1", "1.6.1"]),
];

impl DefinitionSet {
    /// The API version that graphs are rendered in.
    pub fn graph_api(&self) -> GraphApi {
        match self.definition.stored_version {
            StoredVersion::V1Alpha1 => GraphApi::V1Alpha1,
            StoredVersion::V1Beta1 => GraphApi::V1Beta1,
        }
    }

    /// Returns whether the release is checked with these CRDs.
    pub fn supports(&self, release: &Release) -> bool {
        self.releases.contains(&release.version)
    }
}
