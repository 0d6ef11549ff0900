//! Tests of `logs` with a scripted API server: invalid bytes, interrupted streams, and the limits of the
//! first lists.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use kubectl_dynamo_cluster::fake_api_server::{self, FakeRequest};

/// Timeout of each step; far longer than any step takes.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Builds a running pod with these containers.
fn pod(containers: &[&str]) -> Value {
    let status =
        |name: &&str| json!({"name": name, "containerID": "1", "state": {"running": {}}, "ready": true});
    let statuses: Vec<Value> = containers.iter().map(status).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "resourceVersion": "1"},
        "status": {"containerStatuses": statuses},
    })
}

fn typed_pod(containers: &[&str]) -> Pod {
    serde_json::from_value(pod(containers)).expect("a pod")
}

fn readers(cluster: &Cluster, options: LogOptions) -> (Readers, mpsc::Receiver<LineResult>) {
    let (lines, receiver) = mpsc::channel(BACKLOG);
    let readers = Readers {
        cluster: cluster.clone(),
        options,
        filter: Arc::default(),
        initial_lists_done: false,
        started: HashSet::new(),
        pods: HashMap::new(),
        lines,
    };
    (readers, receiver)
}

async fn line(receiver: &mut mpsc::Receiver<LineResult>) -> String {
    let line = timeout(TEST_TIMEOUT, receiver.recv()).await.expect("a line in time").expect("an open stream");
    anstream::adapter::strip_str(&line.expect("the log can be read").text).to_string()
}

fn query(request: &FakeRequest) -> String {
    request.uri().query().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn invalid_utf8_does_not_end_the_log() {
    let cluster = fake_api_server::cluster(json!({}), async |_| {
        fake_api_server::complete_body(
            b"2026-11-25T10:00:00.1Z one\n2026-11-25T10:00:00.2Z \xff\n2026-11-25T10:00:00.3Z three\n",
        )
    });
    let (mut readers, mut receiver) = readers(&cluster.await, LogOptions::default());
    readers.start(&typed_pod(&[MAIN]), None);
    for expected in ["one", "\u{fffd}", "three"] {
        assert_eq!(line(&mut receiver).await, format!("pod | {expected}\n"));
    }
}

#[tokio::test]
async fn lines_written_between_streams_are_read_without_tail_limit() {
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let queries = recorded.clone();
    let cluster = fake_api_server::cluster(json!({}), move |request| {
        let is_log_request = request.uri().path().ends_with("/log");
        let mut queries = queries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        queries.extend(is_log_request.then(|| query(&request)));
        let request_count = queries.len();
        async move {
            match (is_log_request, request_count) {
                (false, _) => fake_api_server::object_response(&pod(&[MAIN])),
                (true, 1) => fake_api_server::complete_body(b""),
                (true, 2) => fake_api_server::error_response(
                    500,
                    "Get \"https://node:10250/containerLogs\": connection refused",
                ),
                (true, _) => fake_api_server::unfinished_body(b"2026-11-25T10:00:00.1Z new\n"),
            }
        }
    });
    let options = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
    let (mut readers, mut receiver) = readers(&cluster.await, options);
    readers.start(&typed_pod(&[MAIN]), None);
    let first_result =
        timeout(TEST_TIMEOUT, receiver.recv()).await.expect("an error in time").expect("an open stream");
    assert!(first_result.is_err_and(|error| error.to_string().contains("connection refused")));
    assert_eq!(line(&mut receiver).await, "pod | new\n");
    let recorded = recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(recorded[0].contains("tailLines=0"), "{recorded:?}");
    for later_query in &recorded[1..] {
        assert!(!later_query.contains("tailLines") && later_query.contains("sinceSeconds="), "{recorded:?}");
    }
}

#[tokio::test]
async fn tail_limit_applies_to_pods_of_every_initial_list() {
    let (watch_sender, tail) = (watch::Sender::new(false), watch::Sender::new(String::new()));
    let (watch_started, tail_sender) = (watch_sender.clone(), tail.clone());
    let cluster = fake_api_server::cluster(json!({}), move |request| {
        let (watch_started, tail_sender, query) =
            (watch_started.clone(), tail_sender.clone(), query(&request));
        async move {
            if request.uri().path().ends_with("/log") {
                tail_sender.send_replace(query);
                return fake_api_server::unfinished_body(b"2026-11-25T10:00:00.1Z last\n");
            }
            if query.contains("watch=true") {
                watch_started.send_replace(true);
                return fake_api_server::unfinished_body(b"");
            }
            if query.contains("first") {
                return fake_api_server::pod_list_response(&[]);
            }
            // The first list was handled once its watch has started.
            let _ = watch_started.subscribe().wait_for(|started| *started).await;
            fake_api_server::pod_list_response(&[pod(&[FETCH_CONTAINER])])
        }
    })
    .await;
    let options = LogOptions { follow: true, tail: Some(1), ..LogOptions::default() };
    let (readers, mut receiver) = readers(&cluster, options);
    let selectors = ["of=first".to_owned(), "of=second".to_owned()];
    tokio::select! {
        result = read_all(&cluster, &selectors, Some(FETCH), readers) => panic!("{}", result.is_ok()),
        line = line(&mut receiver) => assert_eq!(line, "pod | last\n"),
    }
    assert!(tail.borrow().contains("tailLines=1"), "{}", *tail.borrow());
}
