//! Objects of a file, applied as they are. What can be told before is checked as for our own: shape, name, and
//! whether the claims and Secrets they use are there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::PreflightError;
use super::{Deployment, budget};
use crate::cluster::{Cluster, ClusterError, Kind, Platform};
use crate::error::Result;
use crate::intent::name;
use crate::resources::{GraphApi, Resource};

/// The deployment that a file's objects are. The graph is the last of them.
pub(in crate::commands) async fn as_is(
    objects: &[Value],
    cluster: &Cluster,
    platform: &Platform,
) -> Result<Deployment> {
    super::check_namespace(&cluster.namespace)?;
    let resources = objects
        .iter()
        .map(|object| in_namespace(object.clone(), &cluster.namespace))
        .collect::<Result<Vec<Resource>>>()?;
    let graph = resources.last().expect("a file without a graph is refused where it is read");
    check_shape(graph, platform)?;
    name::check_label(graph.name())?;
    let components = component_names(&graph.object);
    let components: Vec<&str> = components.iter().map(String::as_str).collect();
    budget(platform).check(graph.name(), &cluster.namespace, &components)?;
    check_claims(&resources, cluster).await?;
    check_secrets(&resources, cluster).await?;
    let exists = cluster.get(Kind::Graph(platform.graph_api), graph.name()).await?.is_some();
    let name = graph.name().to_owned();
    Ok(Deployment::of_objects(&name, platform.graph_api, resources, exists))
}

fn in_namespace(mut object: Value, namespace: &str) -> Result<Resource> {
    let metadata = &mut object["metadata"];
    match metadata["namespace"].as_str() {
        None => metadata["namespace"] = namespace.into(),
        Some(own) if own == namespace => {}
        Some(own) => {
            return Err(
                PreflightError::OtherNamespace { own: own.into(), namespace: namespace.into() }.into()
            );
        }
    }
    let resource = Resource { object };
    match resource.name() {
        "" => Err(PreflightError::Nameless { kind: resource.kind().into() }.into()),
        _ => Ok(resource),
    }
}

/// An object of the shape that is not stored may come back empty.
fn check_shape(graph: &Resource, platform: &Platform) -> Result<()> {
    let given = graph.api_version();
    let stored = match platform.graph_api {
        GraphApi::V1Alpha1 => "nvidia.com/v1alpha1",
        GraphApi::V1Beta1 => "nvidia.com/v1beta1",
    };
    if given == stored {
        return Ok(());
    }
    Err(PreflightError::OtherShape { given: given.into(), stored }.into())
}

/// The names of a graph's components, in either shape.
fn component_names(graph: &Value) -> Vec<String> {
    let alpha =
        graph["spec"]["services"].as_object().into_iter().flat_map(|services| services.keys().cloned());
    let beta = graph["spec"]["components"].as_array().into_iter().flatten();
    alpha.chain(beta.filter_map(|component| component["name"].as_str().map(Into::into))).collect()
}

async fn check_claims(resources: &[Resource], cluster: &Cluster) -> Result<()> {
    let mut used = BTreeSet::new();
    for resource in resources {
        collect(
            &resource.object,
            &|key, value| (key == "claimName").then(|| value.as_str().map(Into::into)).flatten(),
            &mut used,
        );
        // v1alpha1 lists its claims by name, with a word for those that the operator makes.
        for claim in resource.object["spec"]["pvcs"].as_array().into_iter().flatten() {
            used.extend(claim["name"].as_str().filter(|_| claim["create"] != true).map(Into::into));
        }
    }
    let made = |claim: &String| {
        resources.iter().any(|one| one.kind() == "PersistentVolumeClaim" && one.name() == claim)
    };
    for claim in used.into_iter().filter(|claim| !made(claim)) {
        if cluster.claim(&claim).await?.is_none() {
            return Err(PreflightError::AbsentClaim { claim, namespace: cluster.namespace.clone() }.into());
        }
    }
    Ok(())
}

async fn check_secrets(resources: &[Resource], cluster: &Cluster) -> Result<()> {
    let mut used = BTreeSet::new();
    for resource in resources {
        collect(
            &resource.object,
            &|key, value| match key {
                "envFromSecret" => value.as_str().map(Into::into),
                "secretKeyRef" | "secretRef" if value["optional"] != true => {
                    value["name"].as_str().map(Into::into)
                }
                _ => None,
            },
            &mut used,
        );
    }
    let made = |secret: &String| resources.iter().any(|one| one.kind() == "Secret" && one.name() == secret);
    for secret in used.into_iter().filter(|secret| !made(secret)) {
        match cluster.get(Kind::Secret, &secret).await {
            Ok(Some(_)) | Err(ClusterError::Forbidden { .. }) => {}
            Ok(None) => {
                let namespace = cluster.namespace.clone();
                return Err(PreflightError::AbsentSecretOfFile { secret, namespace }.into());
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Gathers what `pick` takes of every field at any depth.
fn collect(value: &Value, pick: &dyn Fn(&str, &Value) -> Option<String>, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                found.extend(pick(key, value));
                collect(value, pick, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, pick, found)),
        _ => {}
    }
}
