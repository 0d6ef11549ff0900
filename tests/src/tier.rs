//! Runs the cases of one tier side by side, with names and output as `cargo test` gives them.
//! A tier that cannot run here says why in one line; with `REQUIRE_ALL_TIERS=1` that is a failure.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use crate::Outcome;

/// One case: its name is its path, a fact; it gets what the whole tier shares.
pub struct Case<C> {
    pub name: &'static str,
    pub run: fn(Arc<C>) -> BoxFuture<'static, Outcome>,
}

/// The cases at these paths; each is an `async fn(Arc<Shared>) -> Outcome`.
#[macro_export]
macro_rules! cases {
    ($($($path:ident)::+),* $(,)?) => {
        vec![$($crate::tier::Case {
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

/// Runs the tier `name`: unless `missing` names a reason, `start` brings up what the cases share, once.
/// `start` runs on the main thread before any other thread exists, so it may enter a namespace.
pub fn run<C: Send + Sync + 'static>(
    name: &str,
    missing: Option<String>,
    cases: Vec<Case<C>>,
    start: impl FnOnce() -> Outcome<(Runtime, C)>,
) -> ExitCode {
    exit_code(passes(name, missing, vec![cases], start))
}

/// The same, as a part of a tier: whether everything that had to pass has passed. One group of cases begins when all of
/// the group before have ended.
pub fn passes<C: Send + Sync + 'static>(
    name: &str,
    missing: Option<String>,
    groups: Vec<Vec<Case<C>>>,
    start: impl FnOnce() -> Outcome<(Runtime, C)>,
) -> bool {
    let mut arguments = Arguments::from_args();
    // Cases wait for pods far more than they compute.
    arguments.test_threads.get_or_insert(6);
    if let Some(reason) = missing {
        let required = std::env::var_os("REQUIRE_ALL_TIERS").is_some_and(|value| value == "1");
        report(&format!("{name} tier cannot run: {reason}"));
        return !required;
    }
    let is_asked_for = |case: &Case<C>| is_asked_for(case, &arguments);
    if arguments.list || !groups.iter().flatten().any(is_asked_for) {
        let trials = groups.iter().flatten().map(|case| Trial::test(fact(case), || Ok(()))).collect();
        return !libtest_mimic::run(&arguments, trials).has_failed();
    }
    let (runtime, shared) = match start() {
        Ok((runtime, shared)) => (Arc::new(runtime), Arc::new(shared)),
        Err(error) => {
            report(&format!("{name} tier: {error}"));
            return false;
        }
    };
    let mut passed = true;
    for cases in groups.into_iter().filter(|cases| cases.iter().any(is_asked_for)) {
        let trials = cases.into_iter().map(|case| trial(case, &runtime, &shared)).collect();
        passed &= !libtest_mimic::run(&arguments, trials).has_failed();
    }
    // What the cases share ends here, while the runtime still carries what it has to say goodbye with.
    drop(shared);
    passed
}

/// The exit code of a test program.
pub fn exit_code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether the arguments select the case: a cluster for none is not brought up.
fn is_asked_for<C>(case: &Case<C>, arguments: &Arguments) -> bool {
    let name = fact(case);
    let matches = |filter: &String| if arguments.exact { name == *filter } else { name.contains(filter) };
    arguments.filter.as_ref().is_none_or(matches) && !arguments.skip.iter().any(matches)
}

/// Longer than any case takes on a machine loaded ten times over: what then still waits, waits for ever.
const LONGEST: Duration = Duration::from_secs(900);

fn trial<C: Send + Sync + 'static>(case: Case<C>, runtime: &Arc<Runtime>, shared: &Arc<C>) -> Trial {
    let (runtime, shared) = (runtime.clone(), shared.clone());
    Trial::test(fact(&case), move || {
        let run = async { tokio::time::timeout(LONGEST, (case.run)(shared)).await };
        match runtime.block_on(run) {
            Ok(outcome) => outcome.map_err(|error| error.to_string().into()),
            Err(_) => Err(format!("it did not end within {} s", LONGEST.as_secs()).into()),
        }
    })
}

/// `stringify!` puts blanks around the colons of a path.
fn fact<C>(case: &Case<C>) -> String {
    case.name.replace(' ', "")
}

fn report(line: &str) {
    // A closed stderr leaves the exit code, which says the same.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
