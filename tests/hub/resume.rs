//! Ends of the process at any moment, and what the next one makes of it.

use kubectl_dynamo_tests::hub::Settings;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::support::{Ended, Scene};

const MIB: u64 = 1 << 20;

async fn slow_scene() -> Scene {
    let settings = Settings { connection_rate: Some(24 * MIB), ..Settings::default() };
    Scene::with(settings, 48 * MIB as usize).await
}

fn send(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| Pid::from_raw(id as i32)).expect("the fetcher runs");
    kill_process(pid, signal).unwrap();
}

/// Whether the fetcher has noted what it wrote.
fn has_record(scene: &Scene) -> bool {
    let holders = std::fs::read_dir(scene.folder().join(".model-fetcher.partial")).into_iter().flatten();
    holders.flatten().any(|holder| holder.path().join("written.json").exists())
}

/// Starts a fetch and ends it by `signal` once the hub has sent `bytes`.
async fn fetch_until(scene: &Scene, bytes: u64, signal: Signal) -> Ended {
    let child = scene.command("fetch", &[]).spawn().unwrap();
    while scene.hub.bytes_sent() < bytes || !has_record(scene) {
        tokio::task::yield_now().await;
    }
    send(&child, signal);
    Ended::of(child).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_point_leaves_nothing_wrong_and_the_next_run_goes_on() {
    let scene = slow_scene().await;
    let total = scene.total_bytes();
    for eleventh in 1..=10 {
        let before = scene.hub.bytes_sent();
        fetch_until(&scene, (total * eleventh / 11).max(before), Signal::KILL).await;
        scene.assert_nothing_wrong();
        scene.run("check", &[]).await.assert_code(1);
    }
    scene.fetch(&[]).await.assert_code(0);
    scene.assert_complete();
    // Each kill loses what came since the last record and what was on the way.
    scene.assert_sent_again_at_most(10 * 40 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_half_costs_little_again() {
    let scene = slow_scene().await;
    fetch_until(&scene, scene.total_bytes() / 2, Signal::KILL).await;
    scene.hub.forget_requests();
    let ended = scene.fetch(&[]).await;
    ended.assert_code(0);
    scene.assert_complete();
    let again = scene.hub.bytes_sent().saturating_sub(scene.total_bytes() / 2);
    assert!(again <= 40 * MIB, "{again} bytes again");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_connections_goes_on_too() {
    let scene = slow_scene().await;
    fetch_until(&scene, scene.total_bytes() / 2, Signal::KILL).await;
    scene.hub.forget_requests();
    scene.fetch(&["--connections", "3"]).await.assert_code(0);
    scene.assert_complete();
    assert!(scene.hub.bytes_sent() < scene.total_bytes(), "what was there is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_it_with_their_codes() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let scene = slow_scene().await;
        let ended = fetch_until(&scene, 10 * MIB, signal).await;
        let (_, hint) = ended.assert_code(code).failure();
        assert!(hint.contains("continues"), "{hint}");
        assert!(!scene.folder().join(".model-fetcher.lock").exists(), "the lock is given back");
        scene.fetch(&[]).await.assert_code(0);
        scene.assert_complete();
        scene.assert_sent_again_at_most(32 * MIB);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_partial_file_is_found_by_its_hash() {
    let scene = slow_scene().await;
    fetch_until(&scene, scene.total_bytes() / 2, Signal::KILL).await;
    let work = scene.folder().join(".model-fetcher.partial");
    let holder = std::fs::read_dir(work).unwrap().next().unwrap().unwrap().path();
    for entry in std::fs::read_dir(holder).unwrap().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".mfpart")
            && entry.metadata().unwrap().len() > 10 * MIB
        {
            let file = std::fs::File::options().write(true).open(entry.path()).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"damage", 100).unwrap();
        }
    }
    scene.hub.forget_requests();
    let ended = scene.fetch(&[]).await;
    ended.assert_code(0);
    scene.assert_sent_again_at_most(scene.total_bytes());
    assert!(ended.stderr.contains("is fetched again"), "{}", ended.stderr);
    scene.assert_complete();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_writer_a_file_works_in_order() {
    let scene = slow_scene().await;
    scene.fetch(&["--sequential"]).await.assert_code(0);
    scene.assert_complete();
}
