//! The matrix tier: what is rendered for every combination of release, engine, mode, shape, router and offload is put
//! before those who must understand it: the release's own parsers, a real API server, the operators' admission rules.

mod check;
mod found;
mod parser;
mod server;

use std::collections::BTreeMap;
use std::process::ExitCode;

use kubectl_dynamo::plan::ServingPlan;
use kubectl_dynamo_tests::cells::Cell;
use kubectl_dynamo_tests::kubernetes::{self, Layout, definitions, programs};
use kubectl_dynamo_tests::{Outcome, cases, tier};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

fn main() -> ExitCode {
    let parsers = cases![
        parser::every_command_is_read_as_it_was_meant,
        parser::the_words_of_another_release_are_refused,
        parser::a_router_without_events_is_read_as_one,
    ];
    let server = cases![
        server::every_object_of_every_cell_is_accepted,
        server::what_is_wrong_is_refused,
        check::the_definitions_of_each_generation_are_told,
        check::an_operator_that_does_not_run_is_told,
        found::logs_are_json_and_nodes_of_eks_are_borne_where_they_are,
    ];
    // The parsers first: they may have to be installed, and the cluster's namespace has no network.
    let passed = [
        tier::passes("matrix", parser::missing(), vec![parsers], parser::start),
        tier::passes(
            "matrix",
            programs::control_plane_missing().or_else(definitions::missing),
            vec![server],
            start,
        ),
    ];
    tier::exit_code(passed == [true, true])
}

/// A cluster in which one case after the other puts definitions of its own.
struct Server {
    cluster: kubernetes::Cluster,
    turn: Mutex<()>,
}

fn start() -> Outcome<(Runtime, Server)> {
    let prepared = kubernetes::prepare(Layout::Bare)?;
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    Ok((runtime, Server { cluster, turn: Mutex::new(()) }))
}

/// The cells that must be accepted, with their plans; how many there are, and how many are refused as listed.
struct Accepted {
    plans: Vec<(Cell, ServingPlan)>,
    refused: usize,
}

impl Accepted {
    fn of_all() -> Outcome<Self> {
        let mut accepted = Self { plans: Vec::new(), refused: 0 };
        for cell in Cell::all() {
            match cell.plan()? {
                Some(plan) => accepted.plans.push((cell, plan)),
                None => accepted.refused += 1,
            }
        }
        Ok(accepted)
    }

    /// Prints the counts, and fails with what is wrong, if anything is.
    fn conclude(&self, whom: &str, wrong: &Wrong) -> Outcome {
        use std::io::Write;
        let (accepted, refused) = (self.plans.len() - wrong.len(), self.refused);
        // A closed stdout leaves the result, which says the same.
        let _ = writeln!(
            std::io::stdout().lock(),
            "{whom}: {} cells: {accepted} accepted, {refused} refused as listed, {} wrong",
            self.plans.len() + refused,
            wrong.len()
        );
        let told: Vec<String> = wrong.iter().take(5).map(|(cell, why)| format!("{cell}: {why}")).collect();
        if told.is_empty() { Ok(()) } else { Err(told.join("\n").into()) }
    }
}

/// What is wrong with a cell, by the cell's name; the first complaint of each.
type Wrong = BTreeMap<String, String>;
