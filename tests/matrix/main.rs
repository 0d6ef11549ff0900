//! The matrix tier: renders every combination of release, engine, mode, parallelism, router, and offload, and
//! checks the result with the release's own parsers, a real API server, and the operators' admission rules.

mod admission;
mod check;
mod detection;
mod parsers;

use std::collections::BTreeMap;
use std::process::ExitCode;

use kubectl_dynamo_core::plan::ServingPlan;
use kubectl_dynamo_tests::intents::Cell;
use kubectl_dynamo_tests::kubernetes::{self, ClusterLayout, definitions, programs};
use kubectl_dynamo_tests::{Outcome, cases, suite};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

fn main() -> ExitCode {
    let parsers = cases![
        parsers::parsers_read_every_command_as_intended,
        parsers::parsers_reject_arguments_of_another_release,
        parsers::parsers_read_disabled_kv_events,
    ];
    let server = cases![
        admission::api_server_accepts_every_object_of_every_cell,
        admission::api_server_rejects_invalid_objects,
        check::check_reports_the_stored_api_version,
        check::check_reports_an_operator_that_is_not_running,
        detection::detects_log_collector_and_eks_auto_mode,
    ];
    // Parsers run first: they may have to be installed, and the cluster's namespace has no network.
    let passed = [
        suite::run_groups("matrix", parsers::missing(), vec![parsers], parsers::start),
        suite::run_groups(
            "matrix",
            programs::control_plane_missing_reason().or_else(definitions::missing_reason),
            vec![server],
            start,
        ),
    ];
    suite::exit_code(passed == [true, true])
}

/// A cluster in which each case installs its own CRDs, one after the other.
struct SharedServer {
    cluster: kubernetes::TestCluster,
    exclusive: Mutex<()>,
}

fn start() -> Outcome<(Runtime, SharedServer)> {
    let prepared = kubernetes::prepare(ClusterLayout::Bare)?;
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    Ok((runtime, SharedServer { cluster, exclusive: Mutex::new(()) }))
}

/// The valid cells with their plans, and the numbers of valid and rejected cells.
struct AcceptedPlans {
    plans: Vec<(Cell, ServingPlan)>,
    unsupported: usize,
}

impl AcceptedPlans {
    fn from_all_cells() -> Outcome<Self> {
        let mut accepted = Self { plans: Vec::new(), unsupported: 0 };
        for cell in Cell::all() {
            match cell.plan()? {
                Some(plan) => accepted.plans.push((cell, plan)),
                None => accepted.unsupported += 1,
            }
        }
        Ok(accepted)
    }

    /// Prints the counts, and fails if anything is wrong.
    fn report(&self, checker: &str, failures: &Failures) -> Outcome {
        use std::io::Write;
        let (accepted, unsupported) = (self.plans.len() - failures.len(), self.unsupported);
        // If stdout is closed, the result still reports the same.
        let _ = writeln!(
            std::io::stdout().lock(),
            "{checker}: {} cells: {accepted} accepted, {unsupported} rejected as listed, {} wrong",
            self.plans.len() + unsupported,
            failures.len()
        );
        let messages: Vec<String> =
            failures.iter().take(5).map(|(cell, why)| format!("{cell}: {why}")).collect();
        if messages.is_empty() { Ok(()) } else { Err(messages.join("\n").into()) }
    }
}

/// Problems by cell name; the first one of each cell.
type Failures = BTreeMap<String, String>;
