//! Power cuts: the writes, syncs and renames of real runs are recorded, and every crash they allow is looked at.
//!
//! A crash keeps what a sync covered and any subset of the rest. After each one the folder is either incomplete by our
//! own check or right, and what a resume would believe is there. After the last one, it is complete. To show that the
//! look is sharp, it has to fail when a sync of the record is left out.

mod crash;

use std::path::Path;

use kubectl_dynamo_tests::hub::{Repository, Settings};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::support::{Ended, MODEL, Scene};
use crate::trace::{Action, Record, Target, Trace, read_traces};
use crash::Autopsy;

const CALLS: &str =
    "trace=openat,write,pwrite64,fsync,fdatasync,rename,renameat2,unlink,unlinkat,mkdir,rmdir,ftruncate";

/// A fetch under strace, or the reason why there is none on stderr.
fn traced(scene: &Scene, trace: &Path) -> Option<Child> {
    let strace = match which::which("strace") {
        Ok(strace) => strace,
        Err(error) => {
            assert!(std::env::var("REQUIRE_ALL_TIERS").as_deref() != Ok("1"), "cannot run: strace: {error}");
            use std::io::Write;
            let _ = writeln!(std::io::stderr().lock(), "cannot run: strace: {error}");
            return None;
        }
    };
    let fetch = scene.command("fetch", &["--connections", "2"]);
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-xx", "-y", "-s", "4000000", "-e", CALLS, "-o"]).arg(trace);
    command.arg(fetch.as_std().get_program()).args(fetch.as_std().get_args());
    command.env_clear().envs(fetch.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    Some(command.spawn().unwrap())
}

/// The process that `strace` watches.
fn watched(strace: &Child) -> Option<Pid> {
    let strace = strace.id()?;
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

fn autopsy<'a>(scene: &'a Scene, trace: &'a Trace) -> Autopsy<'a> {
    let repository = Repository::from_folder(MODEL, scene.served.path()).unwrap();
    Autopsy::new(scene, trace, &repository)
}

/// Syncs of files on their way and of folders of final names. Where one alone covers a change, nothing stands in for it.
fn is_needed(trace: &Trace, index: usize) -> bool {
    let sync = &trace.records[index];
    let Action::Sync(_, place) = &sync.action else { return false };
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let in_work = place.components().any(|part| part.as_os_str() == ".model-fetcher.partial");
    let counts = name.ends_with(".mfpart") || name == "receipt.json" || !in_work;
    let others = |change: &Record| {
        let mut records = trace.records.iter().enumerate();
        records.any(|(other, record)| other != index && record.covers(change))
    };
    counts && trace.records.iter().any(|change| sync.covers(change) && !others(change))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_power_cut_leaves_a_wrong_folder_that_looks_complete() {
    let scene = Scene::with(Settings::default(), 40_000).await;
    let place = scene.served.path().with_extension("trace");
    let Some(running) = traced(&scene, &place) else { return };
    Ended::of(running).await.assert_code(0);
    scene.assert_complete();
    let text = std::fs::read_to_string(&place).unwrap();
    std::fs::remove_file(&place).unwrap();
    let trace = read_traces([text.as_str()], scene.volume.path());
    let mut autopsy = autopsy(&scene, &trace);
    assert_eq!(autopsy.violation(None), None);
    assert!(autopsy.accepted > 0, "no crash was accepted: the look saw nothing");
    let needed: Vec<usize> = (0..trace.records.len()).filter(|index| is_needed(&trace, *index)).collect();
    // Each file but the empty one, the receipt, and at least one folder.
    assert!(needed.len() > scene.files.len(), "{needed:?}");
    for index in needed {
        let noticed = autopsy.violation(Some(index));
        assert!(noticed.is_some(), "{:?} could be left out unnoticed", trace.records[index].action);
    }
}

/// The first run is killed at half, the second one goes on; a power cut may come at any moment of either.
#[tokio::test(flavor = "multi_thread")]
async fn no_power_cut_of_a_run_or_of_the_one_that_resumes_it_is_believed_too_much() {
    let settings = Settings { connection_rate: Some(12_000), ..Settings::default() };
    let scene = Scene::with(settings, 60_000).await;
    let places = ["first", "second"].map(|name| scene.served.path().with_extension(name));
    let Some(first) = traced(&scene, &places[0]) else { return };
    while scene.hub.bytes_sent() < scene.total_bytes() / 2 || !has_durable_record(&scene) {
        tokio::task::yield_now().await;
    }
    kill_process(watched(&first).expect("the fetcher runs"), Signal::KILL).unwrap();
    Ended::of(first).await;
    let Some(second) = traced(&scene, &places[1]) else { return };
    Ended::of(second).await.assert_code(0);
    scene.assert_complete();
    let texts = places.each_ref().map(|place| std::fs::read_to_string(place).unwrap());
    places.iter().for_each(|place| std::fs::remove_file(place).unwrap());
    let trace = read_traces(texts.iter().map(String::as_str), scene.volume.path());
    let mut autopsy = autopsy(&scene, &trace);
    assert_eq!(autopsy.violation(None), None);
    assert!(autopsy.accepted > 0 && autopsy.believed > 0, "no crash was accepted or resumed from");
    let content = |index: &usize| {
        let first_of_some = |sync: &Record| {
            let earlier = &trace.records[..*index];
            let covered_before = |change: &Record| earlier.iter().any(|record| record.covers(change));
            trace.records.iter().any(|change| sync.covers(change) && !covered_before(change))
        };
        let record = &trace.records[*index];
        matches!(&record.action, Action::Sync(Target::Content { .. }, place) if place.extension().is_some_and(|kind| kind == "mfpart"))
            && first_of_some(record)
    };
    let syncs: Vec<usize> = (0..trace.records.len()).filter(content).collect();
    let (last, early): (Vec<usize>, Vec<usize>) =
        syncs.into_iter().partition(|index| is_needed(&trace, *index));
    assert!(!early.is_empty() && !last.is_empty(), "{early:?} {last:?}");
    // What an early sync covers may not have been recorded yet, so one that is missed is enough of each run.
    assert!(
        early.iter().any(|index| autopsy.violation(Some(*index)).is_some()),
        "early syncs could be left out"
    );
    for index in last {
        assert!(autopsy.violation(Some(index)).is_some(), "sync {index} could be left out unnoticed");
    }
}

fn has_durable_record(scene: &Scene) -> bool {
    let holders = std::fs::read_dir(scene.folder().join(".model-fetcher.partial")).into_iter().flatten();
    holders.flatten().any(|holder| holder.path().join("durable.json").exists())
}
