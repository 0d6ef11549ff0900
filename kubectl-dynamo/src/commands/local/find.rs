//! Which local deployment a verb means.

use super::machine;
use crate::error::Result;
use crate::local::state::{self, Found};
use crate::local::{Folders, LocalError};

/// The deployment of a name, or the only one; it must run.
pub(in crate::commands) fn serving(name: Option<&str>) -> Result<Found> {
    let found = find(&machine::folders()?, name)?;
    if found.is_supervised() {
        return Ok(found);
    }
    Err(LocalError::NotServing { name: found.deployment.name }.into())
}

/// The deployment of a name, or the only one.
pub(super) fn find(folders: &Folders, name: Option<&str>) -> std::result::Result<Found, LocalError> {
    if let Some(name) = name {
        return state::find(folders, name).ok_or_else(|| LocalError::NoSuchDeployment { name: name.into() });
    }
    let mut all = state::list(folders);
    match all.len() {
        0 => Err(LocalError::NoDeployment),
        1 => Ok(all.remove(0)),
        _ => Err(LocalError::WhichDeployment { names: names(&all).join(", ") }),
    }
}

/// Their names.
pub(super) fn names(all: &[Found]) -> Vec<String> {
    all.iter().map(|found| found.deployment.name.clone()).collect()
}
