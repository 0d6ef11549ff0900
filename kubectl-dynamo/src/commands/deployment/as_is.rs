//! Objects of a file, applied as they are. What can be told before is checked as for our own: shape, name, and
//! whether the claims and Secrets they use are there.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::PreflightError;
use super::{Deployment, Offline, budget, version};
use crate::cluster::{Cluster, ClusterError, Kind, Platform};
use crate::error::Result;
use crate::intent::name::{self, NamedPart};
use crate::plan;
use crate::readiness::is_going;
use crate::resources::{GraphApi, Resource};

/// The deployment that a file's objects are. The graph is the last of them.
pub(in crate::commands) async fn as_is(
    objects: &[Value],
    cluster: &Cluster,
    platform: &Platform,
) -> Result<Deployment> {
    let known =
        Offline { namespace: &cluster.namespace, graph_api: platform.graph_api, budget: budget(platform) };
    let mut deployment = as_is_offline(objects, &known)?;
    check_claims(&deployment.resources, cluster).await?;
    check_secrets(&deployment.resources, cluster).await?;
    let live = cluster.get(Kind::Graph(platform.graph_api), &deployment.name).await?;
    deployment.exists = live.is_some_and(|graph| !is_going(&graph));
    Ok(deployment)
}

/// The same, as far as it can be told without a cluster.
pub(in crate::commands) fn as_is_offline(objects: &[Value], known: &Offline<'_>) -> Result<Deployment> {
    super::check_namespace(known.namespace)?;
    let resources = objects
        .iter()
        .map(|object| in_namespace(object.clone(), known.namespace))
        .collect::<Result<Vec<Resource>>>()?;
    let graph = resources.last().expect("a file without a graph is refused where it is read");
    check_shape(graph, known.graph_api)?;
    name::check_label(graph.name())?;
    let components = components(&graph.object);
    let parts: Vec<NamedPart<'_>> = components
        .iter()
        .map(|(name, component)| NamedPart { name, spans_nodes: component["multinode"].is_object() })
        .collect();
    known.budget.check(graph.name(), known.namespace, &parts)?;
    for (_, component) in components {
        check_engine(component)?;
    }
    let name = graph.name().to_owned();
    Ok(Deployment::of_objects(&name, known.graph_api, resources, false))
}

/// The flags of a vLLM worker whose image says its release, where they are a list and no shell line.
fn check_engine(component: &Value) -> Result<()> {
    let containers = component["podTemplate"]["spec"]["containers"].as_array();
    let main = containers.into_iter().flatten().find(|container| container["name"] == "main");
    let container = main.unwrap_or(&component["extraPodSpec"]["mainContainer"]);
    let list = |field: &str| container[field].as_array().cloned().unwrap_or_default();
    let words = [list("command"), list("args")].concat();
    let words: Vec<String> = words.iter().filter_map(|word| word.as_str().map(Into::into)).collect();
    let Some(place) = words.iter().position(|word| word == "dynamo.vllm") else { return Ok(()) };
    let image = container["image"].as_str().unwrap_or_default();
    match version::of_dynamos_image(image) {
        Some(release) => Ok(plan::check_engine_names(release, &words[place + 1..])?),
        None => Ok(()),
    }
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
fn check_shape(graph: &Resource, stored: GraphApi) -> Result<()> {
    let given = graph.api_version();
    let stored = match stored {
        GraphApi::V1Alpha1 => "nvidia.com/v1alpha1",
        GraphApi::V1Beta1 => "nvidia.com/v1beta1",
    };
    if given == stored {
        return Ok(());
    }
    Err(PreflightError::OtherShape { given: given.into(), stored }.into())
}

/// A graph's components with their names, in either shape.
fn components(graph: &Value) -> Vec<(&str, &Value)> {
    let alpha = graph["spec"]["services"].as_object().into_iter().flatten();
    let alpha = alpha.map(|(name, service)| (name.as_str(), service));
    let beta = graph["spec"]["components"].as_array().into_iter().flatten();
    alpha.chain(beta.filter_map(|component| Some((component["name"].as_str()?, component)))).collect()
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
