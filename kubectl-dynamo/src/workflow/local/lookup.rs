//! Finds the local deployment that a command refers to, by its name or because it is the only one. It starts
//! and stops nothing.

use crate::local::state::{self, LocalDeployment};
use crate::local::{LocalError, LocalFeature};
use crate::workflow::local::environment::folders_for;
use kubectl_dynamo_core::error::Result;

/// Returns all local deployments, sorted by name.
///
/// # Errors
/// An operating system without local deployments, or a user without a home folder.
pub(crate) fn all_deployments() -> std::result::Result<Vec<LocalDeployment>, LocalError> {
    Ok(state::list(&folders_for(LocalFeature::Runtime)?))
}

/// Returns the named or only local deployment. It must be running.
pub(crate) fn find_running(name: Option<&str>) -> Result<LocalDeployment> {
    let found = find_deployment(name)?;
    if found.is_supervised() {
        return Ok(found);
    }
    Err(LocalError::NotRunning { name: found.spec.name }.into())
}

/// Returns the named or only local deployment, running or not.
pub(crate) fn find_deployment(name: Option<&str>) -> std::result::Result<LocalDeployment, LocalError> {
    if let Some(name) = name {
        return state::find(&folders_for(LocalFeature::Runtime)?, name)
            .ok_or_else(|| LocalError::DeploymentNotFound { name: name.into() });
    }
    let mut all = all_deployments()?;
    match all.len() {
        0 => Err(LocalError::NoDeployments),
        1 => Ok(all.remove(0)),
        _ => Err(LocalError::AmbiguousDeployment { names: names(&all).join(", ") }),
    }
}

/// Returns the names of local deployments.
pub(crate) fn names(all: &[LocalDeployment]) -> Vec<String> {
    all.iter().map(|found| found.spec.name.clone()).collect()
}
