//! Every text of model-fetcher that the plugin matches. An old fetcher image writes it and a newer plugin
//! reads it, so the plugin must continue to accept it.
//!
//! | text | written as | read in the plugin by |
//! |---|---|---|
//! | `" holds revision "` | termination message of `fetch`, `check`, `verify`, with exit code 1 | `readiness`: the folder contains another revision (KD0446), and a retry does not help |
//! | `"complete: "`, `" at "`, `", "`, `" files"`, `", "`, `";"` | termination message of `fetch` and `verify`, with exit code 0 | `readiness`: commit, number of files, and size of a model (`cache list`, `cache verify`) |
//! | one JSON object per line, `event` and its fields | log of the container with `MODEL_FETCHER_PROGRESS=json` | `up`, `status`, `cache pull`: progress; the last `complete` or `failed` event is the result |
//!
//! The plugin also uses the exit codes 1 (`NOT_COMPLETE`), 10 (`ACCESS`), and those of `exit::PERMANENT`, and
//! the name of the container, `model-fetch`.

use kubectl_dynamo_core::readiness::{FetchSummary, FetchTermination, Problem, fetch_termination};
use kubectl_dynamo_core::resources::FETCH_CONTAINER;
use kubectl_dynamo_tests::hub::HubSettings;
use model_fetcher_contract::{ProgressEvent, exit};
use serde_json::{Value, json};

use crate::fetcher::Scene;

/// In a termination message: the folder contains another revision, complete.
const HOLDS_ANOTHER_REVISION: &str = " holds revision ";
/// In a termination message: the parts around the commit, the number of files, and the size.
const COMPLETE: [&str; 6] = ["complete: ", " at ", ", ", " files", ", ", ";"];

/// The termination messages of commit df1e54c.
const OLD_OTHER_REVISION: &str = "error: /opt/models/acme/tiny holds revision main \
    (0123456789abcdef0123456789abcdef01234567), not v2\n  hint: ask for the one that is there";
const OLD_COMPLETE: &str =
    "complete: /opt/models/acme/tiny at 0123456789ab, 5 files, 24.00 MiB; 24.00 MiB fetched in 1.3 s";

fn trouble(message: &str) -> Problem {
    let exit_code = u64::from(exit::NOT_COMPLETE);
    Problem::Fetch { pod: "x".into(), exit_code, message: message.into(), reason: None }
}

#[test]
fn reads_the_termination_messages_of_df1e54c() {
    assert!(OLD_OTHER_REVISION.contains(HOLDS_ANOTHER_REVISION));
    assert!(trouble(OLD_OTHER_REVISION).is_revision_mismatch());
    assert!(
        !trouble("error: /opt/models/acme/tiny is not complete: it has no receipt").is_revision_mismatch()
    );
    let fetched = FetchSummary { commit: "0123456789ab".into(), files: 5, size: "24.00 MiB".into() };
    assert_eq!(FetchSummary::parse(OLD_COMPLETE), Some(fetched));
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_termination_messages_of_this_fetcher() {
    let scene = Scene::new(HubSettings::default(), 64).await;
    let message = scene.run("fetch", &[]).await.termination_message;
    let mut rest = message.as_str();
    for part in COMPLETE {
        rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part:?} in {message}")).1;
    }
    let fetched = FetchSummary::parse(&message).unwrap();
    assert_eq!((fetched.files, fetched.commit.len()), (5, 12));

    let ended = scene.run("check", &["--revision", "v2"]).await;
    assert_eq!(ended.code, i32::from(exit::NOT_COMPLETE));
    assert!(ended.termination_message.contains(HOLDS_ANOTHER_REVISION), "{}", ended.termination_message);
    assert!(trouble(&ended.termination_message).is_revision_mismatch());
}

#[test]
fn reads_the_state_of_the_fetch_container() {
    let status = |exit_code: u64, message: &str| -> Value {
        json!({ "status": { "initContainerStatuses": [{
            "name": "model-fetch",
            "state": { "terminated": { "exitCode": exit_code, "message": message, "finishedAt": "2026-01-01T00:00:00Z" } },
        }] } })
    };
    assert_eq!(FETCH_CONTAINER, "model-fetch");
    let expected = FetchTermination {
        exit_code: 1,
        message: "m".into(),
        reason: None,
        finished_at: "2026-01-01T00:00:00Z".into(),
    };
    let pod = serde_json::from_value(status(1, "m\n")).expect("a pod");
    assert_eq!(fetch_termination(&pod), Some(expected));
}

/// The plugin reads the log of the fetcher of df1e54c line by line.
#[test]
fn reads_the_log_of_df1e54c() {
    let log = std::fs::read_to_string(crate::fixture_folder().join("fetcher/log.ndjson")).unwrap();
    let events: Vec<ProgressEvent> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(matches!(events.first(), Some(ProgressEvent::Started { .. })));
    assert!(events.iter().any(|event| matches!(event, ProgressEvent::Complete { .. })));
    assert!(events.iter().any(|event| matches!(event, ProgressEvent::Failed { .. })));
    let written: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (event, written) in events.iter().zip(written) {
        let read = serde_json::to_value(event).unwrap();
        for (key, value) in written.as_object().unwrap() {
            assert_eq!(read[key], *value, "{key}");
        }
    }
}
