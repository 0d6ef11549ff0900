//! Describes what each Dynamo runtime version understands. Each difference is an enum, so the compiler lists
//! every place that must handle a new variant. Only `catalog.rs` may contain version numbers.

mod catalog;
mod features;
mod measured_loss;
mod memory_rules;
mod metric_names;
mod parser_names;

use crate::intent::IntentError;
pub use catalog::{
    AICONFIGURATOR_VERSION, AIPERF_IMAGE, AIPERF_VERSION, CATALOG, DEFAULT_RELEASE, MEASURED_LOSSES,
    MOCKER_PACKAGES, SECOND_VERSION_PARSERS, TRANSFORMERS_PACKAGES, VLLM_EXTRA_PACKAGES, newest_release_for,
};
pub use features::{
    CUDA_13_SUFFIX, ConfigurationReader, ConnectorSpelling, CudaImages, Executor, FileDiscovery, ImageTag,
    KvEvents, KvEventsSwitch, Kvbm, MigrationLimit, ModelCard, OverlapSetting, RoleSpelling, RouterTtl,
    SessionAffinity,
};
pub use measured_loss::{MeasuredLoss, ReplacedPods};
pub use memory_rules::{CheckpointKvFormats, InFlightSteps, MemoryRules, WindowLimits, YarnLength};
pub use metric_names::Metric;
pub use parser_names::UnknownParser;

/// Generation of the operator, derived from API discovery, which does not require a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorGeneration {
    /// The API server serves only v1alpha1.
    AlphaOnly,
    /// The API server serves v1beta1 for requests but not for graphs.
    ServesBetaGroup,
    /// The API server serves graphs as v1beta1 and stores them as v1alpha1.
    ServesBetaGraph,
    /// The API server stores graphs as v1beta1.
    StoresBeta,
}

/// One Dynamo runtime version.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// Full version, which is also the image tag.
    pub version: &'static str,
    pub role_spelling: RoleSpelling,
    pub connector_spelling: ConnectorSpelling,
    pub kv_events: KvEvents,
    pub kv_events_switch: KvEventsSwitch,
    pub overlap_setting: OverlapSetting,
    pub router_ttl: RouterTtl,
    pub migration_limit: MigrationLimit,
    pub session_affinity: SessionAffinity,
    pub kvbm: Kvbm,
    pub executor: Executor,
    pub cuda_images: CudaImages,
    pub image_tag: ImageTag,
    pub file_discovery: FileDiscovery,
    pub model_card: ModelCard,
    pub configuration_reader: ConfigurationReader,
    pub memory: MemoryRules,
    /// The requirements of `ai-dynamo[vllm]` for the engine and KV transfer, in pip notation.
    pub vllm_packages: [&'static str; 2],
}

impl Release {
    /// Finds the release for a version as users write it: `1.6.1`, `v1.6`, `1.2.0-cuda13`. One row covers all
    /// patches of a minor version. A newer minor version of a known major version uses the newest row, if the patch is
    /// given: the catalog cannot complete it.
    ///
    /// # Errors
    /// Text that is not a version, a version older than the first row, an unknown major version, and an unknown minor
    /// version without a patch.
    pub fn find(version: &str) -> Result<&'static Self, IntentError> {
        let requested = parse_version(version)?;
        if let Some(known) = CATALOG.iter().find(|release| major_minor(release.version) == Some(requested)) {
            return match known.cuda_images {
                CudaImages::Thirteen if version.ends_with(CUDA_13_SUFFIX) => {
                    let reason =
                        format!("its images already use CUDA 13 and do not have the suffix {CUDA_13_SUFFIX}");
                    Err(unsupported(version, reason))
                }
                _ => Ok(known),
            };
        }
        let (oldest, newest) = (&CATALOG[0], &CATALOG[CATALOG.len() - 1]);
        match major_minor(newest.version) {
            Some((major, minor)) if requested.0 == major && requested.1 > minor => match has_patch(version) {
                true => Ok(newest),
                false => Err(outside_catalog(
                    version,
                    format!(
                        "its patches are not known: give one, such as {}.0",
                        version.trim_start_matches('v')
                    ),
                )),
            },
            _ => Err(outside_catalog(
                version,
                format!("the known releases are {} to {}", oldest.version, newest.version),
            )),
        }
    }

    /// Finds the release like [`Release::find`], but uses the nearest row for versions outside the known
    /// range.
    ///
    /// # Errors
    /// Text that is not a version.
    pub fn nearest(version: &str) -> Result<&'static Self, IntentError> {
        match Self::find(version) {
            Err(IntentError::UnsupportedRelease { forceable: true, .. }) => {
                let is_older = Some(parse_version(version)?) < major_minor(CATALOG[0].version);
                Ok(if is_older { &CATALOG[0] } else { &CATALOG[CATALOG.len() - 1] })
            }
            found => found,
        }
    }

    /// Whether the row describes the minor version of `version`, instead of only being the nearest row.
    pub fn covers_minor(&self, version: &str) -> bool {
        major_minor(version) == major_minor(self.version)
    }

    /// Completes a version: `v1.6` becomes the newest known patch of 1.6. An explicit patch or suffix is
    /// kept, and so is a version that this row only approximates.
    pub fn full_version(&self, given: &str) -> String {
        let is_complete = has_patch(given) || !self.covers_minor(given);
        if is_complete { given.trim_start_matches('v').into() } else { self.version.into() }
    }

    /// The vLLM version of the runtime, such as `0.20.1`.
    pub fn vllm_version(&self) -> &'static str {
        let [vllm, _] = self.vllm_packages;
        vllm.rsplit("==").next().unwrap_or(vllm)
    }

    /// The runtime image of a full version.
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

/// Returns whether a version has a third part.
fn has_patch(version: &str) -> bool {
    version.split('.').count() > 2
}

/// Parses the major and minor version from user input.
fn parse_version(version: &str) -> Result<(u32, u32), IntentError> {
    // The version becomes an image tag.
    let is_tag_char = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    major_minor(version)
        .filter(|_| version.chars().all(is_tag_char))
        .ok_or_else(|| unsupported(version, format!("expected a version such as {DEFAULT_RELEASE}")))
}

/// The error of a version that `--force-release` does not accept either.
fn unsupported(version: &str, reason: String) -> IntentError {
    let known = known_versions();
    IntentError::UnsupportedRelease { given: version.into(), reason, known, forceable: false }
}

/// The error of a version without a row, which `--force-release` accepts.
fn outside_catalog(version: &str, reason: String) -> IntentError {
    let known = known_versions();
    IntentError::UnsupportedRelease { given: version.into(), reason, known, forceable: true }
}

fn known_versions() -> Vec<&'static str> {
    CATALOG.iter().map(|release| release.version).collect()
}

/// Major and minor version of a string with at least two numbers.
pub(crate) fn major_minor(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_ignores_patch_and_suffix() {
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
    fn full_version_appends_the_newest_patch() {
        for (given, full) in [
            ("1.6", DEFAULT_RELEASE),
            ("v1.6", DEFAULT_RELEASE),
            ("1.6.0", "1.6.0"),
            ("v1.2.0-cuda13", "1.2.0-cuda13"),
        ] {
            assert_eq!(
                Release::find(given).map(|release| release.full_version(given)),
                Ok(full.into()),
                "{given}"
            );
        }
    }

    #[test]
    fn rejects_unsupported_versions() {
        for given in [
            "0.8.1",
            "2.0.0",
            "1.9",
            "v1.7",
            "latest",
            "",
            "1",
            "1.6.1/x",
            "1.6.1 ",
            "1.6.1@sha256:0",
            "1.6.1-cuda13",
        ] {
            assert!(matches!(Release::find(given), Err(IntentError::UnsupportedRelease { .. })), "{given}");
        }
    }

    #[test]
    fn force_release_falls_back_to_nearest_release() {
        let nearest = |given: &str| Release::nearest(given).map(|release| release.version);
        assert_eq!(nearest("2.0.0"), Ok(CATALOG[CATALOG.len() - 1].version));
        assert_eq!(nearest("0.8.1"), Ok(CATALOG[0].version));
        assert_eq!(nearest("1.5"), Ok("1.5.1"));
        assert!(nearest("latest").is_err());
        let newest = &CATALOG[CATALOG.len() - 1];
        assert_eq!((nearest("1.9"), newest.full_version("v1.9")), (Ok(newest.version), "1.9".into()));
        assert!(newest.covers_minor("1.6.0") && !newest.covers_minor("1.9.0"));
    }

    #[test]
    fn newest_release_depends_on_the_operator() {
        use OperatorGeneration::{AlphaOnly, ServesBetaGraph, StoresBeta};
        for (generation, operator, release) in [
            (StoresBeta, Some("1.5.0"), "1.5.1"),
            (StoresBeta, Some("v1.6.0-rc1"), "1.6.1"),
            (StoresBeta, Some("1.9.0"), "1.6.1"),
            (StoresBeta, Some("2.0.0"), "1.6.1"),
            (StoresBeta, Some("latest"), "1.6.1"),
            (StoresBeta, None, "1.6.1"),
            (ServesBetaGraph, Some("1.3.2"), "1.3.1"),
            (ServesBetaGraph, Some("1.5.0"), "1.4.2"),
            (AlphaOnly, Some("0.9.1"), "0.9.1"),
            (AlphaOnly, Some("0.7.0"), "0.9.1"),
        ] {
            assert_eq!(newest_release_for(generation, operator), release, "{generation:?} {operator:?}");
        }
    }

    #[test]
    fn default_release_is_in_the_catalog() {
        assert_eq!(Release::find(DEFAULT_RELEASE).map(|release| release.version), Ok(DEFAULT_RELEASE));
    }
}
