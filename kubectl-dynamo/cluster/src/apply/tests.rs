//! Applies objects to a fake API server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::Method;

use super::*;
use crate::fake_api_server;

#[tokio::test]
async fn conflicting_dry_run_is_repeated_after_a_pause() {
    let written = Arc::new(AtomicU64::new(0));
    let counter = written.clone();
    let cluster = fake_api_server::cluster(json!({}), move |request| {
        // Another client writes between each read and its dry run, three times.
        let number = match *request.method() {
            Method::PATCH => (written.fetch_add(1, Ordering::Relaxed) + 1).min(3),
            _ => written.load(Ordering::Relaxed).min(3),
        };
        async move {
            fake_api_server::object_response(&json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": "s", "namespace": "dynamo", "resourceVersion": number.to_string() },
                "data": { "number": number.to_string() },
            }))
        }
    })
    .await;
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s", "namespace": "dynamo" } });
    let started = Instant::now();
    let changes = cluster
        .dry_run(&[Resource { object: secret }], ConflictPolicy::Fail)
        .await
        .expect("the comparison succeeds");
    assert_eq!(changes[0].outcome, ApplyResult::Unchanged);
    assert_eq!(counter.load(Ordering::Relaxed), 4);
    assert!(started.elapsed() >= FIRST_PAUSE * (1 + 2 + 4), "{:?}", started.elapsed());
}
