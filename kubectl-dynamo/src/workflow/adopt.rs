//! Takes over the management of a deployment that kubectl-dynamo did not create.
//!
//! The live fields are applied unchanged with this program's field manager, other managers release the spec,
//! and an annotation stores the imported intent. A later `up NAME FLAGS` changes only the fields that the
//! flags affect. Adoption must not change the spec, and the graph is never rendered from the intent: that
//! would replace its pods.

mod error;

use serde_json::{Value, json};

use crate::context::Context;
use crate::report::{Report, Stage};
use crate::typed_command::{deployment_command, typed};
use crate::workflow::lookup::{self, ClusterDeployment};
use crate::workflow::resolve::{self, ImportedIntent};
use crate::workflow::{revisions, summary};
use error::AdoptError;
use kubectl_dynamo_cluster::{Change, Cluster, ClusterError, ConflictPolicy, Kind, Platform};
use kubectl_dynamo_core::change::{ImportedGraph, import_graph, release_spec_ownership};
use kubectl_dynamo_core::command::SuggestedCommand;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::{GraphView, component_mut};
use kubectl_dynamo_core::intent::{ServingIntent, Topology};
use kubectl_dynamo_core::resources::{
    ADOPTED_ANNOTATION, FIELD_MANAGER, INTENT_ANNOTATION, MANAGED_BY_LABEL, NAME_LABEL, RELEASE_ANNOTATION,
    Resource, object_at,
};

/// A validated adoption, before anything is written.
pub(crate) struct Adoption {
    pub live: Value,
    pub imported: ImportedIntent,
    /// The parts of the graph that have no setting and are kept unchanged.
    pub preserved: Vec<String>,
    change: Change,
    cluster: Cluster,
    platform: Platform,
}

/// What an adoption would do.
pub(crate) enum PlannedAdoption {
    AlreadyManaged,
    Change(Box<Adoption>),
}

/// Imports the settings of a deployment and validates its adoption. Writes nothing.
///
/// # Errors
/// A graph that cannot be imported, or an adoption that would change its spec.
pub(crate) async fn plan(name: &str, context: &Context) -> Result<PlannedAdoption> {
    let ClusterDeployment { cluster, platform, graph: live } = lookup::get_deployment(name, context).await?;
    if summary::stored_intent(&live).is_some() {
        return Ok(PlannedAdoption::AlreadyManaged);
    }
    let ImportedGraph { layer, unmapped: preserved } = import_graph(&live)
        .map_err(|import_error| AdoptError::NotImportable { name: name.into(), import_error })?;
    let imported = resolve::resolve_imported(layer, &cluster.namespace, &platform)?;
    let resource = adopted_resource(&live, &imported.intent, &imported.release, &cluster.namespace);
    let change = dry_run_adoption(&resource, &cluster).await?;
    Ok(PlannedAdoption::Change(Box::new(Adoption { live, imported, preserved, change, cluster, platform })))
}

impl Adoption {
    /// Applies the adoption and makes the other field managers release the spec.
    ///
    /// # Errors
    /// Every API error.
    pub(crate) async fn apply(&self, report: &Report) -> Result<()> {
        let Self { change, cluster, platform, imported, .. } = self;
        let name = change.resource.name();
        let mut applied = revisions::apply(cluster, change, ConflictPolicy::Force, "adopt", report).await?;
        let kind = Kind::Graph(platform.graph_api);
        for is_last_attempt in [false, false, false, true] {
            match cluster
                .set_managed_fields(kind, &applied, release_spec_ownership(&applied, FIELD_MANAGER))
                .await
            {
                Ok(_) => break,
                // Another client updated the object in between, such as the operator with its status.
                Err(ClusterError::Rejected { .. }) if !is_last_attempt => {
                    applied = cluster
                        .get(kind, name)
                        .await?
                        .ok_or_else(|| lookup::not_found(cluster, platform, name))?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        report.done(Stage::Deploy, format!("{} adopted; its pods are unchanged", change.resource));
        let command = |verb: &str| deployment_command(verb, name, &cluster.namespace);
        report.summary(vec![
            String::new(),
            format!("  change    {}", typed(example_change(&imported.intent, command("up")))),
            format!("  status    {}", typed(command("status"))),
        ]);
        Ok(())
    }
}

/// Adds a flag that `up` accepts for this deployment: one more worker.
fn example_change(intent: &ServingIntent, up: SuggestedCommand) -> SuggestedCommand {
    let (flag, group) = match &intent.topology {
        Topology::Aggregated { worker } => ("--replicas", worker),
        Topology::Disaggregated { decode, .. } => ("--decode-replicas", decode),
    };
    up.flag(flag).flag(&(group.replicas + 1).to_string())
}

/// Builds the object to apply: the live fields plus the labels and annotations of a managed deployment.
fn adopted_resource(live: &Value, intent: &ServingIntent, release: &str, namespace: &str) -> Resource {
    let intent = serde_json::to_string(intent).expect("an intent contains only strings, numbers, and lists");
    let live = GraphView::new(live);
    let mut object = json!({
        "apiVersion": live.api_version(),
        "kind": live.kind(),
        "metadata": {
            "name": live.name(),
            "namespace": namespace,
            "labels": { MANAGED_BY_LABEL: FIELD_MANAGER, NAME_LABEL: live.name() },
            "annotations": {
                INTENT_ANNOTATION: intent, RELEASE_ANNOTATION: release, ADOPTED_ANNOTATION: "true",
            },
        },
        "spec": live.spec(),
    });
    // A restart request is an earlier, completed action of another client.
    object_at(&mut object, &["spec"]).remove("restart");
    for component in live.components().iter().filter(|one| one.has_scaling_adapter()) {
        if let Some(fields) = component_mut(&mut object, component.name).and_then(Value::as_object_mut) {
            fields.remove("replicas");
        }
    }
    Resource { object }
}

/// Compares with the live object by a server-side dry run.
///
/// # Errors
/// An adoption that would change the spec.
async fn dry_run_adoption(resource: &Resource, cluster: &Cluster) -> Result<Change> {
    let changes = cluster.dry_run(std::slice::from_ref(resource), ConflictPolicy::Force).await?;
    let change = changes.into_iter().next().expect("one object is compared");
    let (live, result) = (change.live.as_ref(), change.result.as_ref());
    let content = |graph: &Value| {
        let graph = GraphView::new(graph);
        (graph.spec().clone(), graph.generation())
    };
    if live.map(content) == result.map(content) {
        return Ok(change);
    }
    Err(AdoptError::WouldChangeSpec { name: resource.name().into() }.into())
}
