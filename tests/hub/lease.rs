//! Several fetchers on one folder.

use kubectl_dynamo_tests::hub::Settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::support::{Ended, Scene};

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
