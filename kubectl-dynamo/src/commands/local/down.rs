//! `down --local`: stops local deployments and removes their state. It does not delete cached models or
//! runtimes.

use crate::context::Context;
use crate::local::state::{self, LocalDeployment};
use crate::report::Stage;
use crate::workflow::local::lookup::{all_deployments, find_deployment};
use kubectl_dynamo_core::error::{Exit, Result};

/// Stops all deployments.
pub(in crate::commands) async fn down_all(context: &Context) -> Result<Exit> {
    stop(all_deployments()?, context).await
}

/// Stops the named deployments, or the only one if no name is given.
pub(in crate::commands) async fn down(names: &[String], context: &Context) -> Result<Exit> {
    let found = match names {
        [] => vec![find_deployment(None)?],
        names => {
            let named = names.iter().map(|name| find_deployment(Some(name)));
            named.collect::<std::result::Result<_, _>>()?
        }
    };
    stop(found, context).await
}

async fn stop(found: Vec<LocalDeployment>, context: &Context) -> Result<Exit> {
    if found.is_empty() {
        context.report.info("no local deployments found");
    }
    for found in found {
        let name = &found.spec.name;
        context.report.waiting(Stage::Deploy, format!("the processes of deployment \"{name}\" to exit"));
        found.stop().await;
        state::remove(&found.folder)?;
        context.report.done(Stage::Deploy, format!("{name} stopped"));
    }
    Ok(Exit::Ok)
}
