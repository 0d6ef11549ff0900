//! The fetcher is stopped at any time, and the next run resumes.

use kubectl_dynamo_tests::hub::HubSettings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::support::{FetcherOutput, HubFixture};

const MIB: u64 = 1 << 20;

async fn slow_fixture() -> HubFixture {
    let settings = HubSettings { connection_rate: Some(24 * MIB), ..HubSettings::default() };
    HubFixture::with_settings(settings, 48 * MIB as usize).await
}

fn send_signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("the fetcher is running");
    kill_process(pid, signal).unwrap();
}

/// Returns whether the fetcher has recorded written ranges.
fn has_record(fixture: &HubFixture) -> bool {
    let holders = std::fs::read_dir(fixture.folder().join(".model-fetcher.partial")).into_iter().flatten();
    holders.flatten().any(|holder| holder.path().join("written.json").exists())
}

/// Starts a fetch and sends it `signal` once the hub has sent `bytes`.
async fn fetch_until(fixture: &HubFixture, bytes: u64, signal: Signal) -> FetcherOutput {
    let child = fixture.command("fetch", &[]).spawn().unwrap();
    while fixture.hub.bytes_sent() < bytes || !has_record(fixture) {
        tokio::task::yield_now().await;
    }
    send_signal(&child, signal);
    FetcherOutput::from_child(child).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_point_leaves_no_corrupt_file_and_next_run_resumes() {
    let fixture = slow_fixture().await;
    let total = fixture.total_bytes();
    for eleventh in 1..=10 {
        let before = fixture.hub.bytes_sent();
        fetch_until(&fixture, (total * eleventh / 11).max(before), Signal::KILL).await;
        fixture.assert_no_corrupt_files();
        fixture.run("check", &[]).await.assert_exit_code(1);
    }
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
    // Each kill loses the bytes since the last record and the bytes in transit.
    fixture.assert_resent_at_most(10 * 40 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_half_resends_little() {
    let fixture = slow_fixture().await;
    fetch_until(&fixture, fixture.total_bytes() / 2, Signal::KILL).await;
    fixture.hub.reset_statistics();
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    fixture.assert_complete();
    let resent_bytes = fixture.hub.bytes_sent().saturating_sub(fixture.total_bytes() / 2);
    assert!(resent_bytes <= 40 * MIB, "{resent_bytes} bytes were sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn resumes_with_different_connection_count() {
    let fixture = slow_fixture().await;
    fetch_until(&fixture, fixture.total_bytes() / 2, Signal::KILL).await;
    fixture.hub.reset_statistics();
    fixture.fetch(&["--connections", "3"]).await.assert_exit_code(0);
    fixture.assert_complete();
    assert!(fixture.hub.bytes_sent() < fixture.total_bytes(), "existing bytes are not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigint_exits_130_and_sigterm_exits_143() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let fixture = slow_fixture().await;
        let output = fetch_until(&fixture, 10 * MIB, signal).await;
        let (_, hint) = output.assert_exit_code(code).error_and_hint();
        assert!(hint.contains("resume"), "{hint}");
        assert!(!fixture.folder().join(".model-fetcher.lock").exists(), "the lock is released");
        fixture.fetch(&[]).await.assert_exit_code(0);
        fixture.assert_complete();
        fixture.assert_resent_at_most(32 * MIB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_partial_file_is_fetched_again() {
    let fixture = slow_fixture().await;
    fetch_until(&fixture, fixture.total_bytes() / 2, Signal::KILL).await;
    let partial_folder = fixture.folder().join(".model-fetcher.partial");
    let staging_folder = std::fs::read_dir(partial_folder).unwrap().next().unwrap().unwrap().path();
    for entry in std::fs::read_dir(staging_folder).unwrap().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".mfpart")
            && entry.metadata().unwrap().len() > 10 * MIB
        {
            let file = std::fs::File::options().write(true).open(entry.path()).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"damage", 100).unwrap();
        }
    }
    fixture.hub.reset_statistics();
    let output = fixture.fetch(&[]).await;
    output.assert_exit_code(0);
    fixture.assert_resent_at_most(fixture.total_bytes());
    assert!(output.stderr.contains("is fetched again"), "{}", output.stderr);
    fixture.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn sequential_fetch_completes() {
    let fixture = slow_fixture().await;
    fixture.fetch(&["--sequential"]).await.assert_exit_code(0);
    fixture.assert_complete();
}
