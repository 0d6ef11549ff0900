//! The replay tier: what the real operators' watches brought, played into readiness and diagnosis event by event.
//! No cluster and no clock: the seconds are those of the recordings.

mod recording;
mod transitions;
mod verdicts;

use std::process::ExitCode;

use kubectl_dynamo_tests::{Outcome, cases, tier};
use tokio::runtime::Runtime;

/// Nothing is shared: each case reads its recordings.
struct Shared;

fn main() -> ExitCode {
    let cases = cases![
        transitions::every_transition_is_what_it_was,
        verdicts::each_failure_ends_in_its_code,
        verdicts::nothing_that_comes_up_is_given_up,
        verdicts::ready_is_only_said_of_this_very_spec,
        verdicts::a_ready_that_old_children_lend_is_not_believed,
        verdicts::a_chain_leads_from_the_graph_to_the_container,
        verdicts::a_log_line_turns_a_crash_into_its_cause,
    ];
    tier::run("replay", recording::missing(), cases, start)
}

fn start() -> Outcome<(Runtime, Shared)> {
    Ok((Runtime::new()?, Shared))
}
