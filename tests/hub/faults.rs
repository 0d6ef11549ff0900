//! Faults on the way. After each fault no file with its final name has a wrong byte, and the fetch completes
//! or reports the reason.

use std::time::Duration;

use kubectl_dynamo_tests::hub::repository::HubFile;
use kubectl_dynamo_tests::hub::{Fault, FaultKind, HubHost, HubSettings, Repository};

use crate::support::{HubFixture, MODEL, SOCKET_BUFFER_BYTES, pseudo_random_bytes, tls_settings};

const MIB: u64 = 1 << 20;
const SHARD: &str = "model-00001-of-00002.safetensors";

/// Transient faults, injected into the first requests for a shard.
fn transient_faults() -> Vec<(&'static str, FaultKind)> {
    let long_pause = Duration::from_secs(300);
    vec![
        ("reset", FaultKind::Reset { after: MIB }),
        ("immediate reset", FaultKind::Reset { after: 0 }),
        ("early close", FaultKind::CloseEarly { after: MIB + 1 }),
        ("stall", FaultKind::Stall { after: MIB, pause: long_pause }),
        ("flipped byte", FaultKind::FlipByte { at: 2 * MIB }),
        ("unavailable", FaultKind::Status(503, Vec::new())),
        ("unavailable with Retry-After", FaultKind::Status(503, vec![("retry-after", "1".into())])),
        ("bad gateway", FaultKind::Status(502, Vec::new())),
        ("forbidden", FaultKind::Status(403, Vec::new())),
        ("different range", FaultKind::OtherRange),
        ("longer body", FaultKind::LongerBody { by: 4096 }),
        ("shorter body", FaultKind::ShorterBody { by: 4096 }),
    ]
}

async fn assert_survives(settings: HubSettings, name: &str, kind: FaultKind) {
    let mut fixture = HubFixture::with_settings(settings, 9 * MIB as usize).await;
    fixture.variables.push(("HF_HUB_DOWNLOAD_TIMEOUT", "1".into()));
    fixture.hub.inject(Fault::once(HubHost::Cdn, SHARD, kind));
    let output = fixture.fetch(&[]).await;
    assert_eq!(output.exit_code(), 0, "{name}: {}", output.stderr);
    fixture.assert_complete();
    // A file with a wrong hash is fetched again completely; after other faults only the bytes in socket
    // buffers are lost.
    fixture.assert_resent_at_most(if name == "flipped byte" { 12 * MIB } else { 9 * MIB });
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_faults_are_survived() {
    for (name, kind) in transient_faults() {
        assert_survives(HubSettings::default(), name, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_faults_are_survived_with_tls() {
    for (name, kind) in transient_faults() {
        assert_survives(tls_settings(), name, kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_byte_flipped_twice_and_prints_both_hashes() {
    assert_rejects_byte_flipped_twice(HubFixture::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_byte_flipped_twice_with_tls() {
    assert_rejects_byte_flipped_twice(HubFixture::with_tls().await).await;
}

async fn assert_rejects_byte_flipped_twice(fixture: HubFixture) {
    fixture.hub.inject(Fault::always(HubHost::Cdn, SHARD, FaultKind::FlipByte { at: 1000 }));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
    assert!(error.starts_with(SHARD) && error.contains("expected") && error.contains("got"), "{error}");
    assert!(!fixture.folder().join(SHARD).exists());
    fixture.run("check", &[]).await.assert_exit_code(1);
    // The wrong shard was sent twice. Of the other files, only bytes in socket buffers are sent again.
    fixture.assert_recovers(2 * fixture.files[SHARD].len() as u64 + SOCKET_BUFFER_BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_flipped_byte_in_small_file() {
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "vocab.json", FaultKind::FlipByte { at: 7 }));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
    assert!(error.starts_with("tokenizer/vocab.json"), "{error}");
    assert!(!fixture.folder().join("tokenizer/vocab.json").exists());
    // The file was sent twice during the transfer of the shards.
    fixture.assert_recovers(SOCKET_BUFFER_BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_hub_exits_13_and_next_run_completes() {
    assert_unavailable_hub_times_out(HubFixture::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_hub_exits_13_with_tls() {
    assert_unavailable_hub_times_out(HubFixture::with_tls().await).await;
}

async fn assert_unavailable_hub_times_out(fixture: HubFixture) {
    fixture.hub.inject(Fault::always(HubHost::Cdn, "", FaultKind::Status(503, Vec::new())));
    let (error, hint) = fixture.fetch(&["--stall-timeout", "2s"]).await.assert_exit_code(13).error_and_hint();
    assert!(error.contains("503") && hint.contains("resume"), "{error} {hint}");
    // Small files may not have been written when the fetch ended.
    fixture.assert_recovers(10_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connection_exits_13() {
    let mut fixture = HubFixture::new().await;
    fixture.variables.push(("MODEL_FETCHER_ENDPOINT", "http://127.0.0.1:9".into()));
    let (error, _) = fixture.fetch(&["--stall-timeout", "1s"]).await.assert_exit_code(13).error_and_hint();
    assert!(error.contains("127.0.0.1:9") && error.contains("cannot connect"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_rate_limit() {
    assert_waits_for_rate_limit(HubFixture::new().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_for_rate_limit_with_tls() {
    assert_waits_for_rate_limit(HubFixture::with_tls().await).await;
}

async fn assert_waits_for_rate_limit(fixture: HubFixture) {
    let limit = vec![("ratelimit", "\"api\";r=0;t=1".to_owned())];
    fixture.hub.inject(Fault::once(HubHost::Hub, "/tree/", FaultKind::Status(429, limit)));
    let retry_after = vec![("retry-after", "1".to_owned())];
    fixture.hub.inject(Fault::once(HubHost::Hub, "/revision/", FaultKind::Status(429, retry_after)));
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    assert_eq!(output.stderr.matches("rate_limit").count(), 2, "{}", output.stderr);
    let tree = fixture.hub.requests().into_iter().filter(|request| request.path.contains("/tree/")).count();
    assert_eq!(tree, 2, "one rejected and one accepted request");
    fixture.assert_resent_at_most(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn renews_expired_signed_url() {
    assert_renews_expired_url(HubSettings::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renews_expired_signed_url_with_tls() {
    assert_renews_expired_url(tls_settings()).await;
}

async fn assert_renews_expired_url(settings: HubSettings) {
    let settings = HubSettings { connection_rate: Some(8 * MIB), ..settings };
    let fixture = HubFixture::with_settings(settings, 20 * MIB as usize).await;
    let child = fixture.command("fetch", &["--connections", "2"]).spawn().unwrap();
    while fixture.hub.bytes_sent() < 4 * MIB {
        tokio::task::yield_now().await;
    }
    fixture.hub.expire_addresses();
    crate::support::FetcherOutput::from_child(child).await.assert_exit_code(0);
    fixture.assert_complete();
    assert!(fixture.hub.requests().iter().any(|request| request.status == 403), "a signed URL expired");
    fixture.assert_resent_at_most(MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_from_server_without_range_support() {
    let fixture = HubFixture::with_settings(HubSettings::default(), 20 * MIB as usize).await;
    fixture.hub.inject(Fault::always(HubHost::Cdn, "", FaultKind::IgnoreRange));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    // Bytes in transit and in socket buffers until the fetcher detects that ranges are ignored.
    fixture.assert_resent_at_most(fixture.total_bytes() * 3 / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_loop_exits_13() {
    let fixture = HubFixture::new().await;
    let loop_url = format!("{}/{MODEL}/resolve/main/config.json", fixture.hub.url);
    fixture.hub.inject(Fault::always(HubHost::Hub, "config.json", FaultKind::Redirect(loop_url)));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(13).error_and_hint();
    assert!(error.contains("redirect loop"), "{error}");
    fixture.assert_recovers(SOCKET_BUFFER_BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_is_not_sent_to_redirect_targets() {
    let mut fixture = HubFixture::new().await;
    fixture.variables.push(("HF_TOKEN", "hf_secret".into()));
    let other_fixture = HubFixture::new().await;
    let target = format!("{}/api/resolve-cache/models/{MODEL}/x/config.json", other_fixture.hub.url);
    fixture.hub.inject(Fault::always(HubHost::Hub, "config.json", FaultKind::Redirect(target)));
    fixture.fetch(&["--stall-timeout", "1s"]).await;
    let requests = other_fixture.hub.requests();
    assert!(
        !requests.is_empty() && requests.iter().all(|request| request.authorization.is_none()),
        "{requests:?}"
    );
    fixture.hub.clear_faults();
    let file = Fault::always(HubHost::Hub, "config.json", FaultKind::Redirect("file:///etc/passwd".into()));
    fixture.hub.inject(file);
    fixture.fetch(&["--stall-timeout", "1s"]).await.assert_exit_code(13);
    fixture.assert_recovers(SOCKET_BUFFER_BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_all_listing_pages() {
    let fixture =
        HubFixture::with_settings(HubSettings { page_entries: 2, ..HubSettings::default() }, MIB as usize)
            .await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_repeating_listing() {
    let fixture =
        HubFixture::with_settings(HubSettings { page_entries: 2, ..HubSettings::default() }, MIB as usize)
            .await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", FaultKind::RepeatPage));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains("repeat"), "{error}");
    fixture.assert_recovers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_endless_listing() {
    let fixture =
        HubFixture::with_settings(HubSettings { page_entries: 2, ..HubSettings::default() }, MIB as usize)
            .await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", FaultKind::EndlessPages));
    let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains("do not end"), "{error}");
    assert_eq!(fixture.hub.bytes_sent(), 0);
    fixture.assert_recovers(0).await;
}

/// Two names that differ only in case: valid on this volume, rejected with `--names portable`.
#[tokio::test(flavor = "multi_thread")]
async fn portable_names_rejects_case_conflicts() {
    let mut fixture = HubFixture::new().await;
    fixture.files.insert("CONFIG.json".into(), b"{}".to_vec());
    fixture.republish();
    let (error, _) = fixture.fetch(&["--names", "portable"]).await.assert_exit_code(14).error_and_hint();
    assert!(error.contains("CONFIG.json") && error.contains("differ only in case"), "{error}");
    fixture.assert_recovers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_listing_with_unsafe_paths() {
    for path in ["../escaped", "/tmp/escaped", "a/../../escaped", "a\0b", ".model-fetcher.json"] {
        let fixture = HubFixture::new().await;
        let source_path = fixture.served_folder.path().join("config.json");
        let size = std::fs::metadata(&source_path).unwrap().len();
        let file = HubFile {
            path: path.into(),
            disk_path: source_path,
            size,
            blob_id: "0".repeat(40),
            sha256: None,
            xet_hash: None,
        };
        let mut repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
        repository.add_files("main", vec![file]);
        fixture.hub.publish(repository);
        let (error, _) = fixture.fetch(&[]).await.assert_exit_code(14).error_and_hint();
        assert!(error.contains("invalid file listing of"), "{path}: {error}");
        assert!(!fixture.volume.path().join("escaped").exists());
        fixture.republish();
        fixture.assert_recovers(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_symbolic_link_in_folder() {
    let fixture = HubFixture::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(fixture.folder()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), fixture.folder().join("tokenizer")).unwrap();
    let (error, hint) = fixture.fetch(&[]).await.assert_exit_code(12).error_and_hint();
    assert!(error.contains("symbolic link") && hint.starts_with("remove it"), "{error} {hint}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    std::fs::remove_file(fixture.folder().join("tokenizer")).unwrap();
    fixture.assert_recovers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_listing_changed_between_runs() {
    let mut fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Cdn, SHARD, FaultKind::Status(503, Vec::new())));
    fixture.fetch(&["--stall-timeout", "1s"]).await.assert_exit_code(13);
    fixture.hub.clear_faults();
    fixture.files.insert("config.json".into(), pseudo_random_bytes(9, 300));
    fixture.files.insert("added.json".into(), pseudo_random_bytes(10, 40));
    fixture.republish();
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    // config.json was sent in both versions.
    fixture.assert_resent_at_most(300);
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_proxy_except_for_no_proxy_hosts() {
    let mut fixture = HubFixture::new().await;
    let hub = fixture.hub.url.clone();
    fixture.variables.extend([
        ("HTTP_PROXY", hub),
        ("NO_PROXY", "127.0.0.1".to_owned()),
        ("MODEL_FETCHER_ENDPOINT", "http://hub.invalid".to_owned()),
    ]);
    fixture.fetch(&["--stall-timeout", "2s"]).await.assert_exit_code(0);
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_accepts_all_hosts_and_ports() {
    for exceptions in ["*", "{hub},{cdn}", "127.0.0.0/8"] {
        let mut fixture = HubFixture::new().await;
        let address = |url: &str| url.trim_start_matches("http://").to_owned();
        let exceptions = exceptions
            .replace("{hub}", &address(&fixture.hub.url))
            .replace("{cdn}", &address(&fixture.hub.cdn_url));
        fixture.variables.push(("HTTP_PROXY", "http://127.0.0.1:1".to_owned()));
        fixture.variables.push(("NO_PROXY", exceptions));
        fixture.fetch(&["--stall-timeout", "2s"]).await.assert_exit_code(0);
        fixture.assert_complete();
    }
}
