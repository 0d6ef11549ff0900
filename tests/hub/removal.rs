//! Removing a model next to fetchers of the same folder.

use std::path::Path;
use std::time::Duration;

use model_fetcher_contract::{FailureReason, LOCK_FILE, ProgressEvent};
use tokio::process::Child;

use crate::support::{FetcherOutput, HubFixture, MODEL};

/// Creates the model folder with the lock of a pod whose node is lost.
fn create_lock_of_lost_pod(fixture: &HubFixture) {
    std::fs::create_dir_all(fixture.folder()).unwrap();
    let record = r#"{"token":"0123","host":"pod-that-was","process":1,"boot":"another","device":1,"beat":7}"#;
    std::fs::write(fixture.folder().join(LOCK_FILE), record).unwrap();
}

/// Starts a fetch and waits until it waits for the lock.
async fn start_waiter(fixture: &HubFixture) -> Child {
    let log = fixture.volume.path().join("waiter.log");
    let mut command = fixture.command("fetch", &["--lock-timeout", "60s"]);
    command.stderr(std::fs::File::create(&log).unwrap());
    let child = command.spawn().unwrap();
    while !std::fs::read_to_string(&log).unwrap().contains("waiting") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn remove_takes_over_the_lock_of_a_lost_node() {
    let mut fixture = HubFixture::new().await;
    create_lock_of_lost_pod(&fixture);
    fixture.variables.push(("MODEL_FETCHER_LEASE_TIMEOUT", "500ms".into()));
    let output = fixture.run("remove", &[]).await;
    output.assert_exit_code(0);
    assert!(matches!(output.events.last(), Some(ProgressEvent::Removed { existed: true, .. })));
    assert_eq!(entries(fixture.volume.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn remove_is_refused_while_a_fetcher_works() {
    let fixture = HubFixture::new().await;
    create_lock_of_lost_pod(&fixture);
    let lock = fixture.folder().join(LOCK_FILE);
    let beats = tokio::spawn(async move {
        for second in 0.. {
            let file = std::fs::File::options().write(true).open(&lock).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let output = fixture.run("remove", &[]).await;
    let (error, hint) = output.assert_exit_code(15).error_and_hint();
    beats.abort();
    assert!(error.contains("in use by process 1 on pod-that-was"), "{error}");
    assert!(!hint.contains("--lock-timeout"), "`remove` does not have this flag: {hint}");
    assert_eq!(output.reason(), Some(FailureReason::Locked));
    assert!(fixture.folder().join(LOCK_FILE).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_fetch_continues_after_its_folder_was_removed() {
    let fixture = HubFixture::new().await;
    create_lock_of_lost_pod(&fixture);
    let mut waiter = start_waiter(&fixture).await;
    std::fs::remove_dir_all(fixture.folder()).unwrap();
    assert_eq!(waiter.wait().await.unwrap().code(), Some(0));
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn remove_next_to_a_waiting_fetch_removes_and_then_fetches() {
    let mut fixture = HubFixture::new().await;
    create_lock_of_lost_pod(&fixture);
    std::fs::write(fixture.folder().join("old"), "x").unwrap();
    let mut waiter = start_waiter(&fixture).await;
    fixture.variables.push(("MODEL_FETCHER_LEASE_TIMEOUT", "500ms".into()));
    fixture.run("remove", &[]).await.assert_exit_code(0);
    assert_eq!(waiter.wait().await.unwrap().code(), Some(0));
    fixture.assert_complete();
    assert!(!fixture.folder().join("old").exists());
    let organization = fixture.volume.path().join("acme");
    assert_eq!(entries(&organization), ["tiny-model"]);
}

/// A remover that was killed has renamed the folder and not deleted it.
#[tokio::test(flavor = "multi_thread")]
async fn remove_deletes_what_a_killed_remove_left() {
    let fixture = HubFixture::new().await;
    let organization = fixture.folder().parent().unwrap().to_owned();
    std::fs::create_dir_all(organization.join("tiny-model.removed-0123/sub")).unwrap();
    std::fs::create_dir_all(organization.join(".model-fetcher.removed.tiny-model.0123/sub")).unwrap();
    let output = fixture.run("remove", &[]).await;
    output.assert_exit_code(0);
    assert!(matches!(output.events.last(), Some(ProgressEvent::Removed { existed: true, .. })));
    assert_eq!(entries(&organization), ["tiny-model.removed-0123"], "only names of model-fetcher");
}

/// No other fetcher took over the folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_folder_is_not_reported_as_taken_over() {
    for path in ["", LOCK_FILE] {
        let settings =
            kubectl_dynamo_tests::hub::HubSettings { connection_rate: Some(1 << 20), ..Default::default() };
        let fixture = HubFixture::with_settings(settings, 20 << 20).await;
        let child = fixture.command("fetch", &["--lease-timeout", "1s"]).spawn().unwrap();
        while fixture.hub.bytes_sent() < 1 << 20 {
            tokio::task::yield_now().await;
        }
        match path {
            "" => std::fs::remove_dir_all(fixture.volume.path().join(MODEL)).unwrap(),
            path => std::fs::remove_file(fixture.folder().join(path)).unwrap(),
        }
        let output = FetcherOutput::from_child(child).await;
        let (error, hint) = output.error_and_hint();
        assert!(!error.contains("taken over"), "{error}");
        assert!(output.exit_code() == 15 && error.contains("was deleted"), "{path:?}: {error}");
        assert!(!hint.contains("wait for the other fetcher"), "{hint}");
    }
}
