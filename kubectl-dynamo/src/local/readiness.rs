//! Waits until a local deployment lists its model and all workers are registered.
//! Whether it really answers is verified by the smoke test.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;

use super::{LocalEvent, LocalObserver};

/// Polling interval. The processes start within a second, so this dominates the waiting time.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits until the endpoint lists `model` and `workers` workers are registered.
///
/// # Errors
/// The HTTP client cannot be created.
pub async fn wait_until_registered(
    base_url: &str,
    model: &str,
    workers: usize,
    observer: LocalObserver<'_>,
) -> reqwest::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(REQUEST_TIMEOUT).build()?;
    let mut last = String::new();
    loop {
        let waits_for = match poll(&client, base_url, model, workers).await {
            Ok(None) => return Ok(()),
            Ok(Some(waits_for)) => waits_for,
            Err(_) => "the frontend to listen".into(),
        };
        if waits_for != last {
            observer(LocalEvent::Starting { waits_for: waits_for.clone() });
            last = waits_for;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What is still missing; `None` if the deployment is complete.
async fn poll(
    client: &reqwest::Client,
    base_url: &str,
    model: &str,
    workers: usize,
) -> reqwest::Result<Option<String>> {
    let listed: ListedModels = client.get(format!("{base_url}/models")).send().await?.json().await?;
    if !listed.data.iter().any(|listed| listed.id == model) {
        return Ok(Some(format!("{model} to be listed")));
    }
    if workers <= 1 {
        return Ok(None);
    }
    let root = base_url.trim_end_matches("/v1");
    let health: Health = client.get(format!("{root}/health")).send().await?.json().await?;
    Ok(health
        .registered_workers()
        .filter(|registered| *registered < workers)
        .map(|registered| format!("workers to register ({registered} of {workers})")))
}

/// The answer of `/v1/models`.
#[derive(Deserialize)]
struct ListedModels {
    #[serde(default)]
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    #[serde(default)]
    id: String,
}

/// The answer of `/health`, with the instances of each endpoint.
#[derive(Deserialize)]
struct Health {
    instances: Option<Vec<Instance>>,
}

#[derive(Deserialize)]
struct Instance {
    endpoint: Option<String>,
    instance_id: Option<u64>,
}

impl Health {
    /// The number of distinct instances that generate. The frontend's own status is "healthy" even without a
    /// worker, so it is not used. `None` if this release does not list instances.
    fn registered_workers(&self) -> Option<usize> {
        let instances = self.instances.as_ref()?.iter();
        let generating = instances.filter(|instance| instance.endpoint.as_deref() == Some("generate"));
        Some(generating.filter_map(|instance| instance.instance_id).collect::<BTreeSet<u64>>().len())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_each_generating_worker_once() {
        let workers =
            |health| serde_json::from_value::<Health>(health).expect("an answer").registered_workers();
        let health = json!({ "status": "healthy", "instances": [
            { "endpoint": "generate", "instance_id": 7_u64 },
            { "endpoint": "worker_kv_query_source_1", "instance_id": 7_u64 },
            { "endpoint": "generate", "instance_id": 13_859_330_983_746_048_315_u64 },
        ]});
        assert_eq!(workers(health), Some(2));
        assert_eq!(workers(json!({ "status": "healthy", "instances": [] })), Some(0));
        assert_eq!(workers(json!({ "status": "healthy" })), None);
    }
}
