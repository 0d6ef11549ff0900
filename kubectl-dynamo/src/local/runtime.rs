//! Installs the Dynamo runtime of one release into a private Python environment and reuses it.

mod packages;

use std::path::Path;

use super::python_environment::PythonEnvironment;
pub use super::python_environment::Runtime;
use super::{Folders, LocalError, LocalObserver};
use kubectl_dynamo_core::intent::Backend;
use kubectl_dynamo_core::release::{FileDiscovery, ModelCard, Release};

/// The runtime that a local deployment needs.
#[derive(Debug, Clone, Copy)]
pub struct RuntimeRequest<'a> {
    pub release: &'a Release,
    /// Version of the Dynamo package.
    pub version: &'a str,
    pub backend: Backend,
    /// Path of this program, which runs pip as a supervisor.
    pub supervisor: &'a Path,
}

/// Finds or installs a runtime.
///
/// # Errors
/// A release without support for local deployments, no suitable Python, or a failed installation.
pub async fn prepare(
    folders: &Folders,
    request: &RuntimeRequest<'_>,
    observer: LocalObserver<'_>,
) -> Result<Runtime, LocalError> {
    let RuntimeRequest { release, version, backend, supervisor } = *request;
    if let Some(reason) = missing_service(release) {
        return Err(LocalError::UnsupportedRelease { version: version.into(), reason });
    }
    let name = match backend {
        Backend::Mocker => version.to_owned(),
        Backend::Vllm => format!("{version}-vllm"),
    };
    let environment = PythonEnvironment {
        parent: folders.runtimes(),
        name,
        title: format!("the Dynamo {version} runtime"),
        steps: packages::install_steps(release, version, backend),
        supervisor,
    };
    environment.prepare(observer).await
}

/// Why a release cannot run without other services; `None` if it can.
fn missing_service(release: &Release) -> Option<&'static str> {
    match (release.file_discovery, release.model_card) {
        (FileDiscovery::StoreKv, _) => Some("its mocker needs a NATS server"),
        (_, ModelCard::FrontendResolvesName | ModelCard::FrontendReadsPath) => {
            Some("its frontend looks up the model on the hub by the served name")
        }
        (FileDiscovery::DiscoveryBackend, ModelCard::WorkersServe) => None,
    }
}
