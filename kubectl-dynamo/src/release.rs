//! What one Dynamo runtime version understands, as enums: a new behaviour is a new variant, and the compiler
//! lists every place that must answer for it. Only `catalog.rs` holds version numbers.

mod behaviour;
mod catalog;

use crate::intent::IntentError;
pub use behaviour::{
    CUDA_13_SUFFIX, ConfigurationReader, ConnectorSpelling, CudaImages, Executor, FileDiscovery, ImageTag,
    KvEvents, KvEventsSwitch, Kvbm, MigrationLimit, ModelCard, OverlapSetting, RoleSpelling, RouterTtl,
};
pub use catalog::{
    BESIDE_VLLM_PACKAGES, CATALOG, DEFAULT, MOCKER_PACKAGES, TRANSFORMERS_PACKAGES, newest_for,
};

/// What a cluster's discovery tells of its operator's age, without asking for any right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorGeneration {
    /// Only v1alpha1 is served.
    AlphaOnly,
    /// v1beta1 is served, for requests and not yet for graphs.
    ServesBetaGroup,
    /// Graphs are served as v1beta1 and stored as v1alpha1.
    ServesBetaGraph,
    /// Graphs are stored as v1beta1.
    StoresBeta,
}

/// One Dynamo runtime version.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// The version in full, which is also the image's tag.
    pub version: &'static str,
    pub role_spelling: RoleSpelling,
    pub connector_spelling: ConnectorSpelling,
    pub kv_events: KvEvents,
    pub kv_events_switch: KvEventsSwitch,
    pub overlap_setting: OverlapSetting,
    pub router_ttl: RouterTtl,
    pub migration_limit: MigrationLimit,
    pub kvbm: Kvbm,
    pub executor: Executor,
    pub cuda_images: CudaImages,
    pub image_tag: ImageTag,
    pub file_discovery: FileDiscovery,
    pub model_card: ModelCard,
    pub configuration_reader: ConfigurationReader,
    /// The engine and its KV transfer that `ai-dynamo[vllm]` names, as pip reads them.
    pub vllm_packages: [&'static str; 2],
}

impl Release {
    /// The release for a version as a person writes it: `1.6.1`, `v1.6`, `1.2.0-cuda13`. The newest known patch
    /// of that minor answers for every patch; a newer minor of a known major is answered by the newest row.
    ///
    /// # Errors
    /// A text that is no version, a version older than the first row, an unknown major.
    pub fn find(version: &str) -> Result<&'static Self, IntentError> {
        let asked = read(version)?;
        if let Some(known) = CATALOG.iter().find(|release| minor_of(release.version) == Some(asked)) {
            return match known.cuda_images {
                CudaImages::Thirteen if version.ends_with(CUDA_13_SUFFIX) => {
                    let reason =
                        format!("its images are for CUDA 13 already, and none is called {CUDA_13_SUFFIX}");
                    Err(refusal(version, reason, false))
                }
                _ => Ok(known),
            };
        }
        let (oldest, newest) = (&CATALOG[0], &CATALOG[CATALOG.len() - 1]);
        match minor_of(newest.version) {
            Some((major, minor)) if asked.0 == major && asked.1 > minor => Ok(newest),
            _ => Err(refusal(version, format!("{} to {} are known", oldest.version, newest.version), true)),
        }
    }

    /// The same, for somebody who insists: the nearest row answers for what is older or newer than all of them.
    ///
    /// # Errors
    /// A text that is no version.
    pub fn nearest(version: &str) -> Result<&'static Self, IntentError> {
        match Self::find(version) {
            Err(IntentError::Release { forceable: true, .. }) => {
                let is_older = Some(read(version)?) < minor_of(CATALOG[0].version);
                Ok(if is_older { &CATALOG[0] } else { &CATALOG[CATALOG.len() - 1] })
            }
            found => found,
        }
    }

    /// Whether the row tells of this version, and does not only stand in for it.
    pub fn tells_of(&self, version: &str) -> bool {
        minor_of(version) == minor_of(self.version)
    }

    /// The version in full: `v1.6` is the newest known patch of 1.6, and a patch or suffix that is named stays.
    pub fn full_version(&self, given: &str) -> String {
        let given = given.trim_start_matches('v');
        if given.split('.').count() > 2 { given.into() } else { self.version.into() }
    }

    /// The runtime image of a version in full: the words stay those of the release's row, the tag is the person's.
    pub fn image(version: &str) -> String {
        format!("nvcr.io/nvidia/ai-dynamo/vllm-runtime:{version}")
    }

    /// Whether every frontend pod must mount the model.
    pub fn frontend_needs_model(&self) -> bool {
        match self.model_card {
            ModelCard::FrontendResolvesName | ModelCard::FrontendReadsPath => true,
            ModelCard::WorkersServe => false,
        }
    }
}

/// Major and minor of a version as a person writes it.
fn read(version: &str) -> Result<(u32, u32), IntentError> {
    // It becomes the tag of an image.
    let in_tag = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    minor_of(version)
        .filter(|_| version.chars().all(in_tag))
        .ok_or_else(|| refusal(version, format!("expected a version such as {DEFAULT}"), false))
}

fn refusal(version: &str, reason: String, forceable: bool) -> IntentError {
    let known = CATALOG.iter().map(|release| release.version).collect();
    IntentError::Release { given: version.into(), reason, known, forceable }
}

/// Major and minor of a version text with at least two numbers.
fn minor_of(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_patch_or_suffix_finds_its_minor() {
        for (given, version) in [
            ("0.9.1", "0.9.1"),
            ("1.0.0", "1.0.2"),
            ("v1.2.0-cuda13", "1.2.1"),
            ("1.6", "1.6.1"),
            ("1.9.0", "1.6.1"),
        ] {
            assert_eq!(Release::find(given).map(|release| release.version), Ok(version), "{given}");
        }
    }

    #[test]
    fn a_version_without_a_patch_is_completed() {
        for (given, full) in
            [("1.6", DEFAULT), ("v1.6", DEFAULT), ("1.6.0", "1.6.0"), ("v1.2.0-cuda13", "1.2.0-cuda13")]
        {
            assert_eq!(
                Release::find(given).map(|release| release.full_version(given)),
                Ok(full.into()),
                "{given}"
            );
        }
    }

    #[test]
    fn refuses_what_it_has_no_words_for() {
        for given in
            ["0.8.1", "2.0.0", "latest", "", "1", "1.6.1/x", "1.6.1 ", "1.6.1@sha256:0", "1.6.1-cuda13"]
        {
            assert!(matches!(Release::find(given), Err(IntentError::Release { .. })), "{given}");
        }
    }

    #[test]
    fn who_insists_gets_the_nearest_row() {
        let nearest = |given: &str| Release::nearest(given).map(|release| release.version);
        assert_eq!(nearest("2.0.0"), Ok(CATALOG[CATALOG.len() - 1].version));
        assert_eq!(nearest("0.8.1"), Ok(CATALOG[0].version));
        assert_eq!(nearest("1.5"), Ok("1.5.1"));
        assert!(nearest("latest").is_err());
        let newest = &CATALOG[CATALOG.len() - 1];
        assert!(newest.tells_of("1.6.0") && !newest.tells_of("1.9.0"));
    }

    #[test]
    fn the_default_is_in_the_catalogue() {
        assert_eq!(Release::find(DEFAULT).map(|release| release.version), Ok(DEFAULT));
    }
}
