//! The local tier: `up --local`, its verbs and `chat` with the real Dynamo from PyPI. Each case has a network
//! namespace of its own that holds only `lo`: Dynamo's workers listen on every address.

mod chatting;
mod endings;
mod installing;
mod machine;
mod models;
mod older;
mod refusals;
mod serving;

use std::path::PathBuf;
use std::process::ExitCode;

use kubectl_dynamo::intent::Backend;
use kubectl_dynamo::local::{Folders, Progress, runtime};
use kubectl_dynamo::release::{DEFAULT, Release};
use kubectl_dynamo_tests::{Outcome, cache, cases, namespace, programs, tier};
use tokio::runtime::Runtime;

/// What the cases share.
struct Shared {
    /// The cache folder that holds the runtime, installed once for all runs.
    cache: PathBuf,
}

fn main() -> ExitCode {
    let missing = namespace::available().err();
    let cases = cases![
        serving::answers_in_the_foreground_until_interrupted,
        serving::a_detached_deployment_is_found_by_every_verb,
        serving::two_ups_of_one_name_serve_once,
        serving::prefill_and_decode_are_two_workers,
        serving::the_kv_router_finds_the_cached_prefix,
        older::aggregated_workers_answer,
        older::prefill_and_decode_are_two_workers,
        older::the_kv_router_finds_the_cached_prefix,
        endings::nothing_survives_a_kill_of_the_foreground,
        endings::nothing_survives_a_kill_of_the_supervisor_and_a_down,
        endings::a_worker_that_ends_early_is_shown_with_its_last_words,
        endings::a_lost_worker_is_told_and_the_next_up_starts_anew,
        installing::an_interrupted_installation_is_repaired,
        installing::what_keeps_a_runtime_from_being_installed_is_told_by_its_code,
        installing::a_missing_python_is_named_with_the_command_that_installs_it,
        models::a_model_of_the_hub_is_fetched_and_served,
        models::what_fits_is_told_from_the_listing_alone,
        models::a_gated_model_is_refused_to_a_wrong_token,
        models::a_full_disk_is_named_and_the_same_command_goes_on_with_room,
        models::a_folder_is_served_as_it_is,
        models::what_is_no_model_is_refused,
        refusals::a_port_in_use_is_named,
        refusals::a_release_that_needs_services_is_refused,
        refusals::vllm_without_a_gpu_is_refused,
        refusals::flags_of_a_cluster_are_refused,
        refusals::a_start_that_takes_too_long_is_given_up,
        chatting::one_question_comes_from_stdin_and_only_the_answer_goes_to_stdout,
        chatting::any_address_is_asked_without_fields_of_dynamo,
        chatting::an_answer_that_breaks_off_is_an_error,
        chatting::ctrl_c_ends_an_answer,
        chatting::a_terminal_gets_a_conversation,
        chatting::refusals_are_told_apart,
    ];
    tier::run("local", missing, cases, start)
}

/// Installs the runtime with the network of the machine; the cases have none.
fn start() -> Outcome<(Runtime, Shared)> {
    let cache = cache::folder().join("local-environment");
    let runtime = Runtime::new()?;
    runtime.block_on(install(&cache, &|_| {}))?;
    runtime.block_on(install_release(&cache, older::VERSION, &|_| {}))?;
    Ok((runtime, Shared { cache }))
}

/// Installs the default release below `cache`, unless it is there.
async fn install(
    cache: &std::path::Path,
    observer: &(dyn Fn(Progress) + Send + Sync),
) -> Outcome<runtime::Runtime> {
    install_release(cache, DEFAULT, observer).await
}

async fn install_release(
    cache: &std::path::Path,
    version: &str,
    observer: &(dyn Fn(Progress) + Send + Sync),
) -> Outcome<runtime::Runtime> {
    let folders = Folders { cache: cache.to_owned(), state: cache.join("state") };
    let release = Release::find(version)?;
    let program = programs::kubectl_dynamo();
    Ok(runtime::prepare(&folders, release, version, Backend::Mocker, &program, observer).await?)
}
