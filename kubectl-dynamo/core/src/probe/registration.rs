//! The workers that a frontend has registered, from the answer of its `/health`.

use serde::Deserialize;

/// One registered worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredWorker {
    /// Dynamo's ID of the worker.
    pub id: u64,
    pub is_prefill: bool,
    /// The host of the address at which the worker receives requests: the IP address of its pod.
    pub host: Option<String>,
}

impl RegisteredWorker {
    /// The ID as Dynamo's logs write it.
    pub fn hex_id(&self) -> String {
        format!("{:x}", self.id)
    }
}

#[derive(Deserialize)]
struct HealthAnswer {
    #[serde(default)]
    instances: Vec<HealthInstance>,
}

#[derive(Deserialize)]
struct HealthInstance {
    component: Option<String>,
    endpoint: Option<String>,
    instance_id: Option<u64>,
    transport: Option<HealthTransport>,
}

#[derive(Deserialize)]
struct HealthTransport {
    /// `HOST:PORT`, and what the worker serves there.
    tcp: Option<String>,
}

/// The workers that generate, without duplicates and sorted by role and ID. It is empty if the release does not list
/// instances.
pub fn registered_workers(health: &str) -> Vec<RegisteredWorker> {
    let Ok(health) = serde_json::from_str::<HealthAnswer>(health) else { return Vec::new() };
    let generating = health.instances.into_iter().filter(|one| one.endpoint.as_deref() == Some("generate"));
    let worker = |one: HealthInstance| {
        let transport = one.transport.as_ref().and_then(|transport| transport.tcp.as_deref());
        let address = transport.and_then(|transport| transport.split('/').next());
        Some(RegisteredWorker {
            id: one.instance_id?,
            is_prefill: one.component.as_deref() == Some("prefill"),
            host: address.and_then(|address| Some(address.rsplit_once(':')?.0.to_owned())),
        })
    };
    let mut workers: Vec<_> = generating.filter_map(worker).collect();
    workers.sort_by_key(|worker| (worker.is_prefill, worker.id));
    workers.dedup_by_key(|worker| worker.id);
    workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_generating_worker_once() {
        let health = r#"{"status": "healthy", "instances": [
            {"component": "prefill", "endpoint": "generate", "instance_id": 7, "transport": {"tcp": "10.1.2.3:35523/7/dynamo/prefill/generate"}},
            {"component": "backend", "endpoint": "generate", "instance_id": 15362950548176644753, "transport": {"tcp": "[::1]:80/x"}},
            {"component": "backend", "endpoint": "generate", "instance_id": 15362950548176644753, "transport": {"nats": "x"}},
            {"component": "backend", "endpoint": "worker_kv_query_source_1", "instance_id": 7}
        ]}"#;
        let workers = registered_workers(health);
        let decode = &workers[0];
        assert_eq!((decode.hex_id().as_str(), decode.host.as_deref()), ("d5342a208df62a91", Some("[::1]")));
        assert_eq!(
            (workers[1].id, workers[1].is_prefill, workers[1].host.as_deref()),
            (7, true, Some("10.1.2.3"))
        );
        assert_eq!(workers.len(), 2);
        for other in [r#"{"status": "healthy"}"#, "", "[]", "null"] {
            assert_eq!(registered_workers(other), []);
        }
    }
}
