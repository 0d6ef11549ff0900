//! The local tier: `up --local`, its verbs, and `chat` with the real Dynamo from PyPI. Each case has its own
//! network namespace with only `lo`, because Dynamo's workers listen on all addresses.

mod abnormal_exit;
mod chat;
mod errors;
mod install;
mod models;
mod old_releases;
mod output_probes;
mod probes;
mod serving;
mod top;

use std::path::PathBuf;
use std::process::ExitCode;

use kubectl_dynamo::local::{Folders, LocalEvent, runtime};
use kubectl_dynamo_core::intent::Backend;
use kubectl_dynamo_core::release::{DEFAULT_RELEASE, Release};
use kubectl_dynamo_tests::{Outcome, cache, cases, network_namespace, programs, suite};
use tokio::runtime::Runtime;

/// State that the cases share.
struct Shared {
    /// Cache folder with the runtime, which is installed once for all runs.
    cache: PathBuf,
    /// The Python interpreter of the default release.
    interpreter: PathBuf,
}

fn main() -> ExitCode {
    let missing = network_namespace::check_available().err();
    let cases = cases![
        serving::foreground_deployment_answers_until_interrupted,
        serving::every_verb_finds_a_detached_deployment,
        serving::concurrent_ups_start_one_deployment,
        serving::disaggregated_answer_uses_two_workers,
        serving::kv_router_reuses_the_cached_prefix,
        old_releases::aggregated_deployment_answers,
        old_releases::disaggregated_answer_uses_two_workers,
        old_releases::kv_router_reuses_the_cached_prefix,
        abnormal_exit::killing_the_foreground_command_stops_all_processes,
        abnormal_exit::down_after_supervisor_kill_stops_all_processes,
        abnormal_exit::early_worker_exit_is_reported_with_its_log_tail,
        abnormal_exit::killed_worker_degrades_status_and_next_up_restarts,
        install::interrupted_installation_is_repaired,
        install::each_installation_failure_has_its_own_code,
        install::missing_python_error_has_the_install_command,
        models::hub_model_is_fetched_and_served,
        models::fit_needs_only_the_file_listing,
        models::gated_model_rejects_wrong_token,
        models::full_disk_is_reported_and_rerun_resumes,
        models::local_folder_is_served,
        models::rejects_invalid_models,
        errors::port_in_use_is_reported,
        errors::rejects_releases_that_need_external_services,
        errors::rejects_vllm_without_a_gpu,
        errors::rejects_cluster_only_flags,
        errors::startup_timeout_is_an_error,
        chat::prompt_is_read_from_stdin_and_stdout_has_only_the_answer,
        chat::url_endpoint_gets_no_dynamo_fields,
        chat::truncated_stream_is_an_error,
        chat::ctrl_c_stops_the_answer,
        chat::terminal_starts_a_repl,
        chat::each_chat_error_has_its_own_code,
        probes::healthy_endpoint_passes_and_url_gets_the_same_verdict,
        probes::killed_worker_fails_the_answers,
        probes::stopped_frontend_fails_the_list_of_models,
        probes::kv_router_with_events_is_exact,
        probes::lost_kv_events_are_load_only,
        probes::predicted_caches_are_approximate,
        probes::disabled_prefix_caching_is_found,
        probes::one_worker_is_a_warning_for_the_kv_router,
        probes::stopped_worker_is_named,
        probes::disaggregated_roles_and_their_times_pass,
        probes::slow_handover_is_a_warning,
        probes::stopped_prefill_worker_is_found,
        probes::silent_metrics_port_is_found,
        probes::sessions_stay_on_one_worker_through_every_frontend,
        output_probes::fitting_parsers_pass,
        output_probes::unparsed_output_names_the_parser,
        output_probes::wrong_parser_loses_the_call,
        probes::offloaded_blocks_are_read_again,
        probes::up_runs_the_probes_and_fails_with_them,
        probes::other_routers_and_urls_skip_probes_with_a_reason,
        top::rates_tokens_and_quantiles_agree_with_the_load_generator,
        top::disaggregated_workers_have_their_own_numbers,
        top::silent_processes_are_reported_and_their_values_are_unknown,
        top::full_screen_view_restores_the_terminal,
    ];
    suite::run("local", missing, cases, start)
}

/// Installs the runtime with the machine's network, which the cases do not have.
fn start() -> Outcome<(Runtime, Shared)> {
    let cache = cache::folder().join("local-environment");
    let runtime = Runtime::new()?;
    let default = runtime.block_on(install_default_release(&cache, &|_| {}))?;
    runtime.block_on(install_release(&cache, old_releases::VERSION, &|_| {}))?;
    Ok((runtime, Shared { cache, interpreter: default.interpreter }))
}

/// Installs the default release below `cache`, unless it is installed.
async fn install_default_release(
    cache: &std::path::Path,
    observer: &(dyn Fn(LocalEvent) + Send + Sync),
) -> Outcome<runtime::Runtime> {
    install_release(cache, DEFAULT_RELEASE, observer).await
}

async fn install_release(
    cache: &std::path::Path,
    version: &str,
    observer: &(dyn Fn(LocalEvent) + Send + Sync),
) -> Outcome<runtime::Runtime> {
    let folders = Folders { cache: cache.to_owned(), state: cache.join("state") };
    let release = Release::find(version)?;
    let program = programs::kubectl_dynamo();
    let request =
        runtime::RuntimeRequest { release, version, backend: Backend::Mocker, supervisor: &program };
    Ok(runtime::prepare(&folders, &request, observer).await?)
}
