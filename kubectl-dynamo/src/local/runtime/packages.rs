//! The pip requirements of a release's Python environment. All versions come from the release catalog.
//! It does not run pip.

use crate::local::python_environment::PipStep;
use kubectl_dynamo_core::intent::Backend;
use kubectl_dynamo_core::release::{
    ConfigurationReader, MOCKER_PACKAGES, Release, TRANSFORMERS_PACKAGES, VLLM_EXTRA_PACKAGES,
};

/// The pip runs that create the environment of `version`, a patch release of `release`.
pub(super) fn install_steps(release: &Release, version: &str, backend: Backend) -> Vec<PipStep> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let dynamo = PipStep {
        title: format!("ai-dynamo {version}"),
        requirements: ["ai-dynamo", "ai-dynamo-runtime"].map(|name| format!("{name}=={version}")).to_vec(),
        with_dependencies: false,
    };
    let dependencies = match backend {
        Backend::Mocker => PipStep {
            title: "dependencies of ai-dynamo".into(),
            requirements: match release.configuration_reader {
                ConfigurationReader::Dynamo => owned(MOCKER_PACKAGES),
                ConfigurationReader::Transformers => {
                    owned(&[MOCKER_PACKAGES, TRANSFORMERS_PACKAGES].concat())
                }
            },
            with_dependencies: false,
        },
        Backend::Vllm => PipStep {
            title: release.vllm_packages[0].into(),
            requirements: owned(&[&release.vllm_packages, VLLM_EXTRA_PACKAGES].concat()),
            with_dependencies: true,
        },
    };
    vec![dynamo, dependencies]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::python_environment::marker_text;
    use kubectl_dynamo_core::release::{CATALOG, FileDiscovery};

    #[test]
    fn every_local_release_pins_vllm() {
        for release in CATALOG.iter().filter(|row| row.file_discovery == FileDiscovery::DiscoveryBackend) {
            let steps = install_steps(release, release.version, Backend::Vllm);
            assert!(marker_text(&steps).contains("vllm[flashinfer"), "{}", release.version);
        }
    }

    #[test]
    fn mocker_environment_pins_every_package() {
        let release = Release::find("1.6.1").expect("the catalog has this release");
        let steps = install_steps(release, "1.6.1", Backend::Mocker);
        assert!(steps.iter().all(|step| !step.with_dependencies));
        assert!(marker_text(&steps).lines().all(|line| line.contains("==")));
    }
}
