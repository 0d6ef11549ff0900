//! A model on its claim, without a deployment that serves it: what the verbs of `cache` mean.

use super::{Deployment, Meant, check_secret, claim_differences, fetch_placement, finish, meant, together};
use crate::cluster::Cluster;
use crate::commands::asked::Asked;
use crate::error::Result;
use crate::intent::ServingIntent;
use crate::intent::name::NameBudget;
use crate::intent::request::Source;
use crate::plan::ModelPlace;
use crate::release;
use crate::resources::GraphApi;

/// The wish of whoever only means a model on its volume, with every image settled.
pub(in crate::commands) fn intent_of_model(asked: &Asked, namespace: &str) -> Result<ServingIntent> {
    let said = together(asked, None, release::DEFAULT, Source::Default);
    let Meant { intent, .. } = meant(&said, namespace, NameBudget::DeploymentsWithHash)?;
    Ok(intent)
}

/// The claim and the Job that `up` would fetch a model with, and nothing else of a deployment.
pub(in crate::commands) async fn to_fetch(asked: &Asked, cluster: &Cluster) -> Result<Deployment> {
    let said = together(asked, None, release::DEFAULT, Source::Default);
    let meant = meant(&said, &cluster.namespace, NameBudget::DeploymentsWithHash)?;
    let cache = meant.intent.cache.clone();
    if let Some(secret) = &meant.intent.token_secret {
        check_secret(cluster, &secret.name, &secret.key).await?;
    }
    let claim = cluster.claim(cache.claim()).await?;
    let placement = fetch_placement(&cache, claim.as_ref(), &cluster.namespace)?;
    let surroundings = ModelPlace::Volume(placement).into();
    let mut deployment = finish(meant, &said, &cluster.namespace, GraphApi::V1Beta1, surroundings)?;
    deployment.resources.retain(|one| ["PersistentVolumeClaim", "Job"].contains(&one.kind()));
    deployment.warnings = claim.map(|claim| claim_differences(&cache, &claim)).unwrap_or_default();
    Ok(deployment)
}
