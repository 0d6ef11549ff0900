//! Asks the registries for the images of a plan before its pods wait for them. The requests start anonymously. Only if
//! a registry denies one, the pods' pull Secrets are read and used. A slow registry must not delay a command.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};

use crate::registry::{RegistryClient, RegistryError};
use crate::settings;
use kubectl_dynamo_cluster::{Cluster, ClusterError};
use kubectl_dynamo_core::intent::image::check_image_reference;
use kubectl_dynamo_core::plan::ServingPlan;
use kubectl_dynamo_core::plan::model_cache::FetchPlacement;
use kubectl_dynamo_core::registry::{
    ImageLookup, RegistryCredentials, RegistryImage, TriedCredentials, credentials_for,
};

/// The maximum time that a command waits for registries.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// The ServiceAccount of the pods of a fetch Job.
const JOB_SERVICE_ACCOUNT: &str = "default";

/// The keys of Secrets with credentials for registries.
const SECRET_KEYS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

/// An image, and what is known about the pods that pull it.
struct PodImage<'a> {
    image: &'a str,
    /// `None` if Dynamo's operator chooses it.
    service_account: Option<&'a str>,
    /// Whether Dynamo's operator creates the pods. It adds every pull Secret of the namespace for the registry.
    is_of_operator: bool,
}

/// Looks up the images of a plan in their registries. Returns no entry for an image that is not looked up.
pub(crate) async fn look_up_images(cluster: &Cluster, plan: &ServingPlan) -> BTreeMap<String, ImageLookup> {
    if !settings::is_image_check_enabled() {
        return BTreeMap::new();
    }
    let placement = &plan.intent.placement;
    let of_operator = |image| PodImage {
        image,
        service_account: placement.service_account.as_deref(),
        is_of_operator: true,
    };
    let runtime = of_operator(plan.image.as_str());
    // The warning of an unreleased build says more than a registry without the image.
    let cache = plan.cache.as_ref().filter(|_| plan.unreleased_image_warning().is_none());
    let fetcher = cache.map(|cache| match cache.fetch.placement {
        FetchPlacement::InitContainersOnly => of_operator(cache.fetch.image.as_str()),
        FetchPlacement::Job => PodImage {
            image: &cache.fetch.image,
            service_account: Some(JOB_SERVICE_ACCOUNT),
            is_of_operator: false,
        },
    });
    let images = fetcher.into_iter().chain([runtime]);
    let lookups =
        images.filter(|one| check_image_reference(one.image).is_ok()).map(async |one: PodImage<'_>| {
            let lookup = look_up(cluster, &placement.image_pull_secrets, &one);
            let timeout = || {
                ImageLookup::Inconclusive(format!(
                    "did not answer all requests within {} s",
                    LOOKUP_TIMEOUT.as_secs()
                ))
            };
            let found = tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await.unwrap_or_else(|_| timeout());
            (one.image.to_owned(), found)
        });
    join_all(lookups).await.into_iter().collect()
}

async fn look_up(cluster: &Cluster, secrets: &[String], pod: &PodImage<'_>) -> ImageLookup {
    let image = RegistryImage::parse(pod.image);
    let client = match RegistryClient::new(&image) {
        Ok(client) => client,
        Err(error) => return ImageLookup::Inconclusive(error.to_string()),
    };
    let anonymous = client.architectures(None).await;
    if anonymous != Err(RegistryError::Denied) {
        return to_lookup(anonymous, TriedCredentials::None);
    }
    let pull_secrets = PullSecrets::read(cluster, secrets, pod.service_account, &image).await;
    let mut result = anonymous;
    for (_, credentials) in &pull_secrets.credentials {
        result = client.architectures(Some(credentials)).await;
        if result != Err(RegistryError::Denied) {
            break;
        }
    }
    to_lookup(result, pull_secrets.tried(pod))
}

fn to_lookup(result: Result<Vec<String>, RegistryError>, tried: TriedCredentials) -> ImageLookup {
    match result {
        Ok(architectures) => ImageLookup::Found { architectures },
        Err(RegistryError::NotFound) => ImageLookup::NotFound,
        Err(RegistryError::Denied) => ImageLookup::Denied(tried),
        Err(RegistryError::Inconclusive(reason)) => ImageLookup::Inconclusive(reason),
    }
}

/// The credentials of pods for one image.
#[derive(Default)]
struct PullSecrets {
    /// Each with the name of its Secret.
    credentials: Vec<(String, RegistryCredentials)>,
    /// Why an object could not be read.
    unreadable: Option<String>,
}

impl PullSecrets {
    /// Reads the Secrets of the pods and of their ServiceAccount. A Secret that does not exist does not count, as for
    /// the kubelet.
    async fn read(
        cluster: &Cluster,
        secrets: &[String],
        service_account: Option<&str>,
        image: &RegistryImage,
    ) -> Self {
        let mut found = Self::default();
        let mut names = secrets.to_vec();
        if let Some(service_account) = service_account {
            match cluster.get_object::<ServiceAccount>(service_account).await {
                Ok(account) => {
                    let of_account = account.and_then(|account| account.image_pull_secrets.clone());
                    names.extend(of_account.into_iter().flatten().map(|secret| secret.name));
                }
                Err(error) => found.unreadable = Some(unreadable_reason(error)),
            }
        }
        for name in names {
            match cluster.get_object::<Secret>(&name).await {
                Ok(None) => {}
                Ok(Some(secret)) => {
                    let data = secret.data.iter().flatten();
                    let contents = data.filter(|(key, _)| SECRET_KEYS.contains(&key.as_str()));
                    let credentials =
                        contents.flat_map(|(key, content)| credentials_for(image, key, &content.0));
                    found.credentials.extend(credentials.map(|one| (name.clone(), one)));
                }
                Err(error) => found.unreadable = Some(unreadable_reason(error)),
            }
        }
        found
    }

    fn tried(self, pod: &PodImage<'_>) -> TriedCredentials {
        let mut names: Vec<String> = self.credentials.into_iter().map(|(name, _)| name).collect();
        names.dedup();
        match self.unreadable {
            Some(reason) => TriedCredentials::Unreadable(reason),
            None if names.is_empty() && pod.is_of_operator => TriedCredentials::Unreadable(
                "Dynamo's operator adds the pull Secrets of the namespace for this registry, which are not read".into(),
            ),
            None if names.is_empty() => TriedCredentials::None,
            None => TriedCredentials::Secrets(names),
        }
    }
}

fn unreadable_reason(error: ClusterError) -> String {
    match error {
        ClusterError::Forbidden { permission, .. } => format!("missing permission to {permission}"),
        error => error.to_string(),
    }
}
