//! What a release's environment holds, version by version.

use crate::intent::Backend;
use crate::release::Release;

/// One run of pip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// What it brings, for people.
    pub(super) title: String,
    pub(super) requirements: Vec<String>,
    /// Whether pip may choose what else is needed.
    pub(super) with_dependencies: bool,
}

/// What Dynamo's frontend and mocker import, pinned as they were tried together with 1.6.1 and 1.5.1.
/// Dynamo's own list of dependencies is not used: it names a package that PyPI holds only as an empty shell.
const BESIDE_DYNAMO: &[&str] = &[
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

/// What `ai-dynamo[vllm]` of each release names as its engine and its KV transfer, read in the wheels.
const VLLM: &[(&str, [&str; 2])] = &[
    ("1.0.2", ["vllm[flashinfer,runai]==0.16.0", "nixl[cu12]<=0.10.1"]),
    ("1.1.1", ["vllm[flashinfer,otel,runai]==0.19.0", "nixl[cu12]<=0.10.1"]),
    ("1.2.1", ["vllm[flashinfer,otel,runai]==0.20.1", "nixl[cu12]<=0.10.1"]),
    ("1.3.1", ["vllm[flashinfer,otel,runai]==0.23.0", "nixl[cu13]==1.1.0"]),
    ("1.4.2", ["vllm[flashinfer,otel,runai]==0.26.0", "nixl[cu13]==1.3.2"]),
    ("1.5.1", ["vllm[flashinfer,otel,runai]==0.28.0", "nixl[cu13]==1.3.2"]),
    ("1.6.1", ["vllm[flashinfer,otel,runai]==0.31.0", "nixl[cu13]==1.4.1"]),
];

/// What `dynamo.vllm` imports besides, in the ranges of those wheels; vLLM's own needs choose within them.
const BESIDE_VLLM: &[&str] = &[
    "aiohttp<4.0",
    "blake3>=1.0.0,<2.0.0",
    "kubernetes>=32.0.1,<33.0.0",
    "msgspec>=0.19.0",
    "prometheus-client>=0.23.1,<1.0",
    "pyzmq>=26.0.0",
    "uvloop",
];

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
            requirements: owned(BESIDE_DYNAMO),
            with_dependencies: false,
        },
        Backend::Vllm => {
            let engine = VLLM.iter().find(|(known, _)| *known == release.version);
            let engine = engine.map_or(&["vllm", "nixl"], |(_, engine)| engine);
            Step {
                title: engine[0].into(),
                requirements: owned(&[engine, BESIDE_VLLM].concat()),
                with_dependencies: true,
            }
        }
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
