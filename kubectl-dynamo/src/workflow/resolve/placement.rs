//! What the PVC of a request decides: where the model is fetched, and what differs from an existing PVC.

use super::error::ResolveError;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::{AccessMode, Cache, StringEnum};
use kubectl_dynamo_core::plan::FetchPlacement;
use kubectl_dynamo_core::preflight::PvcFacts;

/// Decides where the fetch runs: a Job must not bind the volume to a node on which workers cannot run. The
/// state of an existing PVC decides, not the request.
pub(super) fn fetch_placement(
    cache: &Cache,
    live: Option<&PvcFacts>,
    namespace: &str,
) -> Result<FetchPlacement> {
    match (cache, live) {
        (_, Some(facts)) if facts.bound || facts.is_multi_node => Ok(FetchPlacement::Job),
        (_, Some(_)) => Ok(FetchPlacement::InitContainersOnly),
        (Cache::Managed { access_mode: AccessMode::ReadWriteMany, .. }, None) => Ok(FetchPlacement::Job),
        (Cache::Managed { .. }, None) => Ok(FetchPlacement::InitContainersOnly),
        (Cache::Existing { pvc }, None) => {
            Err(ResolveError::PvcNotFound { pvc: pvc.clone(), namespace: namespace.into() }.into())
        }
    }
}

/// Lists the differences between an existing PVC and the request, except defaults.
pub(super) fn pvc_differences(cache: &Cache, live: &PvcFacts) -> Vec<String> {
    let Cache::Managed { pvc, size, storage_class, access_mode } = cache else { return Vec::new() };
    let requested = [
        ("size", Some(size.as_str()).filter(|size| *size != Cache::DEFAULT_SIZE), live.size.as_str()),
        ("storage class", storage_class.as_deref(), live.storage_class.as_str()),
        (
            "access mode",
            Some(access_mode.as_str()).filter(|_| *access_mode != AccessMode::ReadWriteMany),
            live.access_modes.as_str(),
        ),
    ];
    requested
        .into_iter()
        .filter_map(|(property, requested, found)| {
            requested.filter(|requested| *requested != found).map(|requested| (property, requested, found))
        })
        .map(|(property, requested, found)| {
            format!("pvc/{pvc} unchanged: its {property} is {found}, not {requested}")
        })
        .collect()
}
