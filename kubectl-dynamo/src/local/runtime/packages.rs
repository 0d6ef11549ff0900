//! What a release's environment holds, version by version.

use crate::intent::Backend;
use crate::release::{
    BESIDE_VLLM_PACKAGES, ConfigurationReader, MOCKER_PACKAGES, Release, TRANSFORMERS_PACKAGES,
};

/// One run of pip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What it brings, for people.
    pub(super) title: String,
    pub(super) requirements: Vec<String>,
    /// Whether pip may choose what else is needed.
    pub(super) with_dependencies: bool,
}

/// The steps that make the environment of `version`, a patch of `release`.
pub(super) fn requirements(release: &Release, version: &str, backend: Backend) -> Vec<Step> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let dynamo = Step {
        title: format!("ai-dynamo {version}"),
        requirements: ["ai-dynamo", "ai-dynamo-runtime"].map(|name| format!("{name}=={version}")).to_vec(),
        with_dependencies: false,
    };
    let beside = match backend {
        Backend::Mocker => Step {
            title: "what ai-dynamo imports".into(),
            requirements: match release.configuration_reader {
                ConfigurationReader::Dynamo => owned(MOCKER_PACKAGES),
                ConfigurationReader::Transformers => {
                    owned(&[MOCKER_PACKAGES, TRANSFORMERS_PACKAGES].concat())
                }
            },
            with_dependencies: false,
        },
        Backend::Vllm => Step {
            title: release.vllm_packages[0].into(),
            requirements: owned(&[&release.vllm_packages, BESIDE_VLLM_PACKAGES].concat()),
            with_dependencies: true,
        },
    };
    vec![dynamo, beside]
}

/// The steps as the marker holds them.
pub(super) fn as_text(steps: &[Step]) -> String {
    steps.iter().flat_map(|step| &step.requirements).map(|requirement| format!("{requirement}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{CATALOG, FileDiscovery};

    #[test]
    fn every_release_that_runs_on_one_machine_has_its_vllm() {
        for release in CATALOG.iter().filter(|row| row.file_discovery == FileDiscovery::DiscoveryBackend) {
            let steps = requirements(release, release.version, Backend::Vllm);
            assert!(as_text(&steps).contains("vllm[flashinfer"), "{}", release.version);
        }
    }

    #[test]
    fn a_mocker_environment_is_pinned_whole() {
        let release = Release::find("1.6.1").expect("in the catalogue");
        let steps = requirements(release, "1.6.1", Backend::Mocker);
        assert!(steps.iter().all(|step| !step.with_dependencies));
        assert!(as_text(&steps).lines().all(|line| line.contains("==")));
    }
}
