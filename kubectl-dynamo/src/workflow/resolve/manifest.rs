//! The objects of a manifest, which are applied unchanged except for the namespace and labels. They are checked like
//! rendered objects: API version, names, engine flags, and the existence of referenced PVCs and Secrets.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::workflow::resolve::error::ResolveError;
use crate::workflow::resolve::{ClusterAssumptions, ResolvedDeployment, images, immutable, name_budget};
use kubectl_dynamo_cluster::{Cluster, ClusterError, Kind, Platform};
use kubectl_dynamo_core::change::vllm_args;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::graph::{ComponentView, GraphView, References};
use kubectl_dynamo_core::intent::image::{ImageReferenceError, check_image_reference, find_variable};
use kubectl_dynamo_core::intent::name::{self, NamedComponent};
use kubectl_dynamo_core::object::ObjectView;
use kubectl_dynamo_core::plan;
use kubectl_dynamo_core::readiness::is_terminating;
use kubectl_dynamo_core::resources::{
    FIELD_MANAGER, GraphApi, MANAGED_BY_LABEL, NAME_LABEL, Resource, creator_of, invalid_metadata_field,
    is_companion, list_companions, mark_companion, object_at,
};

/// Resolves the objects of a manifest to a deployment. The graph is the last object.
pub(crate) async fn from_manifest(
    objects: &[Value],
    cluster: &Cluster,
    platform: &Platform,
) -> Result<ResolvedDeployment> {
    let assumptions = ClusterAssumptions {
        namespace: &cluster.namespace,
        graph_api: platform.graph_api,
        budget: name_budget(platform),
    };
    let mut deployment = from_objects(objects, &assumptions)?;
    check_pvcs(&deployment.resources, cluster).await?;
    check_secrets(&deployment.resources, cluster).await?;
    let live = cluster.get(Kind::Graph(platform.graph_api), &deployment.name).await?;
    let live = live.filter(|graph| !is_terminating(graph));
    if let Some(live) = &live {
        let api = platform.graph_api;
        let max_name_length = assumptions.budget.max_name_length(&cluster.namespace, &[]);
        immutable::check_immutable_fields(cluster, api, live, &deployment.resources, max_name_length).await?;
    }
    mark_companions(&mut deployment, cluster, live.as_ref()).await?;
    deployment.exists = live.is_some();
    Ok(deployment)
}

/// Labels the companions that the plugin creates, or has created, with the deployment, and lists all of them in the
/// graph. An object that another tool created is applied without the label, so `down` does not delete it.
async fn mark_companions(
    deployment: &mut ResolvedDeployment,
    cluster: &Cluster,
    live_graph: Option<&Value>,
) -> Result<()> {
    let name = deployment.name.clone();
    let Some((graph, others)) = deployment.resources.split_last_mut() else { return Ok(()) };
    let mut companions = Vec::new();
    for companion in others.iter_mut().filter(|one| is_companion(&one.object)) {
        let live = match Kind::from_resource(companion) {
            Some(kind) => cluster.get(kind, companion.name()).await?,
            None => None,
        };
        // The label of another deployment is kept: applying the object without it would remove it.
        let creator = match &live {
            Some(live) => creator_of(live),
            None => Some(name.as_str()),
        };
        if let Some(creator) = creator {
            mark_companion(companion, creator);
        }
        companions.push(companion.clone());
    }
    list_companions(graph, &companions, live_graph);
    Ok(())
}

/// Resolves the objects of a manifest without querying a cluster. Companions of the graph are rendered as they are
/// created.
pub(crate) fn from_manifest_offline(
    objects: &[Value],
    assumptions: &ClusterAssumptions<'_>,
) -> Result<ResolvedDeployment> {
    let mut deployment = from_objects(objects, assumptions)?;
    let name = deployment.name.clone();
    if let Some((graph, others)) = deployment.resources.split_last_mut() {
        let companions = others.iter_mut().filter(|one| is_companion(&one.object));
        let companions: Vec<Resource> = companions
            .map(|companion| {
                mark_companion(companion, &name);
                companion.clone()
            })
            .collect();
        list_companions(graph, &companions, None);
    }
    Ok(deployment)
}

fn from_objects(objects: &[Value], assumptions: &ClusterAssumptions<'_>) -> Result<ResolvedDeployment> {
    crate::workflow::resolve::check_namespace(assumptions.namespace)?;
    objects.iter().try_for_each(check_references)?;
    let mut resources = objects
        .iter()
        .map(|object| with_namespace(object.clone(), assumptions.namespace))
        .collect::<Result<Vec<Resource>>>()?;
    resources.last_mut().into_iter().for_each(add_labels);
    let graph = resources.last().expect("a manifest without a graph is rejected when it is read");
    check_api_version(graph, assumptions.graph_api)?;
    name::check_dns1035_label(graph.name())?;
    let mut components = GraphView::new(&graph.object).components();
    components.retain(|component| !component.name.is_empty());
    let parts: Vec<NamedComponent<'_>> = components
        .iter()
        .map(|component| NamedComponent { name: component.name, spans_nodes: component.is_multinode() })
        .collect();
    assumptions.budget.check(graph.name(), assumptions.namespace, &parts)?;
    for component in &components {
        check_engine_flags(component)?;
    }
    let name = graph.name().to_owned();
    Ok(ResolvedDeployment::from_objects(&name, assumptions.graph_api, resources))
}

/// Checks the engine flags of a vLLM worker if its image tag names the release. The command is a list or a script.
fn check_engine_flags(component: &ComponentView<'_>) -> Result<()> {
    let container = component.main_container();
    let image = container.image().unwrap_or_default();
    match (vllm_args(container), images::release_from_image(image)) {
        (Some(args), Some(release)) => Ok(plan::check_engine_flag_names(release, &args)?),
        _ => Ok(()),
    }
}

/// Checks the names and images of an object for variables that were not replaced, and the syntax of its images.
fn check_references(object: &Value) -> Result<()> {
    let view = GraphView::new(object);
    let kind = view.kind();
    for (field, value) in [("name", view.name()), ("namespace", view.namespace())] {
        if let Some(variable) = find_variable(value) {
            let field = format!("metadata.{field} of an object of kind {kind}");
            return Err(ResolveError::Variable { field, variable: variable.into() }.into());
        }
    }
    // The content of a ConfigMap or Secret is not read by Kubernetes.
    for image in view.references().images {
        let image = image.to_owned();
        match check_image_reference(&image) {
            Ok(()) => {}
            Err(ImageReferenceError::Variable(variable)) => {
                return Err(ResolveError::ImageVariable { image, variable }.into());
            }
            Err(ImageReferenceError::Syntax) => return Err(ResolveError::InvalidImage { image }.into()),
        }
    }
    Ok(())
}

fn with_namespace(mut object: Value, namespace: &str) -> Result<Resource> {
    if let Some(field) = invalid_metadata_field(&object) {
        let kind = ObjectView::new(&object).kind().to_owned();
        return Err(ResolveError::NotAnObject { kind, field }.into());
    }
    match ObjectView::new(&object).text("/metadata/namespace") {
        None => {
            object_at(&mut object, &["metadata"]).insert("namespace".into(), namespace.into());
        }
        Some(actual) if actual == namespace => {}
        Some(actual) => {
            return Err(ResolveError::NamespaceMismatch {
                actual: actual.into(),
                namespace: namespace.into(),
            }
            .into());
        }
    }
    let resource = Resource { object };
    match resource.name() {
        "" => Err(ResolveError::MissingName { kind: resource.kind().into() }.into()),
        _ => Ok(resource),
    }
}

/// Adds the labels by which the verbs find a deployment, unless the manifest sets them.
fn add_labels(graph: &mut Resource) {
    let name = graph.name().to_owned();
    let labels = object_at(&mut graph.object, &["metadata", "labels"]);
    labels.entry(MANAGED_BY_LABEL).or_insert_with(|| FIELD_MANAGER.into());
    labels.entry(NAME_LABEL).or_insert_with(|| name.into());
}

/// Checks the API version: the server may drop fields of a graph in a version that it does not store.
fn check_api_version(graph: &Resource, stored: GraphApi) -> Result<()> {
    let requested = graph.api_version();
    let stored = match stored {
        GraphApi::V1Alpha1 => "nvidia.com/v1alpha1",
        GraphApi::V1Beta1 => "nvidia.com/v1beta1",
    };
    if requested == stored {
        return Ok(());
    }
    Err(ResolveError::ApiVersionMismatch { requested: requested.into(), stored }.into())
}

async fn check_pvcs(resources: &[Resource], cluster: &Cluster) -> Result<()> {
    let mut referenced = BTreeSet::new();
    for resource in resources {
        let created_by_others = GraphView::new(&resource.object).listed_pvcs().filter(|pvc| !pvc.is_created);
        referenced.extend(References::of_value(&resource.object).pvcs.into_iter().map(String::from));
        referenced.extend(created_by_others.map(|pvc| pvc.name.to_owned()));
    }
    let is_in_manifest =
        |pvc: &String| resources.iter().any(|one| one.kind() == "PersistentVolumeClaim" && one.name() == pvc);
    for pvc in referenced.into_iter().filter(|pvc| !is_in_manifest(pvc)) {
        if cluster.pvc_facts(&pvc).await?.is_none() {
            return Err(ResolveError::PvcNotFound { pvc, namespace: cluster.namespace.clone() }.into());
        }
    }
    Ok(())
}

async fn check_secrets(resources: &[Resource], cluster: &Cluster) -> Result<()> {
    let mut referenced = BTreeSet::new();
    for resource in resources {
        let secrets = References::of_value(&resource.object).secrets.into_iter();
        referenced.extend(secrets.filter(|(_, is_required)| *is_required).map(|(name, _)| name.to_owned()));
    }
    let is_in_manifest =
        |secret: &String| resources.iter().any(|one| one.kind() == "Secret" && one.name() == secret);
    for secret in referenced.into_iter().filter(|secret| !is_in_manifest(secret)) {
        match cluster.get(Kind::Secret, &secret).await {
            Ok(Some(_)) | Err(ClusterError::Forbidden { .. }) => {}
            Ok(None) => {
                let namespace = cluster.namespace.clone();
                return Err(ResolveError::ManifestSecretNotFound { secret, namespace }.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
