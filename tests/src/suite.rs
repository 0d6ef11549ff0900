//! Runs the cases of one tier in parallel, with names and output like `cargo test`. A tier that cannot run
//! prints the reason in one line; with `REQUIRE_ALL_TIERS=1` this is a failure.

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use crate::Outcome;

/// One case. Its name is its path, which states a fact. It receives the state that the tier shares.
pub struct Case<C> {
    pub name: &'static str,
    pub run: fn(Arc<C>) -> BoxFuture<'static, Outcome>,
}

/// Lists the cases at these paths. Each is an `async fn(Arc<Shared>) -> Outcome`.
#[macro_export]
macro_rules! cases {
    ($($($path:ident)::+),* $(,)?) => {
        vec![$($crate::suite::Case {
            name: stringify!($($path)::+),
            run: |shared| Box::pin($($path)::+(shared)),
        }),*]
    };
}

/// Fails the case with a text.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}

/// Runs the tier `name` unless `missing` contains a reason. `start` creates the shared state once. It runs on
/// the main thread before any other thread exists, so it may enter a namespace.
pub fn run<C: Send + Sync + 'static>(
    name: &str,
    missing: Option<String>,
    cases: Vec<Case<C>>,
    start: impl FnOnce() -> Outcome<(Runtime, C)>,
) -> ExitCode {
    exit_code(run_groups(name, missing, vec![cases], start))
}

/// Runs a part of a tier and returns whether all required cases passed. A group of cases starts after all
/// cases of the previous group have ended.
pub fn run_groups<C: Send + Sync + 'static>(
    name: &str,
    missing: Option<String>,
    groups: Vec<Vec<Case<C>>>,
    start: impl FnOnce() -> Outcome<(Runtime, C)>,
) -> bool {
    let mut arguments = Arguments::from_args();
    // Cases mostly wait for pods and use little CPU.
    arguments.test_threads.get_or_insert(6);
    if let Some(reason) = missing {
        let required = std::env::var_os("REQUIRE_ALL_TIERS").is_some_and(|value| value == "1");
        print_line(&format!("{name} tier cannot run: {reason}"));
        return !required;
    }
    let is_selected_case = |case: &Case<C>| is_selected(case, &arguments);
    if arguments.list || !groups.iter().flatten().any(is_selected_case) {
        let trials = groups.iter().flatten().map(|case| Trial::test(case_name(case), || Ok(()))).collect();
        return !libtest_mimic::run(&arguments, trials).has_failed();
    }
    let (runtime, shared) = match start() {
        Ok((runtime, shared)) => (Arc::new(runtime), Arc::new(shared)),
        Err(error) => {
            print_line(&format!("{name} tier: {error}"));
            return false;
        }
    };
    let mut passed = true;
    for cases in groups.into_iter().filter(|cases| cases.iter().any(is_selected_case)) {
        let trials = cases.into_iter().map(|case| trial(case, &runtime, &shared)).collect();
        passed &= !libtest_mimic::run(&arguments, trials).has_failed();
    }
    // The shared state is dropped while the runtime is still running, because its cleanup needs it.
    drop(shared);
    passed
}

/// Returns the exit code of a test program.
pub fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns whether the arguments select the case. No cluster is started for zero cases.
fn is_selected<C>(case: &Case<C>, arguments: &Arguments) -> bool {
    let name = case_name(case);
    let matches = |filter: &String| if arguments.exact { name == *filter } else { name.contains(filter) };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

/// Longer than any case takes on a machine with ten times the load; a case that runs longer is stuck.
const CASE_TIMEOUT: Duration = Duration::from_secs(900);

/// What the second attempt's line in the log starts with; `tests/run` lists these lines at its end.
const FLAKY: &str = "flaky:";

/// A case that fails runs once more, because a cluster on a loaded machine can be late for any case. A case that
/// passes only then is reported as flaky, never in silence: it is to be fixed, although it does not fail the run.
fn trial<C: Send + Sync + 'static>(case: Case<C>, runtime: &Arc<Runtime>, shared: &Arc<C>) -> Trial {
    let (runtime, shared) = (runtime.clone(), shared.clone());
    let name = case_name(&case);
    Trial::test(name.clone(), move || {
        let attempt = || attempt(&case, &runtime, &shared);
        let Err(first) = attempt() else { return Ok(()) };
        print_line(&format!("{name} failed and runs again: {first}"));
        attempt()?;
        print_line(&format!("{FLAKY} {name}: {first}"));
        Ok(())
    })
}

/// Runs the case once. A panic, such as that of a snapshot that differs, is a failure like any other.
fn attempt<C: Send + Sync + 'static>(
    case: &Case<C>,
    runtime: &Runtime,
    shared: &Arc<C>,
) -> Result<(), String> {
    let run = async { tokio::time::timeout(CASE_TIMEOUT, (case.run)(shared.clone())).await };
    match std::panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run))) {
        Ok(Ok(outcome)) => outcome.map_err(|error| error.to_string()),
        Ok(Err(_)) => Err(format!("timed out after {} s", CASE_TIMEOUT.as_secs())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("the case panicked").to_owned())
        }
    }
}

/// `stringify!` puts spaces around the colons of a path.
fn case_name<C>(case: &Case<C>) -> String {
    case.name.replace(' ', "")
}

fn print_line(line: &str) {
    // If stderr is closed, the exit code still reports the result.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
