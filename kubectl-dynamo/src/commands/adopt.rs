//! `adopt`: takes over a deployment that somebody else wrote, without changing what runs.
//!
//! Its live fields become this program's own as they are, other managers let go of the spec, and an annotation holds
//! the wish that was read from it. A later `up NAME FLAGS` carries over what the flags change and leaves the rest: the
//! graph is never rendered anew, since nobody asked for pods in this program's words.

mod error;

use clap::Args;
use serde_json::{Value, json};

use super::confirm::confirm;
use super::deployment::{self, Wish};
use super::frontend::{self, Sought};
use super::up::DryRun;
use super::{Context, print_data, revisions, summary, words};
use crate::change::{Understood, component_mut, disowned, graph_components, owners, understood};
use crate::cluster::{Change, Cluster, ClusterError, Kind, Platform};
use crate::error::{Exit, Result};
use crate::intent::{ServingIntent, Word};
use crate::report::Stage;
use crate::resources::{
    ADOPTED_ANNOTATION, INTENT_ANNOTATION, MANAGED_BY, MANAGER, RELEASE_ANNOTATION, Resource,
};
use error::AdoptError;

/// Take over a deployment that somebody else wrote; no pod moves
#[derive(Args)]
pub(super) struct AdoptArgs {
    /// Name of the deployment
    pub name: String,
    /// Only say what was understood
    #[arg(long, value_name = "MODE", value_parser = words::<DryRun>(), default_value = "none", num_args = 0..=1, default_missing_value = "server")]
    pub dry_run: DryRun,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn run(args: AdoptArgs, context: &Context) -> Result<Exit> {
    let Sought { cluster, platform, graph } = frontend::look(&args.name, context).await?;
    let Some(live) = graph else { return Err(frontend::absent(&cluster, &platform, &args.name).into()) };
    if summary::intent(&live).is_some() {
        context.report.detail(format!("{} is this program's already: unchanged", args.name));
        return Ok(Exit::Ok);
    }
    let Understood { layer, kept } =
        understood(&live).map_err(|strange| AdoptError::Strange { name: args.name.clone(), strange })?;
    let Wish { intent, release } = deployment::understood_wish(layer, &cluster.namespace, &platform)?;
    let resource = taken(&live, &intent, &release, &cluster.namespace);
    let change = compared(&resource, &cluster).await?;
    print_data(&screen(&live, &intent, &release, &kept))?;
    if args.dry_run != DryRun::None {
        return Ok(Exit::Ok);
    }
    if !args.yes && !confirm(&format!("Take over {}?", args.name))? {
        context.report.detail("nothing is changed");
        return Ok(Exit::Ok);
    }
    take_over(&change, &cluster, &platform, context).await
}

async fn take_over(
    change: &Change,
    cluster: &Cluster,
    platform: &Platform,
    context: &Context,
) -> Result<Exit> {
    let name = change.resource.name();
    let mut owned = revisions::apply(cluster, change, true, "adopt", &context.report).await?;
    let kind = Kind::Graph(platform.graph_api);
    for last in [false, false, false, true] {
        match cluster.set_managed_fields(kind, &owned, disowned(&owned, MANAGER)).await {
            Ok(_) => break,
            // Somebody wrote in between, such as the operator its status.
            Err(ClusterError::Refused { .. }) if !last => {
                owned = cluster
                    .get(kind, name)
                    .await?
                    .ok_or_else(|| frontend::absent(cluster, platform, name))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    context.report.done(Stage::Deploy, format!("{} taken over, and no pod moves", change.resource));
    context.report.closing(vec![
        String::new(),
        format!("  change    kubectl dynamo up {name} -n {} --replicas 2", cluster.namespace),
        format!("  see       kubectl dynamo status {name} -n {}", cluster.namespace),
    ]);
    Ok(Exit::Ok)
}

/// The live fields as they are, with the marks by which this program knows its own.
fn taken(live: &Value, intent: &ServingIntent, release: &str, namespace: &str) -> Resource {
    let intent = serde_json::to_string(intent).expect("a wish holds only strings, numbers and lists");
    let mut object = json!({
        "apiVersion": live["apiVersion"],
        "kind": live["kind"],
        "metadata": {
            "name": live["metadata"]["name"],
            "namespace": namespace,
            "labels": { MANAGED_BY: MANAGER, "app.kubernetes.io/name": live["metadata"]["name"] },
            "annotations": {
                INTENT_ANNOTATION: intent, RELEASE_ANNOTATION: release, ADOPTED_ANNOTATION: "true",
            },
        },
        "spec": live["spec"],
    });
    if let Some(spec) = object["spec"].as_object_mut() {
        // Asked for by whoever restarts it, and done.
        spec.remove("restart");
    }
    for component in graph_components(live).iter().filter(|one| one.has_scaling_adapter()) {
        if let Some(fields) = component_mut(&mut object, component.name).and_then(Value::as_object_mut) {
            fields.remove("replicas");
        }
    }
    Resource { object }
}

/// What taking over does, by a dry run; refused where it would touch the spec.
async fn compared(resource: &Resource, cluster: &Cluster) -> Result<Change> {
    let changes = cluster.compare(std::slice::from_ref(resource), true).await?;
    let change = changes.into_iter().next().expect("one object is compared");
    let (live, result) = (change.live.as_ref(), change.result.as_ref());
    let same = |field: &dyn Fn(&Value) -> &Value| live.map(field) == result.map(field);
    if same(&|graph| &graph["spec"]) && same(&|graph| &graph["metadata"]["generation"]) {
        return Ok(change);
    }
    Err(AdoptError::WouldChange { name: resource.name().into() }.into())
}

/// What was understood, what is kept as it is, and who has held it so far.
fn screen(live: &Value, intent: &ServingIntent, release: &str, kept: &[String]) -> String {
    let mut text = format!("{} as it is read:\n", intent.name);
    let mut line = |what: &str, value: String| text.push_str(&format!("  {what:<9} {value}\n"));
    line("model", format!("{} as {}", intent.model, intent.served_model_name));
    line("engine", format!("{}, Dynamo {release}", intent.backend.as_str()));
    line("mode", format!("{}, {} router", intent.topology.mode(), intent.router.mode.as_str()));
    for (role, group) in intent.topology.groups() {
        let parallel = group.parallelism;
        let expert = if parallel.expert { ", expert parallel" } else { "" };
        let shape = format!("TP{} PP{} DP{}{expert}", parallel.tensor, parallel.pipeline, parallel.data);
        line(role.component_name(), format!("×{} {shape}", group.replicas));
    }
    line("frontend", format!("×{}", intent.frontend_replicas));
    line("image", intent.placement.image.clone().unwrap_or_default());
    line("cache", format!("pvc/{}", intent.cache.claim()));
    if let Some(secret) = &intent.token_secret {
        line("token", format!("secret/{} key {}", secret.name, secret.key));
    }
    for kept in kept {
        line("keeps", kept.clone());
    }
    for owner in owners(live, MANAGER) {
        line(
            "held by",
            format!("{owner}, which lets go of the spec; a tool that applies it again takes it back"),
        );
    }
    text
}
