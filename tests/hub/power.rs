//! Power failures: records the writes, syncs, and renames of real runs and checks every possible crash.
//!
//! A crash keeps synced changes and any subset of the others. After each crash the folder is either
//! incomplete according to `check` or correct, and every range that a resume would reuse is present. After
//! the last step the folder is complete. To prove that the checker detects errors, it must fail when a
//! required sync is ignored.

mod crash;

use std::path::Path;

use kubectl_dynamo_tests::hub::{HubSettings, Repository};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::support::{FetcherOutput, HubFixture, MODEL};
use crate::trace::{SyncTarget, Trace, TraceAction, TraceRecord, read_traces};
use crash::CrashChecker;

const TRACED_CALLS: &str =
    "trace=openat,write,pwrite64,fsync,fdatasync,rename,renameat2,unlink,unlinkat,mkdir,rmdir,ftruncate";

/// Starts a fetch under strace. If this is not possible, prints the reason and returns `None`.
fn start_traced_fetch(fixture: &HubFixture, trace: &Path) -> Option<Child> {
    let strace = match which::which("strace") {
        Ok(strace) => strace,
        Err(error) => {
            assert!(std::env::var("REQUIRE_ALL_TIERS").as_deref() != Ok("1"), "cannot run: strace: {error}");
            use std::io::Write;
            let _ = writeln!(std::io::stderr().lock(), "cannot run: strace: {error}");
            return None;
        }
    };
    let fetch = fixture.command("fetch", &["--connections", "2"]);
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-xx", "-y", "-s", "4000000", "-e", TRACED_CALLS, "-o"]).arg(trace);
    command.arg(fetch.as_std().get_program()).args(fetch.as_std().get_args());
    command.env_clear().envs(fetch.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    Some(command.spawn().unwrap())
}

/// Returns the process that `strace` traces.
fn traced_process(strace: &Child) -> Option<Pid> {
    let strace = strace.id()?;
    let children = std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

fn crash_checker<'a>(fixture: &'a HubFixture, trace: &'a Trace) -> CrashChecker<'a> {
    let repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
    CrashChecker::new(fixture, trace, &repository)
}

/// Returns whether a sync is required: of an unfinished file or a folder of final names, if no other sync
/// covers the same change.
fn is_required_sync(trace: &Trace, index: usize) -> bool {
    let sync = &trace.records[index];
    let TraceAction::Sync(_, path) = &sync.action else { return false };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_staging = path.components().any(|part| part.as_os_str() == ".model-fetcher.partial");
    let is_candidate = name.ends_with(".mfpart") || name == "receipt.json" || !is_staging;
    let is_covered_elsewhere = |change: &TraceRecord| {
        let mut records = trace.records.iter().enumerate();
        records.any(|(other, record)| other != index && record.covers(change))
    };
    is_candidate && trace.records.iter().any(|change| sync.covers(change) && !is_covered_elsewhere(change))
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cut_never_leaves_corrupt_folder_marked_complete() {
    let fixture = HubFixture::with_settings(HubSettings::default(), 40_000).await;
    let trace_path = fixture.served_folder.path().with_extension("trace");
    let Some(running) = start_traced_fetch(&fixture, &trace_path) else { return };
    FetcherOutput::from_child(running).await.assert_exit_code(0);
    fixture.assert_complete();
    let text = std::fs::read_to_string(&trace_path).unwrap();
    std::fs::remove_file(&trace_path).unwrap();
    let trace = read_traces([text.as_str()], fixture.volume.path());
    let mut crash_checker = crash_checker(&fixture, &trace);
    assert_eq!(crash_checker.find_violation(None), None);
    assert!(crash_checker.accepted_crashes > 0, "no crash image was complete, so the test checks nothing");
    let required: Vec<usize> =
        (0..trace.records.len()).filter(|index| is_required_sync(&trace, *index)).collect();
    // Every file except the empty one, the receipt, and at least one folder.
    assert!(required.len() > fixture.files.len(), "{required:?}");
    for index in required {
        let violation = crash_checker.find_violation(Some(index));
        assert!(violation.is_some(), "ignoring {:?} is not detected", trace.records[index].action);
    }
}

/// The first run is killed halfway and the second one resumes. A power failure may occur at any time in
/// either.
#[tokio::test(flavor = "multi_thread")]
async fn resume_after_power_cut_never_trusts_unsynced_ranges() {
    let settings = HubSettings { connection_rate: Some(12_000), ..HubSettings::default() };
    let fixture = HubFixture::with_settings(settings, 60_000).await;
    let trace_paths = ["first", "second"].map(|name| fixture.served_folder.path().with_extension(name));
    let Some(first) = start_traced_fetch(&fixture, &trace_paths[0]) else { return };
    while fixture.hub.bytes_sent() < fixture.total_bytes() / 2 || !has_durable_record(&fixture) {
        tokio::task::yield_now().await;
    }
    kill_process(traced_process(&first).expect("the fetcher is running"), Signal::KILL).unwrap();
    FetcherOutput::from_child(first).await;
    let Some(second) = start_traced_fetch(&fixture, &trace_paths[1]) else { return };
    FetcherOutput::from_child(second).await.assert_exit_code(0);
    fixture.assert_complete();
    let texts = trace_paths.each_ref().map(|path| std::fs::read_to_string(path).unwrap());
    trace_paths.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let trace = read_traces(texts.iter().map(String::as_str), fixture.volume.path());
    let mut crash_checker = crash_checker(&fixture, &trace);
    assert_eq!(crash_checker.find_violation(None), None);
    assert!(
        crash_checker.accepted_crashes > 0 && crash_checker.resumable_ranges > 0,
        "no crash image was complete or resumed"
    );
    let is_content_sync = |index: &usize| {
        let is_first_covering = |sync: &TraceRecord| {
            let earlier = &trace.records[..*index];
            let is_covered_earlier =
                |change: &TraceRecord| earlier.iter().any(|record| record.covers(change));
            trace.records.iter().any(|change| sync.covers(change) && !is_covered_earlier(change))
        };
        let record = &trace.records[*index];
        matches!(&record.action, TraceAction::Sync(SyncTarget::Content { .. }, path) if path.extension().is_some_and(|kind| kind == "mfpart"))
            && is_first_covering(record)
    };
    let syncs: Vec<usize> = (0..trace.records.len()).filter(is_content_sync).collect();
    let (required, redundant): (Vec<usize>, Vec<usize>) =
        syncs.into_iter().partition(|index| is_required_sync(&trace, *index));
    assert!(!redundant.is_empty() && !required.is_empty(), "{redundant:?} {required:?}");
    // An early sync may not have been recorded yet, so detecting one per run is enough.
    assert!(
        redundant.iter().any(|index| crash_checker.find_violation(Some(*index)).is_some()),
        "ignoring early syncs is not detected"
    );
    for index in required {
        assert!(crash_checker.find_violation(Some(index)).is_some(), "ignoring sync {index} is not detected");
    }
}

fn has_durable_record(fixture: &HubFixture) -> bool {
    let holders = std::fs::read_dir(fixture.folder().join(".model-fetcher.partial")).into_iter().flatten();
    holders.flatten().any(|holder| holder.path().join("durable.json").exists())
}
