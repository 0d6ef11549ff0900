//! Models from a mirror folder, and mirrors with a path prefix.

use std::time::Duration;

use kubectl_dynamo_tests::hub::{HubHost, HubSettings};
use model_fetcher_contract::RECEIPT_FILE;

use crate::support::{HubFixture, MODEL};

#[tokio::test(flavor = "multi_thread")]
async fn fetched_folder_is_a_mirror_without_network() {
    let first = HubFixture::new().await;
    first.fetch(&[]).await.assert_exit_code(0);
    let second = HubFixture::new().await;
    let mirror = format!("file://{}", first.volume.path().display());
    let output = second.fetch(&["--endpoint", &mirror]).await;
    assert_eq!(output.assert_exit_code(0).bytes_fetched(), second.total_bytes());
    second.assert_complete();
    assert_eq!(second.receipt().commit, first.receipt().commit);
    assert_eq!(second.hub.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_mirror_fails_hash_check() {
    let first = HubFixture::new().await;
    first.fetch(&[]).await.assert_exit_code(0);
    let shard = first.folder().join("model-00002-of-00002.safetensors");
    let mut content = std::fs::read(&shard).unwrap();
    content[70_000] ^= 4;
    std::fs::write(&shard, content).unwrap();
    let second = HubFixture::new().await;
    let mirror = format!("file://{}", first.volume.path().display());
    let (error, _) = second.fetch(&["--endpoint", &mirror]).await.assert_exit_code(14).error_and_hint();
    assert!(error.starts_with("model-00002-of-00002.safetensors"), "{error}");
    second.assert_no_corrupt_files();
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_mirror_without_model_or_with_unsafe_receipt() {
    let first = HubFixture::new().await;
    first.fetch(&[]).await.assert_exit_code(0);
    let mirror = format!("file://{}", first.volume.path().display());
    let second = HubFixture::new().await;
    let (error, _) =
        second.fetch(&["--endpoint", "file:///nowhere"]).await.assert_exit_code(11).error_and_hint();
    assert!(error.contains(MODEL) && error.contains("file:///nowhere"), "{error}");
    let (error, _) = second
        .fetch(&["--endpoint", &mirror, "--revision", "v9"])
        .await
        .assert_exit_code(11)
        .error_and_hint();
    assert!(error.contains("v9"), "{error}");
    let mut receipt = first.receipt();
    receipt.files[0].path = "../escaped".into();
    std::fs::write(first.folder().join(RECEIPT_FILE), serde_json::to_vec(&receipt).unwrap()).unwrap();
    let (error, _) = second.fetch(&["--endpoint", &mirror]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains("escaped"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_requests_use_the_path_prefix() {
    let settings =
        HubSettings { path_prefix: "/mirrors/hub".into(), page_entries: 2, ..HubSettings::default() };
    let mut fixture = HubFixture::with_settings(settings, 3 << 20).await;
    fixture.variables.push(("HF_TOKEN", "hf_secret".into()));
    assert!(fixture.hub.url.ends_with("/mirrors/hub"));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    let requests = fixture.hub.requests();
    let mut hub = requests.iter().filter(|request| request.host == HubHost::Hub);
    assert!(
        hub.all(|request| request.path.starts_with("/mirrors/hub/") && request.status < 400),
        "{requests:?}"
    );
    fixture.run("verify", &["--online"]).await.assert_exit_code(0);
    fixture.assert_resent_at_most(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_sends_no_requests_and_reports_missing_files() {
    let mut fixture = HubFixture::new().await;
    fixture.variables.push(("HF_HUB_OFFLINE", "1".into()));
    let (error, hint) = fixture.fetch(&[]).await.assert_exit_code(1).error_and_hint();
    assert!(error.contains("network access is disabled") && hint.contains("--offline"), "{error} {hint}");
    assert_eq!(fixture.hub.requests(), []);
    fixture.variables.pop();
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.hub.reset_statistics();
    fixture.fetch(&["--offline"]).await.assert_exit_code(0);
    assert_eq!(fixture.hub.requests(), []);
}

/// Operations of the library that need the hub are refused, not tried.
#[tokio::test(flavor = "multi_thread")]
async fn offline_operations_send_no_requests() {
    let mut fixture = HubFixture::new().await;
    let listing = model_fetcher::listing(&fixture.options()).await.unwrap();
    fixture.hub.reset_statistics();
    let mut options = fixture.options();
    options.offline = true;
    let errors = [
        model_fetcher::listing(&options).await.unwrap_err(),
        model_fetcher::list_selected(&options).await.unwrap_err(),
        model_fetcher::check_access(&options, &listing).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("network access is disabled"), "{error}");
        assert!(error.hint().unwrap().contains("HF_HUB_OFFLINE"), "{error}");
    }
    fixture.variables.push(("HF_HUB_OFFLINE", "1".into()));
    let (error, _) = fixture.run("verify", &["--online"]).await.assert_exit_code(2).error_and_hint();
    assert!(error.contains("network access is disabled"), "{error}");
    assert_eq!(fixture.hub.requests(), []);
    // A folder needs no network.
    fixture.variables.pop();
    fixture.fetch(&[]).await.assert_exit_code(0);
    options.hub.endpoint = format!("file://{}", fixture.volume.path().display()).as_str().into();
    assert_eq!(model_fetcher::listing(&options).await.unwrap().files.len(), fixture.files.len());
}

/// A network that drops packets: a socket whose queue of connections is full.
#[tokio::test(flavor = "multi_thread")]
async fn unreachable_timeout_limits_a_connection_attempt() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connection) =
        tokio::time::timeout(Duration::from_millis(300), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(connection.unwrap());
    }
    let volume = tempfile::tempdir().unwrap();
    let mut options = model_fetcher::FetchOptions::new(MODEL, volume.path());
    options.hub.endpoint = format!("http://{address}").as_str().into();
    // Half of the default is much longer than the timeout, on any machine.
    let default_timeout = std::mem::replace(&mut options.unreachable_timeout, Duration::from_millis(500));
    let listing = tokio::time::timeout(default_timeout / 2, model_fetcher::listing(&options));
    let error = listing.await.expect("the timeout applies").unwrap_err();
    assert!(error.to_string().contains("timed out connecting"), "{error}");
}
