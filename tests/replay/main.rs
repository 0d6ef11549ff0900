//! The replay tier: passes recorded watch events of the real operators to readiness and diagnosis, one by
//! one. It uses no cluster and no clock: times are those of the recordings.

mod diagnoses;
mod recording;
mod transitions;

use std::process::ExitCode;

use kubectl_dynamo_tests::{Outcome, cases, suite};
use tokio::runtime::Runtime;

/// Nothing is shared: each case reads its recordings.
struct Shared;

fn main() -> ExitCode {
    let cases = cases![
        transitions::transitions_match_the_snapshots,
        diagnoses::each_failure_gets_its_code,
        diagnoses::progressing_deployments_are_never_failed,
        diagnoses::ready_is_reported_only_for_the_current_spec,
        diagnoses::ready_of_replaced_children_is_ignored,
        diagnoses::causal_chain_leads_from_graph_to_container,
        diagnoses::log_line_identifies_the_crash_cause,
    ];
    suite::run("replay", recording::missing(), cases, start)
}

fn start() -> Outcome<(Runtime, Shared)> {
    Ok((Runtime::new()?, Shared))
}
