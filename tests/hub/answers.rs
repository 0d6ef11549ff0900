//! Answers that are not what was requested: faults that pass, and faults that no waiting changes.

use kubectl_dynamo_tests::hub::{Fault, FaultKind, HubHost};
use model_fetcher_contract::{FailureReason, ProgressEvent, WaitReason};

use crate::support::{HubFixture, SOCKET_BUFFER_BYTES};

const SHARD: &str = "model-00001-of-00002.safetensors";

fn status(status: u16) -> FaultKind {
    FaultKind::Status(status, Vec::new())
}

fn page(text: &str) -> FaultKind {
    FaultKind::Answer(200, vec![("content-type", "text/html".into())], text.as_bytes().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_temporary_status_is_retried() {
    for code in [408, 416, 425, 429, 500, 501, 502, 503, 504, 507, 520, 522, 524, 530] {
        let fixture = HubFixture::new().await;
        fixture.hub.inject(Fault::once(HubHost::Cdn, SHARD, status(code)));
        let output = fixture.fetch(&[]).await;
        assert_eq!(output.exit_code(), 0, "{code}: {}", output.stderr);
        fixture.assert_complete();
        fixture.assert_resent_at_most(SOCKET_BUFFER_BYTES);
    }
    for code in [408, 500, 520, 522, 524] {
        let fixture = HubFixture::new().await;
        fixture.hub.inject(Fault::once(HubHost::Hub, "/revision/", status(code)));
        fixture.hub.inject(Fault::once(HubHost::Hub, "/tree/", status(code)));
        let output = fixture.fetch(&[]).await;
        assert_eq!(output.exit_code(), 0, "{code}: {}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_always_refused_is_fetched_whole() {
    for kind in [FaultKind::RefuseRange, FaultKind::WithoutContentRange, FaultKind::OtherRange] {
        let fixture = HubFixture::with_settings(Default::default(), 20 << 20).await;
        let text = format!("{kind:?}");
        fixture.hub.inject(Fault::always(HubHost::Cdn, SHARD, kind));
        let output = fixture.fetch(&["--connections", "4"]).await;
        assert_eq!(output.exit_code(), 0, "{text}: {}", output.stderr);
        fixture.assert_complete();
    }
}

/// Fetches, which must fail with this code. Returns the error, its hint, and the number of retries.
async fn fail_to_fetch(fixture: &HubFixture, code: u8) -> (String, String, usize) {
    let output = fixture.fetch(&[]).await;
    let is_retry =
        |event: &&ProgressEvent| matches!(event, ProgressEvent::Waiting { reason: WaitReason::Retry, .. });
    let retries = output.events.iter().filter(is_retry).count();
    fixture.assert_no_corrupt_files();
    let (error, hint) = output.assert_exit_code(code).error_and_hint();
    (error, hint, retries)
}

async fn assert_fails_at_once(fixture: &HubFixture, code: u8) -> (String, String) {
    let (error, hint, retries) = fail_to_fetch(fixture, code).await;
    assert_eq!(retries, 0, "{error}");
    (error, hint)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_instead_of_an_answer_fails_at_once() {
    for path in ["/revision/", "/tree/"] {
        let fixture = HubFixture::new().await;
        fixture.hub.inject(Fault::always(HubHost::Hub, path, page("<!DOCTYPE html><p>Please log in</p>")));
        let (error, _) = assert_fails_at_once(&fixture, 14).await;
        assert!(error.contains("a web page"), "{error}");
    }
    for host_path in [(HubHost::Cdn, SHARD), (HubHost::Hub, "vocab.json")] {
        let fixture = HubFixture::new().await;
        fixture.hub.inject(Fault::always(host_path.0, host_path.1, page("\n<html>Please log in</html>")));
        let (error, _) = assert_fails_at_once(&fixture, 14).await;
        assert!(error.contains("a web page") && error.contains(host_path.1), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_lfs_pointer_instead_of_a_file_fails_at_once() {
    let fixture = HubFixture::new().await;
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n".to_vec();
    let kind = FaultKind::Answer(200, Vec::new(), pointer);
    fixture.hub.inject(Fault::always(HubHost::Cdn, SHARD, kind));
    let (error, hint) = assert_fails_at_once(&fixture, 14).await;
    assert!(error.contains("LFS pointer") && error.contains(SHARD), "{error}");
    assert!(hint.contains("storage of the mirror"), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_length_is_retried_and_then_reported() {
    let fixture = HubFixture::new().await;
    let short = || FaultKind::Answer(200, Vec::new(), b"short".to_vec());
    fixture.hub.inject(Fault::once(HubHost::Cdn, SHARD, short()).times(2));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Cdn, SHARD, short()));
    let (error, _, retries) = fail_to_fetch(&fixture, 14).await;
    assert!((1..10).contains(&retries), "{retries} retries");
    assert!(error.contains("5 bytes, expected"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_listing_is_retried_and_then_reported() {
    let truncated = || FaultKind::Answer(200, Vec::new(), b"[{\"type\":".to_vec());
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::once(HubHost::Hub, "/tree/", truncated()));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", truncated()));
    let (error, _, retries) = fail_to_fetch(&fixture, 14).await;
    assert!((1..10).contains(&retries), "{retries} retries");
    assert!(error.contains("ends early"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_answers_are_read() {
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "", FaultKind::Gzip));
    fixture.hub.inject(Fault::always(HubHost::Cdn, "", FaultKind::Gzip));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_compression_fails_at_once() {
    let brotli = || FaultKind::Answer(200, vec![("content-encoding", "br".into())], b"\x0b\x02\x80".to_vec());
    for (host, path) in [(HubHost::Hub, "/revision/"), (HubHost::Cdn, SHARD)] {
        let fixture = HubFixture::new().await;
        fixture.hub.inject(Fault::always(host, path, brotli()));
        let (error, _) = assert_fails_at_once(&fixture, 14).await;
        assert!(error.contains("compressed with \"br\""), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_a_mirror_does_not_find_is_named() {
    let fixture = HubFixture::new().await;
    fixture.hub.inject(Fault::always(HubHost::Hub, "/resolve/", status(404)));
    let (error, _) = assert_fails_at_once(&fixture, 11).await;
    assert!(error.starts_with("file \"") && error.contains("not found at commit"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsupported_proxy_is_reported_before_any_request() {
    let mut fixture = HubFixture::new().await;
    fixture.variables.push(("HTTP_PROXY", "socks5://user:s3cret@127.0.0.1:1080".into()));
    let output = fixture.fetch(&[]).await;
    let (error, hint) = output.assert_exit_code(2).error_and_hint();
    assert!(error.contains("socks5://127.0.0.1:1080") && hint.contains("HTTPS_PROXY"), "{error} {hint}");
    assert!(!output.stderr.contains("s3cret") && fixture.hub.requests().is_empty(), "{}", output.stderr);
    fixture.variables.push(("NO_PROXY", "127.0.0.0/8".into()));
    fixture.fetch(&[]).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_sent_is_reported_before_any_request() {
    for token in ["hf_secret\nhf_other", "hf_secret hf_other", "hf_sécret"] {
        let mut fixture = HubFixture::new().await;
        fixture.variables.push(("HF_TOKEN", token.into()));
        let output = fixture.fetch(&[]).await;
        let (error, hint) = output.assert_exit_code(10).error_and_hint();
        assert!(error.starts_with("the hub token") && hint.contains("HF_TOKEN"), "{error} {hint}");
        assert_eq!(output.reason(), Some(FailureReason::Access));
        assert!(!output.stderr.contains("cret") && fixture.hub.requests().is_empty(), "{}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_until_the_date_in_retry_after() {
    let fixture = HubFixture::new().await;
    let headers = vec![
        ("date", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned()),
        ("retry-after", "Wed, 21 Oct 2015 07:28:02 GMT".to_owned()),
    ];
    for (host, path) in [(HubHost::Hub, "/revision/"), (HubHost::Cdn, SHARD)] {
        fixture.hub.inject(Fault::once(host, path, FaultKind::Status(429, headers.clone())));
    }
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    let waits: Vec<u64> = output
        .events
        .iter()
        .filter_map(|event| match event {
            ProgressEvent::Waiting { seconds, .. } => Some(*seconds),
            _ => None,
        })
        .collect();
    assert!(waits.len() == 2 && waits.iter().all(|seconds| *seconds == 3), "{waits:?}");
}

/// A server decides how long a client waits, but cannot crash it.
#[tokio::test(flavor = "multi_thread")]
async fn absurd_delays_and_sizes_are_errors() {
    for (name, value) in [
        ("retry-after", "18000000000000000000"),
        ("retry-after", "1e19"),
        ("ratelimit", "\"api\";r=0;t=18446744073709551615"),
    ] {
        for (host, path) in [(HubHost::Cdn, SHARD), (HubHost::Hub, "/tree/")] {
            let fixture = HubFixture::new().await;
            let kind = FaultKind::Status(429, vec![(name, value.to_owned())]);
            fixture.hub.inject(Fault::always(host, path, kind));
            assert_fails_at_once(&fixture, 13).await;
        }
    }
    for size in [u64::MAX, 1 << 63] {
        let fixture = HubFixture::new().await;
        let entry = |path: &str| {
            format!(r#"{{"type":"file","path":"{path}","oid":"{}","size":{size}}}"#, "a".repeat(40))
        };
        let tree = format!("[{},{}]", entry("a.bin"), entry("b.bin"));
        let answer = FaultKind::Answer(200, Vec::new(), tree.into_bytes());
        fixture.hub.inject(Fault::always(HubHost::Hub, "/tree/", answer));
        let revision = format!(r#"{{"sha":"{}","siblings":[]}}"#, "b".repeat(40));
        let answer = FaultKind::Answer(200, Vec::new(), revision.into_bytes());
        fixture.hub.inject(Fault::always(HubHost::Hub, "/revision/", answer));
        let (error, _) = assert_fails_at_once(&fixture, 14).await;
        assert!(error.contains("size"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_timeout_of_zero_is_the_default() {
    let mut fixture = HubFixture::new().await;
    fixture.variables.push(("HF_HUB_DOWNLOAD_TIMEOUT", "0".into()));
    fixture.fetch(&["--stall-timeout", "5s"]).await.assert_exit_code(0);
    fixture.assert_complete();
}

/// Delays of a rate limit do not count as time without data, for a listing and for a file. Those of a server that is
/// down do.
#[tokio::test(flavor = "multi_thread")]
async fn only_delays_of_a_rate_limit_do_not_count_as_a_stall() {
    for (host, path) in [(HubHost::Hub, "/tree/"), (HubHost::Cdn, SHARD)] {
        let fixture = HubFixture::new().await;
        let kind = FaultKind::Status(429, vec![("retry-after", "2".into())]);
        fixture.hub.inject(Fault::once(host, path, kind).times(2));
        let output = fixture.fetch(&["--stall-timeout", "3s", "--connections", "1"]).await;
        assert_eq!(output.exit_code(), 0, "{path}: {}", output.stderr);
        fixture.assert_complete();
        let fixture = HubFixture::new().await;
        let kind = FaultKind::Status(503, vec![("retry-after", "1".into())]);
        fixture.hub.inject(Fault::always(host, path, kind));
        let output = fixture.fetch(&["--stall-timeout", "3s", "--connections", "1"]).await;
        let (error, _) = output.assert_exit_code(13).error_and_hint();
        assert!(error.contains("503"), "{path}: {error}");
    }
}
