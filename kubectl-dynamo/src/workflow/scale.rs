//! Changes the replica counts of a deployment and nothing else.
//!
//! It does not render the deployment again as `up` does, because a newer plugin could render other changes
//! too and replace pods. It applies the last applied spec with new replica counts, in the spec and in the
//! stored intent, so the next `up NAME` finds no difference. If a scaling adapter owns the replicas of a
//! component, it changes the adapter and not the graph. Several objects cannot be changed in one request, so
//! each change is validated by the API server before the first one is written.

mod adapters;
mod error;
mod targets;

use std::cell::Cell;

use serde_json::Value;

use crate::context::Context;
use crate::report::{Report, Stage};
use crate::workflow::confirm_change::Confirmation;
use crate::workflow::interrupt::RolloutPhase;
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::revisions;
use crate::workflow::rollout::{
    self, ChangeOptions, ChangeOutcome, ChangeRequest, CheckedChange, DryRun, RolloutWait,
};
use crate::workflow::wait_ready::{self, RolloutTarget};
use adapters::AdapterChange;
use error::ScaleError;
use kubectl_dynamo_cluster::{Change, Cluster, SendMode};
use kubectl_dynamo_core::change::owned_by;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::graph::{GraphView, component_mut};
use kubectl_dynamo_core::resources::{
    FIELD_MANAGER, INTENT_ANNOTATION, Resource, object_at, update_spec_hash,
};
use targets::{ReplicaChange, replica_changes};

/// The requested replica counts; `None` leaves a count as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestedReplicas {
    /// Of all workers; in a disaggregated deployment, of prefill and of decode workers each.
    pub workers: Option<u32>,
    pub prefill: Option<u32>,
    pub decode: Option<u32>,
    pub frontend: Option<u32>,
}

/// Changes the replica counts and waits until the deployment serves.
///
/// # Errors
/// A change that is rejected or does not become ready. If only a part of it was applied, the error lists both
/// parts.
pub(crate) async fn scale(
    name: &str,
    requested: &RequestedReplicas,
    options: &ChangeOptions,
    context: &Context,
) -> Result<ChangeOutcome> {
    let ClusterDeployment { cluster, platform, graph } = lookup::get_deployment(name, context).await?;
    let (by_adapter, direct): (Vec<ReplicaChange>, Vec<ReplicaChange>) =
        replica_changes(name, requested, &graph)?.into_iter().partition(|one| one.has_adapter);
    let resource = match direct.as_slice() {
        [] => None,
        direct => Some(with_replicas(&graph, direct, &cluster.namespace)?),
    };
    let request = ChangeRequest { cause: "scale", confirmation: Confirmation::AssumeYes, options };
    if let Some(resource) = resource.as_ref().filter(|_| by_adapter.is_empty()) {
        return rollout::apply_and_wait(resource, &request, &platform, &cluster, context).await;
    }
    let adapter_changes = adapters::find(&cluster, platform.graph_api, name, &by_adapter).await?;
    if options.dry_run != DryRun::Client {
        for change in &adapter_changes {
            change.send(&cluster, SendMode::DryRun).await?;
        }
    }
    let mut graph_change = None;
    if let Some(resource) = &resource {
        match rollout::check(resource, &request, &platform, &cluster, context).await? {
            CheckedChange::Confirmed(change) => graph_change = Some(change),
            CheckedChange::Declined => return Ok(ChangeOutcome::Finished(Exit::Ok)),
            CheckedChange::Preview(preview) => {
                report_adapters(&adapter_changes, &context.report);
                return Ok(ChangeOutcome::Preview(preview));
            }
        }
    }
    if options.dry_run != DryRun::None {
        report_adapters(&adapter_changes, &context.report);
        return Ok(ChangeOutcome::Finished(Exit::Ok));
    }
    let target = RolloutTarget::from_graph(&graph, platform.graph_api);
    let operation = ScaleOperation {
        cluster: &cluster,
        report: &context.report,
        target: &target,
        options,
        graph_change: graph_change.as_deref(),
        direct: &direct,
        by_adapter: &by_adapter,
        adapter_changes: &adapter_changes,
    };
    operation.run(&graph).await.map(ChangeOutcome::Finished)
}

fn report_adapters(changes: &[AdapterChange<'_>], report: &Report) {
    for change in changes {
        report.info(format!("{}, through its scaling adapter", change.replicas));
    }
}

/// A validated change of scaling adapters and possibly of the graph.
struct ScaleOperation<'a> {
    cluster: &'a Cluster,
    report: &'a Report,
    target: &'a RolloutTarget,
    options: &'a ChangeOptions,
    graph_change: Option<&'a Change>,
    direct: &'a [ReplicaChange],
    by_adapter: &'a [ReplicaChange],
    adapter_changes: &'a [AdapterChange<'a>],
}

impl ScaleOperation<'_> {
    async fn run(&self, graph: &Value) -> Result<Exit> {
        let Self { cluster, report, target, options, .. } = *self;
        let phase = Cell::new(RolloutPhase::NotSent);
        let wait = RolloutWait { options: options.wait, target, cluster, report };
        let rollout = async {
            let restarts_before = wait_ready::restart_counts(cluster, &target.name).await;
            phase.set(RolloutPhase::Sent);
            let live = self.write(graph).await?;
            // An update of the graph is complete only with the replicas of its adapters.
            if !options.wait.detach || self.graph_change.is_some() {
                adapters::wait_until_applied(cluster, target, self.by_adapter, report).await?;
            }
            if !options.wait.detach && self.graph_change.is_none() {
                report.done(Stage::Deploy, format!("deployment \"{}\" scaled", target.name));
            }
            wait.until_serving(&live, restarts_before).await
        };
        let exit = wait.with_deadline(rollout, &phase).await?;
        if let Some(change) = self.graph_change.filter(|_| exit == Exit::Ok) {
            rollout::report_applied(change, target, cluster, report);
        }
        Ok(exit)
    }

    /// Writes the graph, then the adapters. Returns the graph.
    async fn write(&self, graph: &Value) -> Result<Value> {
        let Self { cluster, report, options, .. } = *self;
        let mut live = graph.clone();
        if let Some(change) = self.graph_change {
            live = revisions::apply(cluster, change, options.conflicts, "scale", report).await?;
            report.done(Stage::Deploy, format!("{} {}", change.resource, change.outcome));
        }
        for (position, change) in self.adapter_changes.iter().enumerate() {
            if let Err(cause) = change.send(cluster, SendMode::Write).await {
                let (done, rest) = self.adapter_changes.split_at(position);
                let text = |one: &AdapterChange<'_>| one.replicas.to_string();
                let changed = self.direct.iter().map(ToString::to_string).chain(done.iter().map(text));
                let changed: Vec<String> = changed.collect();
                let not_changed = rest.iter().map(text).collect();
                return Err(match changed.is_empty() {
                    true => cause,
                    false => ScaleError::PartiallyScaled { cause, changed, not_changed }.into(),
                });
            }
            report_adapters(std::slice::from_ref(change), report);
        }
        Ok(live)
    }
}

/// Returns the last applied object with new replica counts.
fn with_replicas(graph: &Value, changes: &[ReplicaChange], namespace: &str) -> Result<Resource> {
    let name = GraphView::new(graph).name();
    let Some(mut object) = owned_by(graph, FIELD_MANAGER) else {
        return Err(ScaleError::NotManaged { name: name.into(), namespace: namespace.into() }.into());
    };
    for one in changes {
        if let Some(component) = component_mut(&mut object, &one.component) {
            object_at(component, &[]).insert("replicas".into(), one.to.into());
        }
    }
    if let Some(intent) = targets::intent_with_replicas(graph, changes) {
        object_at(&mut object, &["metadata", "annotations"]).insert(INTENT_ANNOTATION.into(), intent.into());
    }
    update_spec_hash(&mut object);
    Ok(Resource { object })
}
