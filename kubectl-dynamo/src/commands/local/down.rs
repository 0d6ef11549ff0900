//! `down --local`: ends deployments and forgets them. Models and runtimes stay in the cache.

use super::{find, machine};
use crate::commands::Context;
use crate::error::{Exit, Result};
use crate::local::state;
use crate::report::Stage;

/// Ends those that are named, the only one, or all.
pub(in crate::commands) async fn down(names: &[String], all: bool, context: &Context) -> Result<Exit> {
    let folders = machine::folders()?;
    let found = if all {
        state::list(&folders)
    } else {
        match names {
            [] => vec![find::find(&folders, None)?],
            names => {
                let named = names.iter().map(|name| find::find(&folders, Some(name)));
                named.collect::<std::result::Result<_, _>>()?
            }
        }
    };
    if found.is_empty() {
        context.report.detail("no deployments on this machine");
    }
    for found in found {
        let name = &found.deployment.name;
        context.report.waiting(Stage::Deploy, format!("the processes of {name} to end"));
        found.end().await;
        state::forget(&found.folder)?;
        context.report.done(Stage::Deploy, format!("{name} ended"));
    }
    Ok(Exit::Ok)
}
