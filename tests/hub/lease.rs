//! Several fetchers on one folder.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use kubectl_dynamo_tests::hub::{Repository, Settings};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::support::{Ended, MODEL, Scene, write_files};

const MIB: u64 = 1 << 20;

async fn slow_scene() -> Scene {
    let settings = Settings { connection_rate: Some(24 * MIB), ..Settings::default() };
    Scene::with(settings, 40 * MIB as usize).await
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("the fetcher runs");
    kill_process(pid, signal).unwrap();
}

async fn started(scene: &Scene, arguments: &[&str]) -> Child {
    let child = scene.command("fetch", arguments).spawn().unwrap();
    while scene.hub.bytes_sent() < 4 * MIB {
        tokio::task::yield_now().await;
    }
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn four_on_one_folder_move_one_copy() {
    let scene = slow_scene().await;
    let children: Vec<Child> = (0..4).map(|_| scene.command("fetch", &[]).spawn().unwrap()).collect();
    for child in children {
        Ended::of(child).await.assert_code(0);
    }
    scene.assert_complete();
    assert_eq!(scene.hub.bytes_sent(), scene.total_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_waits_goes_on_when_the_holder_is_killed() {
    let scene = slow_scene().await;
    let holder = started(&scene, &[]).await;
    let waiter = scene.command("fetch", &[]).spawn().unwrap();
    signal(&holder, Signal::KILL);
    Ended::of(holder).await;
    let ended = Ended::of(waiter).await;
    ended.assert_code(0);
    scene.assert_complete();
    scene.assert_sent_again_at_most(40 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_stopped_past_its_time_spoils_nothing_when_it_wakes() {
    let scene = slow_scene().await;
    let holder = started(&scene, &["--lease-timeout", "1s"]).await;
    signal(&holder, Signal::STOP);
    let second = scene.fetch(&["--lease-timeout", "1s"]).await;
    second.assert_code(0);
    scene.assert_complete();
    signal(&holder, Signal::CONT);
    let woken = Ended::of(holder).await;
    let (error, _) = woken.assert_code(15).failure();
    assert!(error.contains("taken over"), "{error}");
    scene.assert_complete();
    scene.assert_sent_again_at_most(64 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_too_long_is_code_15_and_names_the_holder() {
    let scene = slow_scene().await;
    let holder = started(&scene, &[]).await;
    let ended = scene.fetch(&["--lock-timeout", "300ms"]).await;
    let (error, hint) = ended.assert_code(15).failure();
    let process = format!("process {}", holder.id().unwrap());
    assert!(error.contains(&process) && hint.contains("--lock-timeout"), "{error} {hint}");
    assert!(ended.stderr.contains("\"reason\":\"lock\""), "{}", ended.stderr);
    Ended::of(holder).await.assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_wants_another_revision_does_not_take_this_one_for_it() {
    let scene = slow_scene().await;
    let holder = started(&scene, &[]).await;
    let ended = scene.fetch(&["--revision", "v2"]).await;
    let (error, _) = ended.assert_code(1).failure();
    assert!(error.contains("v2"), "{error}");
    Ended::of(holder).await.assert_code(0);
    scene.assert_complete();
    scene.assert_sent_again_at_most(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_waits_to_update_takes_its_turn() {
    let scene = slow_scene().await;
    let mut repository = Repository::from_folder(MODEL, scene.served.path()).unwrap();
    let changed = tempfile::tempdir().unwrap();
    let mut files = scene.files.clone();
    files.insert("config.json".into(), b"{\"model_type\": \"tiny\", \"version\": 2}\n".to_vec());
    write_files(changed.path(), &files);
    let second = repository.add_revision("v2", changed.path()).unwrap();
    scene.hub.publish(repository);
    let holder = started(&scene, &[]).await;
    let ended = scene.fetch(&["--revision", "v2", "--update"]).await;
    Ended::of(holder).await.assert_code(0);
    let fetched = ended.assert_code(0).bytes_fetched();
    assert_eq!(fetched, files["config.json"].len() as u64, "what both revisions share is not sent again");
    assert_eq!(scene.receipt().commit, second);
    let check = scene.run("check", &["--revision", "v2"]).await;
    check.assert_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_changes_nothing() {
    let scene = slow_scene().await;
    let holder = started(&scene, &["--lease-timeout", "2s"]).await;
    let lock = scene.folder().join(".model-fetcher.lock");
    let waiter = scene.command("fetch", &["--lease-timeout", "2s"]).spawn().unwrap();
    let year = Duration::from_secs(31_536_000);
    let jumps = [SystemTime::now() + year, SystemTime::UNIX_EPOCH, SystemTime::now() - year];
    let mut jump = jumps.iter().cycle();
    // The lock's time is whatever a clock says that jumps, for as long as there is a lock.
    while let Ok(file) = std::fs::File::options().write(true).open(&lock) {
        file.set_modified(*jump.next().unwrap()).unwrap();
        tokio::task::yield_now().await;
    }
    Ended::of(holder).await.assert_code(0);
    assert_eq!(Ended::of(waiter).await.assert_code(0).bytes_fetched(), 0, "the lock was not taken over");
    scene.assert_complete();
    scene.assert_sent_again_at_most(0);
}

/// A pod of another machine: its clocks started at another time.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_between_pods_change_nothing() {
    let probe =
        std::process::Command::new("unshare").args(["--time", "--monotonic", "1000000", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var("REQUIRE_ALL_TIERS").as_deref() != Ok("1"), "cannot run: no time namespace");
        return;
    }
    let scene = slow_scene().await;
    let holder = started(&scene, &["--lease-timeout", "2s"]).await;
    let fetch = scene.command("fetch", &["--lease-timeout", "2s"]);
    let mut elsewhere = tokio::process::Command::new("unshare");
    elsewhere.args(["--time", "--monotonic", "1000000", "--boottime", "1000000"]);
    elsewhere.arg(fetch.as_std().get_program()).args(fetch.as_std().get_args());
    elsewhere.env_clear().envs(fetch.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    elsewhere.env("PATH", "/usr/bin:/bin").stdout(Stdio::piped()).stderr(Stdio::piped());
    let waiter = Ended::of(elsewhere.spawn().unwrap()).await;
    assert_eq!(waiter.assert_code(0).bytes_fetched(), 0);
    Ended::of(holder).await.assert_code(0);
    scene.assert_complete();
    scene.assert_sent_again_at_most(0);
}

/// Four on one folder: the one that holds the lock is stopped past its time, the next one is killed.
#[tokio::test(flavor = "multi_thread")]
async fn four_of_which_one_is_killed_and_one_is_stopped() {
    const LEASE: [&str; 2] = ["--lease-timeout", "1s"];
    let scene = slow_scene().await;
    let stopped = started(&scene, &LEASE).await;
    let mut others: Vec<Child> = (0..3).map(|_| scene.command("fetch", &LEASE).spawn().unwrap()).collect();
    let first = holder_of(&scene, None).await;
    assert_eq!(Some(first), stopped.id());
    signal(&stopped, Signal::STOP);
    let second = holder_of(&scene, Some(first)).await;
    let killed = others.iter().position(|child| child.id() == Some(second)).expect("one of ours took over");
    let killed = others.remove(killed);
    signal(&killed, Signal::KILL);
    Ended::of(killed).await;
    for waiter in others {
        Ended::of(waiter).await.assert_code(0);
    }
    scene.assert_complete();
    signal(&stopped, Signal::CONT);
    Ended::of(stopped).await.assert_code(15);
    scene.assert_complete();
    scene.assert_sent_again_at_most(2 * 64 * MIB);
}

/// The process that holds the lock, once it is another one than `earlier`.
async fn holder_of(scene: &Scene, earlier: Option<u32>) -> u32 {
    loop {
        let record = std::fs::read(scene.folder().join(".model-fetcher.lock")).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&record).unwrap_or_default();
        let process = record["process"].as_u64().map(|process| process as u32);
        if let Some(process) = process.filter(|process| Some(*process) != earlier) {
            return process;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_left_by_a_pod_that_is_gone_is_taken_over() {
    let scene = Scene::new().await;
    std::fs::create_dir_all(scene.folder()).unwrap();
    let left = r#"{"token":"0123","host":"pod-that-was","process":1,"boot":"another","device":1,"beat":7}"#;
    std::fs::write(scene.folder().join(".model-fetcher.lock"), left).unwrap();
    scene.fetch(&["--lease-timeout", "500ms"]).await.assert_code(0);
    scene.assert_complete();
}
