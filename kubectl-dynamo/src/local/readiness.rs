//! When a local deployment can be asked: its model is listed and every worker is registered. Whether it also
//! answers is for a real request to show.

use std::time::Duration;

use serde_json::Value;

use super::{Observer, Progress};

/// Pause between two looks; the processes start within a second, so this is most of what waiting costs.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// Longest time for one look.
const LOOK: Duration = Duration::from_secs(2);

/// Returns when the endpoint lists `model` and knows `workers` workers.
///
/// # Errors
/// A client that cannot be made.
pub async fn until_registered(
    base_url: &str,
    model: &str,
    workers: usize,
    observer: Observer<'_>,
) -> reqwest::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(LOOK).build()?;
    let mut last = String::new();
    loop {
        let waits_for = match look(&client, base_url, model, workers).await {
            Ok(None) => return Ok(()),
            Ok(Some(waits_for)) => waits_for,
            Err(_) => "the frontend to listen".into(),
        };
        if waits_for != last {
            observer(Progress::Ready { waits_for: waits_for.clone() });
            last = waits_for;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What is still missing; nothing when all is there.
async fn look(
    client: &reqwest::Client,
    base_url: &str,
    model: &str,
    workers: usize,
) -> reqwest::Result<Option<String>> {
    let listed: Value = client.get(format!("{base_url}/models")).send().await?.json().await?;
    if !models(&listed).any(|listed| listed == model) {
        return Ok(Some(format!("{model} to be listed")));
    }
    if workers <= 1 {
        return Ok(None);
    }
    let root = base_url.trim_end_matches("/v1");
    let health: Value = client.get(format!("{root}/health")).send().await?.json().await?;
    Ok(registered(&health)
        .filter(|registered| *registered < workers)
        .map(|registered| format!("workers to register ({registered} of {workers})")))
}

fn models(listed: &Value) -> impl Iterator<Item = &str> {
    listed["data"].as_array().into_iter().flatten().filter_map(|model| model["id"].as_str())
}

/// Workers that the frontend knows: the instances that generate, each counted once. Its own verdict beside
/// them is "healthy" with no worker at all. None when this release does not list instances.
fn registered(health: &Value) -> Option<usize> {
    let instances = health["instances"].as_array()?;
    let mut ids: Vec<u64> = instances
        .iter()
        .filter(|instance| instance["endpoint"] == "generate")
        .filter_map(|instance| instance["instance_id"].as_u64())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    Some(ids.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_worker_counts_once_and_only_when_it_generates() {
        let health = json!({ "status": "healthy", "instances": [
            { "endpoint": "generate", "instance_id": 7_u64 },
            { "endpoint": "worker_kv_query_source_1", "instance_id": 7_u64 },
            { "endpoint": "generate", "instance_id": 13_859_330_983_746_048_315_u64 },
        ]});
        assert_eq!(registered(&health), Some(2));
        assert_eq!(registered(&json!({ "status": "healthy", "instances": [] })), Some(0));
        assert_eq!(registered(&json!({ "status": "healthy" })), None);
    }
}
