//! Compares a request with the live objects by a server-side dry run. It must not change anything on the
//! cluster.

use crate::context::Context;
use crate::workflow::confirm_change;
use crate::workflow::resolve::{self, TokenSecretCheck};
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::collect_input;
use kubectl_dynamo_cluster::{Change, ConflictPolicy};
use kubectl_dynamo_core::change::{Difference, GraphChange, differences};
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::error::Result;

/// Options of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiffOptions {
    /// Assume that fields of other managers are taken over.
    pub conflicts: ConflictPolicy,
}

/// What `up` would change.
pub(crate) struct DeploymentDiff {
    pub name: String,
    pub objects: Vec<ObjectDiff>,
}

/// The change of one object and its effect on pods.
pub(crate) struct ObjectDiff {
    pub change: Change,
    pub effect: Option<GraphChange>,
}

impl ObjectDiff {
    pub(crate) fn has_changes(&self) -> bool {
        self.change.outcome.is_write()
    }

    pub(crate) fn differences(&self) -> Vec<Difference> {
        match (&self.change.live, &self.change.result) {
            (Some(live), Some(result)) => differences(live, result),
            _ => Vec::new(),
        }
    }
}

/// Compares the objects of a request with the live ones, and reports warnings.
///
/// # Errors
/// A request that cannot be resolved, or an object that the API server rejects.
pub(crate) async fn compare(
    serving: &ServingInput,
    options: &DiffOptions,
    context: &Context,
) -> Result<DeploymentDiff> {
    context.kube.refuse_all_namespaces()?;
    let input = collect_input(serving)?;
    input.check()?;
    let cluster = context.cluster().await?;
    let platform = cluster.platform().await?;
    let deployment =
        resolve::resolve_input(&input, &cluster, &platform, TokenSecretCheck::Required, &context.report)
            .await?;
    for warning in &deployment.warnings {
        context.report.warn(Some(MessageCode::PvcDiffersFromRequest), warning, None);
    }
    let objects: Vec<ObjectDiff> = cluster
        .dry_run(&deployment.resources, options.conflicts)
        .await?
        .into_iter()
        .map(|change| ObjectDiff { effect: confirm_change::effect(&change, &platform), change })
        .collect();
    objects
        .iter()
        .flat_map(|one| confirm_change::adapter_owned_lines(&one.change))
        .for_each(|line| context.report.info(line));
    Ok(DeploymentDiff { name: deployment.name, objects })
}
