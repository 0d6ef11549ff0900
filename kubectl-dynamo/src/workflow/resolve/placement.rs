//! What the PVC of a request decides: where the model is fetched, and what differs from an existing PVC.

use super::error::ResolveError;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::{AccessMode, Cache, StringEnum};
use kubectl_dynamo_core::plan::{FetchPlacement, Quantity};
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

fn is_same_quantity(one: &str, other: &str) -> bool {
    match (Quantity::parse(one), Quantity::parse(other)) {
        (Some(one), Some(other)) => one.bytes == other.bytes,
        _ => one == other,
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
        .filter_map(|(property, requested, found)| Some((property, requested?, found)))
        .filter(|(property, requested, found)| match *property {
            // The API server writes a quantity in its own way, such as 1Ti for 1024Gi.
            "size" => !is_same_quantity(requested, found),
            _ => requested != found,
        })
        .map(|(property, requested, found)| {
            format!("pvc/{pvc} unchanged: its {property} is {found}, not {requested}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_compared_by_value() {
        let differences = |requested: &str| {
            let cache = Cache::Managed {
                pvc: "models".into(),
                size: requested.into(),
                storage_class: None,
                access_mode: AccessMode::ReadWriteMany,
            };
            pvc_differences(&cache, &PvcFacts { size: "1Ti".into(), ..PvcFacts::default() })
        };
        assert!(differences("1024Gi").is_empty() && differences("1Ti").is_empty());
        assert_eq!(differences("2Ti"), ["pvc/models unchanged: its size is 1Ti, not 2Ti"]);
    }
}
