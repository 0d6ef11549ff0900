//! A successful fetch, its receipt, and the cost of a second fetch.

use kubectl_dynamo_tests::cuttable_proxy::ConnectProxy;
use kubectl_dynamo_tests::hub::{HubHost, HubSettings, TlsIdentity};
use model_fetcher_contract::{FailureReason, ProgressEvent};

use crate::support::{HubFixture, MODEL};

#[tokio::test(flavor = "multi_thread")]
async fn fetches_model_byte_for_byte() {
    let fixture = HubFixture::new().await;
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    fixture.assert_complete();
    assert_eq!(output.bytes_fetched(), fixture.total_bytes());
    let receipt = fixture.receipt();
    assert_eq!((receipt.repository.as_str(), receipt.revision.as_str()), (MODEL, "main"));
    assert_eq!(receipt.commit.len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_model_with_tls() {
    let identity = TlsIdentity::generate(&["127.0.0.1"]).unwrap();
    let fixture = HubFixture::with_settings(
        HubSettings { identity: Some(identity), ..HubSettings::default() },
        1 << 20,
    )
    .await;
    assert!(fixture.hub.url.starts_with("https://"));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    let agents: Vec<_> =
        fixture.hub.requests().into_iter().map(|request| request.user_agent.unwrap_or_default()).collect();
    assert!(!agents.is_empty());
    for agent in agents {
        let platform = agent.strip_prefix(concat!("model-fetcher/", env!("CARGO_PKG_VERSION"), " "));
        assert!(matches!(platform, Some("(linux/amd64)" | "(linux/arm64)")), "{agent}");
    }
}

/// As in a corporate network: only the proxy reaches the hub, and only the file in `SSL_CERT_FILE` has its authority.
#[tokio::test(flavor = "multi_thread")]
async fn fetches_through_a_proxy_with_a_private_certificate_authority() {
    let identity = TlsIdentity::generate(&["hub.test", "127.0.0.1"]).unwrap();
    let settings = HubSettings { identity: Some(identity), ..HubSettings::default() };
    let mut fixture = HubFixture::with_settings(settings, 1 << 20).await;
    let address = fixture.hub.url.trim_start_matches("https://").parse().unwrap();
    let proxy = ConnectProxy::start_to(address).await.unwrap();
    fixture.variables.extend([
        ("HF_ENDPOINT", "https://hub.test".to_owned()),
        ("HTTPS_PROXY", proxy.url()),
        // The storage to which the hub redirects.
        ("NO_PROXY", "127.0.0.1".to_owned()),
    ]);
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    assert!(proxy.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn untrusted_certificate_fails_immediately() {
    let mut fixture = HubFixture::with_tls().await;
    fixture.variables.clear();
    let (error, hint) = fixture.fetch(&[]).await.assert_exit_code(13).error_and_hint();
    assert!(error.contains("127.0.0.1") && error.contains("not trusted"), "{error}");
    assert!(hint.contains("SSL_CERT_FILE"), "{hint}");
    assert_eq!(fixture.hub.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn second_fetch_sends_no_requests() {
    let fixture = HubFixture::new().await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.hub.reset_statistics();
    let second = fixture.fetch(&[]).await;
    assert_eq!(second.assert_exit_code(0).bytes_fetched(), 0);
    fixture.run("check", &[]).await.assert_exit_code(0);
    fixture.run("verify", &[]).await.assert_exit_code(0);
    assert_eq!(fixture.hub.requests(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetch_sends_two_api_calls_and_one_resolve_per_file() {
    // The description of the revision proves that the tree is complete, also for a pinned commit.
    let fixture = HubFixture::new().await;
    fixture.fetch(&["--connections", "4"]).await.assert_exit_code(0);
    let requests = fixture.hub.requests();
    let hub = requests.iter().filter(|request| request.host == HubHost::Hub);
    let api = hub.clone().filter(|request| request.path.starts_with("/api/models/")).count();
    let resolves = hub.clone().filter(|request| request.path.contains("/resolve/")).count();
    // The empty file needs no request.
    assert_eq!((api, resolves), (2, fixture.files.len() - 1));
    fixture.hub.reset_statistics();
    std::fs::remove_dir_all(fixture.folder()).unwrap();
    let commit = requests.iter().find_map(|request| request.path.split("/tree/").nth(1)).unwrap().to_owned();
    fixture.fetch(&["--revision", &commit]).await.assert_exit_code(0);
    let api =
        fixture.hub.requests().into_iter().filter(|request| request.path.starts_with("/api/models/")).count();
    assert_eq!(api, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_missing_and_damaged_files() {
    let fixture = HubFixture::new().await;
    let (error, hint) = fixture.run("check", &[]).await.assert_exit_code(1).error_and_hint();
    assert!(error.contains("receipt not found") && hint.contains("model-fetcher fetch"), "{error} {hint}");
    fixture.fetch(&[]).await.assert_exit_code(0);
    let shard = fixture.folder().join("model-00001-of-00002.safetensors");
    std::fs::write(&shard, b"short").unwrap();
    let (error, _) = fixture.run("check", &[]).await.assert_exit_code(1).error_and_hint();
    assert!(error.contains("model-00001-of-00002.safetensors has 5 bytes"), "{error}");
    let output = fixture.fetch(&[]).await;
    let size = fixture.files["model-00001-of-00002.safetensors"].len() as u64;
    assert_eq!(output.assert_exit_code(0).bytes_fetched(), size, "only the damaged file is fetched again");
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_detects_flipped_bit_with_same_size_and_time() {
    let fixture = HubFixture::new().await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    let path = fixture.folder().join("tokenizer/vocab.json");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let mut content = std::fs::read(&path).unwrap();
    content[100] ^= 1;
    std::fs::write(&path, content).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    fixture.run("check", &[]).await.assert_exit_code(0);
    let (error, _) = fixture.run("verify", &[]).await.assert_exit_code(1).error_and_hint();
    assert!(error.contains("tokenizer/vocab.json does not match its hash"), "{error}");
    fixture.run("verify", &["--online"]).await.assert_exit_code(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_files_are_excluded_and_recorded() {
    let fixture = HubFixture::new().await;
    fixture.fetch(&["--include", "*.json"]).await.assert_exit_code(0);
    assert!(fixture.folder().join("tokenizer/vocab.json").exists());
    assert!(!fixture.folder().join("model-00001-of-00002.safetensors").exists());
    fixture.run("check", &["--include", "*.json"]).await.assert_exit_code(0);
    let (error, _) = fixture.run("check", &[]).await.assert_exit_code(1).error_and_hint();
    assert!(error.contains("was excluded"), "{error}");
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_revision_requires_update_flag() {
    let mut fixture = HubFixture::new().await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    let first = fixture.receipt().commit;
    let changed = b"{\"model_type\": \"tiny\", \"version\": 2}\n".to_vec();
    fixture.files.insert("config.json".into(), changed);
    fixture.files.remove("empty.txt");
    std::fs::remove_file(fixture.served_folder.path().join("empty.txt")).unwrap();
    crate::support::write_files(fixture.served_folder.path(), &fixture.files);
    let mut repository =
        kubectl_dynamo_tests::hub::Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
    let second = repository.add_revision("v2", fixture.served_folder.path()).unwrap();
    fixture.hub.publish(repository);
    let refused = fixture.fetch(&["--revision", "v2"]).await;
    let (error, hint) = refused.assert_exit_code(1).error_and_hint();
    assert!(error.contains(&first) && error.contains("v2") && hint.contains("--update"), "{error} {hint}");
    assert!(hint.contains(&format!("`--revision {first}`")), "{hint}");
    assert_eq!(refused.reason(), Some(FailureReason::OtherRevision));
    fixture.hub.reset_statistics();
    let output = fixture.fetch(&["--revision", "v2", "--update"]).await;
    assert_eq!(output.assert_exit_code(0).bytes_fetched(), fixture.files["config.json"].len() as u64);
    assert_eq!(fixture.receipt().commit, second);
    assert!(!fixture.folder().join("empty.txt").exists(), "files of the old revision are removed");
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_emitted_in_order() {
    let fixture = HubFixture::new().await;
    let output = fixture.fetch(&[]).await;
    let events = &output.assert_exit_code(0).events;
    assert!(matches!(events.first(), Some(ProgressEvent::Started { .. })), "{events:?}");
    assert!(matches!(events.get(1), Some(ProgressEvent::Planned { files: 7, .. })), "{events:?}");
    let verified = events.iter().filter(|event| matches!(event, ProgressEvent::FileVerified { .. })).count();
    assert_eq!(verified, fixture.files.len());
    assert!(matches!(events.last(), Some(ProgressEvent::Complete { files: 7, .. })), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_termination_log() {
    let fixture = HubFixture::new().await;
    let log_path = fixture.volume.path().join("termination-log");
    std::fs::write(&log_path, "").unwrap();
    let log = log_path.to_str().unwrap();
    fixture.run("check", &["--termination-log", log]).await.assert_exit_code(1);
    let text = std::fs::read_to_string(&log_path).unwrap();
    assert!(text.starts_with("error: ") && text.contains("hint: "), "{text}");
    assert_eq!(text.lines().last(), Some("reason: not_complete"), "{text}");
    fixture.fetch(&["--termination-log", log, "--progress", "none"]).await.assert_exit_code(0);
    assert!(std::fs::read_to_string(&log_path).unwrap().starts_with("complete: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_errors_name_the_invalid_argument() {
    let fixture = HubFixture::new().await;
    fixture.fetch(&["--conections", "3"]).await.assert_exit_code(2);
    let (error, hint) = fixture.fetch(&["--revision", "a..b"]).await.assert_exit_code(2).error_and_hint();
    assert!(error.contains("a..b") && hint.contains("--revision main"), "{error} {hint}");
    let (error, _) = fixture.fetch(&["--endpoint", "ftp://x"]).await.assert_exit_code(2).error_and_hint();
    assert!(error.contains("ftp://x"), "{error}");
}
