//! The aiperf tier: `bench` with the real AIPerf from PyPI against the real Dynamo mocker and against servers that fail.
//! `tests/run` without arguments leaves it out, because AIPerf's packages have 1.2 GB and each of its starts takes up to
//! a minute on two cores.

mod comparison;
mod interruption;
mod key;
mod numbers;
mod upstream;
mod verdicts;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

use kubectl_dynamo::local::{Folders, aiperf, runtime};
use kubectl_dynamo_core::intent::Backend;
use kubectl_dynamo_core::release::{DEFAULT_RELEASE, Release};
use kubectl_dynamo_tests::{Outcome, cache, cases, network_namespace, programs, suite};
use tokio::runtime::Runtime;

/// State that the cases share.
struct Shared {
    /// Cache folder with AIPerf and Dynamo, which are installed once for all runs. The local tier uses the same one.
    cache: PathBuf,
}

fn main() -> ExitCode {
    let missing = network_namespace::check_available().err();
    let cases = cases![
        numbers::every_number_of_a_run_is_in_aiperfs_files,
        numbers::a_run_is_kept_until_it_is_removed,
        workloads::sweep_with_repeats_and_goodput_agrees_with_aiperf,
        workloads::conversations_distributions_and_prefixes_agree_with_aiperf,
        workloads::trace_is_replayed,
        verdicts::a_third_of_failed_requests_is_not_good,
        verdicts::answers_that_an_error_cuts_short_are_not_good,
        verdicts::all_requests_failed,
        key::key_is_sent_and_written_nowhere,
        workloads::predicted_load_is_measured_and_compared,
        interruption::ctrl_c_keeps_what_was_measured,
        interruption::killed_run_is_listed_as_interrupted,
        comparison::twice_the_time_is_worse_and_equal_runs_show_no_difference,
    ];
    suite::run("aiperf", missing, cases, start)
}

/// Installs AIPerf and Dynamo with the machine's network, which the cases do not have.
fn start() -> Outcome<(Runtime, Shared)> {
    let cache = cache::folder().join("local-environment");
    let folders = Folders { cache: cache.clone(), state: cache.join("state") };
    let program = programs::kubectl_dynamo();
    let request = runtime::RuntimeRequest {
        release: Release::find(DEFAULT_RELEASE)?,
        version: DEFAULT_RELEASE,
        backend: Backend::Mocker,
        supervisor: &program,
    };

    let installer = Runtime::new()?;
    installer.block_on(runtime::prepare(&folders, &request, &|_| {}))?;
    installer.block_on(aiperf::prepare(&folders, &program, &|_| {}))?;
    Ok((installer, Shared { cache }))
}
