//! Several fetchers on one folder.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use kubectl_dynamo_tests::hub::{HubSettings, Repository};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::support::{FetcherOutput, HubFixture, MODEL, write_files};

const MIB: u64 = 1 << 20;

async fn slow_fixture() -> HubFixture {
    let settings = HubSettings { connection_rate: Some(24 * MIB), ..HubSettings::default() };
    HubFixture::with_settings(settings, 40 * MIB as usize).await
}

fn send_signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("the fetcher is running");
    kill_process(pid, signal).unwrap();
}

async fn start_fetch(fixture: &HubFixture, arguments: &[&str]) -> Child {
    let child = fixture.command("fetch", arguments).spawn().unwrap();
    while fixture.hub.bytes_sent() < 4 * MIB {
        tokio::task::yield_now().await;
    }
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn four_concurrent_fetchers_transfer_one_copy() {
    let fixture = slow_fixture().await;
    let children: Vec<Child> = (0..4).map(|_| fixture.command("fetch", &[]).spawn().unwrap()).collect();
    for child in children {
        FetcherOutput::from_child(child).await.assert_exit_code(0);
    }
    fixture.assert_complete();
    assert_eq!(fixture.hub.bytes_sent(), fixture.total_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn waiter_continues_after_holder_is_killed() {
    let fixture = slow_fixture().await;
    let holder = start_fetch(&fixture, &[]).await;
    let waiter = fixture.command("fetch", &[]).spawn().unwrap();
    send_signal(&holder, Signal::KILL);
    FetcherOutput::from_child(holder).await;
    let output = FetcherOutput::from_child(waiter).await;
    output.assert_exit_code(0);
    fixture.assert_complete();
    fixture.assert_resent_at_most(40 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn resumed_holder_cannot_corrupt_completed_folder() {
    let fixture = slow_fixture().await;
    let holder = start_fetch(&fixture, &["--lease-timeout", "1s"]).await;
    send_signal(&holder, Signal::STOP);
    let second = fixture.fetch(&["--lease-timeout", "1s"]).await;
    second.assert_exit_code(0);
    fixture.assert_complete();
    send_signal(&holder, Signal::CONT);
    let resumed = FetcherOutput::from_child(holder).await;
    let (error, _) = resumed.assert_exit_code(15).error_and_hint();
    assert!(error.contains("taken over"), "{error}");
    fixture.assert_complete();
    fixture.assert_resent_at_most(64 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_timeout_exits_15_and_names_holder() {
    let fixture = slow_fixture().await;
    let holder = start_fetch(&fixture, &[]).await;
    let output = fixture.fetch(&["--lock-timeout", "300ms"]).await;
    let (error, hint) = output.assert_exit_code(15).error_and_hint();
    let process = format!("process {}", holder.id().unwrap());
    assert!(error.contains(&process) && hint.contains("--lock-timeout"), "{error} {hint}");
    assert!(output.stderr.contains("\"reason\":\"lock\""), "{}", output.stderr);
    FetcherOutput::from_child(holder).await.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiter_for_other_revision_rejects_fetched_one() {
    let fixture = slow_fixture().await;
    let holder = start_fetch(&fixture, &[]).await;
    let output = fixture.fetch(&["--revision", "v2"]).await;
    let (error, _) = output.assert_exit_code(1).error_and_hint();
    assert!(error.contains("v2"), "{error}");
    FetcherOutput::from_child(holder).await.assert_exit_code(0);
    fixture.assert_complete();
    fixture.assert_resent_at_most(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_update_runs_after_holder() {
    let fixture = slow_fixture().await;
    let mut repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
    let changed = tempfile::tempdir().unwrap();
    let mut files = fixture.files.clone();
    files.insert("config.json".into(), b"{\"model_type\": \"tiny\", \"version\": 2}\n".to_vec());
    write_files(changed.path(), &files);
    let second = repository.add_revision("v2", changed.path()).unwrap();
    fixture.hub.publish(repository);
    let holder = start_fetch(&fixture, &[]).await;
    let output = fixture.fetch(&["--revision", "v2", "--update"]).await;
    FetcherOutput::from_child(holder).await.assert_exit_code(0);
    let fetched = output.assert_exit_code(0).bytes_fetched();
    assert_eq!(
        fetched,
        files["config.json"].len() as u64,
        "files that both revisions share are not sent again"
    );
    assert_eq!(fixture.receipt().commit, second);
    let check = fixture.run("check", &["--revision", "v2"]).await;
    check.assert_exit_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_jumps_do_not_expire_lock() {
    let fixture = slow_fixture().await;
    let holder = start_fetch(&fixture, &["--lease-timeout", "2s"]).await;
    let lock = fixture.folder().join(".model-fetcher.lock");
    let waiter = fixture.command("fetch", &["--lease-timeout", "2s"]).spawn().unwrap();
    let year = Duration::from_secs(31_536_000);
    let jumps = [SystemTime::now() + year, SystemTime::UNIX_EPOCH, SystemTime::now() - year];
    let mut jump = jumps.iter().cycle();
    // Sets the lock's modification time to the values of a jumping clock while the lock exists.
    while let Ok(file) = std::fs::File::options().write(true).open(&lock) {
        file.set_modified(*jump.next().unwrap()).unwrap();
        tokio::task::yield_now().await;
    }
    FetcherOutput::from_child(holder).await.assert_exit_code(0);
    assert_eq!(
        FetcherOutput::from_child(waiter).await.assert_exit_code(0).bytes_fetched(),
        0,
        "the lock is not taken over"
    );
    fixture.assert_complete();
    fixture.assert_resent_at_most(0);
}

/// Simulates a pod on another machine whose clocks started at another time.
#[tokio::test(flavor = "multi_thread")]
async fn clock_skew_between_pods_does_not_expire_lock() {
    let probe =
        std::process::Command::new("unshare").args(["--time", "--monotonic", "1000000", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var("REQUIRE_ALL_TIERS").as_deref() != Ok("1"), "cannot run: no time namespace");
        return;
    }
    let fixture = slow_fixture().await;
    let holder = start_fetch(&fixture, &["--lease-timeout", "2s"]).await;
    let fetch = fixture.command("fetch", &["--lease-timeout", "2s"]);
    let mut other_pod = tokio::process::Command::new("unshare");
    other_pod.args(["--time", "--monotonic", "1000000", "--boottime", "1000000"]);
    other_pod.arg(fetch.as_std().get_program()).args(fetch.as_std().get_args());
    other_pod.env_clear().envs(fetch.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    other_pod.env("PATH", "/usr/bin:/bin").stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiter = FetcherOutput::from_child(other_pod.spawn().unwrap()).await;
    assert_eq!(waiter.assert_exit_code(0).bytes_fetched(), 0);
    FetcherOutput::from_child(holder).await.assert_exit_code(0);
    fixture.assert_complete();
    fixture.assert_resent_at_most(0);
}

/// Four fetchers on one folder: the lock holder is stopped past its timeout, and the next holder is killed.
#[tokio::test(flavor = "multi_thread")]
async fn four_fetchers_complete_after_one_kill_and_one_stop() {
    const LEASE_ARGUMENTS: [&str; 2] = ["--lease-timeout", "1s"];
    let fixture = slow_fixture().await;
    let stopped = start_fetch(&fixture, &LEASE_ARGUMENTS).await;
    let mut others: Vec<Child> =
        (0..3).map(|_| fixture.command("fetch", &LEASE_ARGUMENTS).spawn().unwrap()).collect();
    let first = wait_for_holder(&fixture, None).await;
    assert_eq!(Some(first), stopped.id());
    send_signal(&stopped, Signal::STOP);
    let second = wait_for_holder(&fixture, Some(first)).await;
    let killed = others
        .iter()
        .position(|child| child.id() == Some(second))
        .expect("one of the started fetchers took over");
    let killed = others.remove(killed);
    send_signal(&killed, Signal::KILL);
    FetcherOutput::from_child(killed).await;
    for waiter in others {
        FetcherOutput::from_child(waiter).await.assert_exit_code(0);
    }
    fixture.assert_complete();
    send_signal(&stopped, Signal::CONT);
    FetcherOutput::from_child(stopped).await.assert_exit_code(15);
    fixture.assert_complete();
    fixture.assert_resent_at_most(2 * 64 * MIB);
}

/// Waits until a process other than `earlier` holds the lock and returns its ID.
async fn wait_for_holder(fixture: &HubFixture, previous: Option<u32>) -> u32 {
    loop {
        let record = std::fs::read(fixture.folder().join(".model-fetcher.lock")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        let process = record["process"].as_u64().map(|process| process as u32);
        if let Some(process) = process.filter(|process| Some(*process) != previous) {
            return process;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_of_deleted_pod_is_acquired() {
    let fixture = HubFixture::new().await;
    std::fs::create_dir_all(fixture.folder()).unwrap();
    let lock_json =
        r#"{"token":"0123","host":"pod-that-was","process":1,"boot":"another","device":1,"beat":7}"#;
    std::fs::write(fixture.folder().join(".model-fetcher.lock"), lock_json).unwrap();
    fixture.fetch(&["--lease-timeout", "500ms"]).await.assert_exit_code(0);
    fixture.assert_complete();
}
