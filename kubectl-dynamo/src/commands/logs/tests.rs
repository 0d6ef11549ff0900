//! What `logs` reads of an API server that a test plays.

use std::sync::Mutex;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::cluster::played::{self, Question};

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

/// A running pod, whose containers are these.
fn pod(containers: &[&str]) -> Value {
    let status =
        |name: &&str| json!({"name": name, "containerID": "1", "state": {"running": {}}, "ready": true});
    let statuses: Vec<Value> = containers.iter().map(status).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "resourceVersion": "1"},
        "status": {"containerStatuses": statuses},
    })
}

fn readers(cluster: &Cluster, options: LogOptions) -> (Readers, mpsc::Receiver<ReadLine>) {
    let (lines, read) = mpsc::channel(BACKLOG);
    let readers = Readers {
        cluster: cluster.clone(),
        options,
        wanted: Arc::default(),
        begun: false,
        started: HashSet::new(),
        pods: HashMap::new(),
        lines,
    };
    (readers, read)
}

async fn line(read: &mut mpsc::Receiver<ReadLine>) -> String {
    let line = timeout(LIMIT, read.recv()).await.expect("a line in time").expect("a line");
    anstream::adapter::strip_str(&line.expect("the log is read")).to_string()
}

fn query(question: &Question) -> String {
    question.uri().query().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_line_that_is_no_text_ends_no_log() {
    let cluster = played::cluster(json!({}), async |_| {
        played::whole(
            b"2026-11-25T10:00:00.1Z one\n2026-11-25T10:00:00.2Z \xff\n2026-11-25T10:00:00.3Z three\n",
        )
    });
    let (mut readers, mut read) = readers(&cluster.await, LogOptions::default());
    readers.start(&pod(&[MAIN]), None);
    for expected in ["one", "\u{fffd}", "three"] {
        assert_eq!(line(&mut read).await, format!("pod | {expected}\n"));
    }
}

#[tokio::test]
async fn what_comes_while_no_stream_is_open_is_read_without_a_tail() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let queries = asked.clone();
    let cluster = played::cluster(json!({}), move |question| {
        let log = question.uri().path().ends_with("/log");
        let mut queries = queries.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        queries.extend(log.then(|| query(&question)));
        let times = queries.len();
        async move {
            match (log, times) {
                (false, _) => played::object(&pod(&[MAIN])),
                (true, 1) => played::whole(b""),
                (true, 2) => {
                    played::refusal(500, "Get \"https://node:10250/containerLogs\": connection refused")
                }
                (true, _) => played::begun(b"2026-11-25T10:00:00.1Z new\n"),
            }
        }
    });
    let options = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
    let (mut readers, mut read) = readers(&cluster.await, options);
    readers.start(&pod(&[MAIN]), None);
    let told = timeout(LIMIT, read.recv()).await.expect("it is told in time").expect("it goes on");
    assert!(told.is_err_and(|error| error.to_string().contains("connection refused")));
    assert_eq!(line(&mut read).await, "pod | new\n");
    let asked = asked.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(asked[0].contains("tailLines=0"), "{asked:?}");
    for again in &asked[1..] {
        assert!(!again.contains("tailLines") && again.contains("sinceSeconds="), "{asked:?}");
    }
}

#[tokio::test]
async fn limits_hold_for_the_pods_of_every_first_list() {
    let (watching, tail) = (watch::Sender::new(false), watch::Sender::new(String::new()));
    let (begins, asked) = (watching.clone(), tail.clone());
    let cluster = played::cluster(json!({}), move |question| {
        let (begins, asked, query) = (begins.clone(), asked.clone(), query(&question));
        async move {
            if question.uri().path().ends_with("/log") {
                asked.send_replace(query);
                return played::begun(b"2026-11-25T10:00:00.1Z last\n");
            }
            if query.contains("watch=true") {
                begins.send_replace(true);
                return played::begun(b"");
            }
            if query.contains("first") {
                return played::pods(&[]);
            }
            // The first list has been seen once its watch begins.
            let _ = begins.subscribe().wait_for(|begins| *begins).await;
            played::pods(&[pod(&[FETCH_CONTAINER])])
        }
    })
    .await;
    let options = LogOptions { follow: true, tail: Some(1), ..LogOptions::default() };
    let (readers, mut read) = readers(&cluster, options);
    let selectors = ["of=first".to_owned(), "of=second".to_owned()];
    tokio::select! {
        ended = read_all(&cluster, &selectors, Some(FETCH), readers) => panic!("{}", ended.is_ok()),
        line = line(&mut read) => assert_eq!(line, "pod | last\n"),
    }
    assert!(tail.borrow().contains("tailLines=1"), "{}", *tail.borrow());
}
