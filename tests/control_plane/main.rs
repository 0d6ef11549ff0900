//! The control-plane tier: real API servers with Dynamo's definitions of both generations; no pod runs.

mod access;
mod admission;
mod adopting;
mod asking;
mod cache;
mod changing;
mod codes;
mod completion;
mod diff;
mod down;
mod faults;
mod fetching;
mod leaving;
mod model;
mod operator;
mod plugin;
mod preflight;
mod recorded;
mod refused;
mod report;
mod revisions;
mod rights;
mod scaling;
mod serving;

use std::process::ExitCode;

use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::{self, GraphGeneration};
use kubectl_dynamo_tests::kubernetes::{self, Cluster, Layout, node, programs};
use kubectl_dynamo_tests::operator::Operator;
use kubectl_dynamo_tests::{Outcome, cases, tier};
use tokio::runtime::Runtime;

/// What the cases share.
struct Shared {
    // The operators stop before their cluster goes.
    _operators: Vec<Operator>,
    cluster: Cluster,
}

impl Shared {
    /// A namespace for the case `name`.
    async fn place(&self, generation: GraphGeneration, name: &str) -> Outcome<CaseNamespace> {
        CaseNamespace::create(&self.cluster, self.cluster.control_plane(generation)?, name).await
    }
}

fn main() -> ExitCode {
    let missing = programs::control_plane_missing().or_else(definitions::missing);
    let cases = cases![
        // The longest first, so that none is left over when all others have ended.
        rights::up_needs_what_a_deployer_has,
        rights::scale_needs_what_a_deployer_has,
        rights::adopt_needs_what_a_deployer_has,
        rights::going_back_needs_what_a_deployer_has,
        rights::restarting_needs_what_a_deployer_has,
        rights::down_needs_what_a_deployer_has,
        rights::removing_a_model_needs_what_a_deployer_has,
        rights::removing_idle_models_needs_what_a_deployer_has,
        rights::a_verdict_needs_what_a_viewer_has,
        rights::a_rollout_needs_what_a_viewer_has,
        rights::the_cache_needs_what_a_deployer_has,
        rights::pulling_a_model_needs_what_a_deployer_has,
        rights::talking_and_comparing_need_what_a_deployer_has,
        rights::a_check_goes_on_without_most_rights,
        rights::looking_needs_what_a_viewer_has,
        rights::every_verb_of_the_table_is_run,
        rights::a_viewer_is_told_what_is_left_out,
        serving::each_control_plane_serves_its_generation,
        admission::a_v1beta1_graph_is_refused_with_causes,
        admission::a_v1beta1_graph_cannot_be_changed_in_these_ways,
        admission::a_v1alpha1_graph_is_refused_with_a_plain_text,
        admission::strict_validation_names_an_unknown_field,
        completion::offers_the_names_of_what_is_there,
        operator::several_nodes_without_an_orchestrator_fail,
        operator::a_v1alpha1_graph_without_its_claim_fails_until_it_is_there,
        operator::names_are_too_long_where_the_real_ones_find_them_so,
        recorded::a_v1beta1_graph_becomes_the_recorded_deployments,
        recorded::a_v1alpha1_graph_becomes_the_recorded_deployments,
        plugin::up_writes_the_shape_that_the_cluster_stores,
        plugin::the_same_up_again_writes_nothing,
        plugin::a_dry_run_writes_nothing,
        plugin::a_status_waits_for_what_is_not_created_yet,
        plugin::a_dry_run_may_fail_on_changes,
        plugin::another_managers_change_is_a_conflict_until_forced,
        plugin::a_user_without_rights_is_told_which_one_is_missing,
        plugin::a_cluster_without_dynamo_is_named_as_one,
        plugin::a_graph_whose_pods_wait_is_coming_up,
        changing::a_change_keeps_every_earlier_choice,
        changing::a_setting_never_changes_what_runs,
        changing::a_name_without_a_deployment_is_not_taken_for_a_model,
        changing::a_graph_of_a_file_is_applied_as_it_is,
        changing::an_unchanged_up_asks_little,
        model::the_hub_tells_what_a_plan_needs,
        preflight::a_check_tells_what_it_found_in_three_formats,
        preflight::what_can_never_be_placed_is_refused,
        preflight::gpus_that_others_hold_are_waited_for,
        preflight::the_pod_on_top_of_a_rolling_update_needs_a_gpu,
        preflight::a_namespace_without_room_is_refused,
        preflight::a_storage_class_that_is_not_there_is_refused,
        preflight::what_is_missing_for_a_plan_is_a_finding,
        preflight::fewer_rights_leave_checks_out,
        asking::up_asks_and_deploys_what_was_agreed,
        asking::only_a_yes_deletes,
        asking::kubectl_sends_what_a_dry_run_sends,
        diff::a_difference_is_named_by_field_and_pod,
        diff::a_failure_is_no_difference,
        diff::down_takes_the_deployments_with_a_label,
        report::a_report_has_all_that_is_seen_and_no_secret,
        report::a_report_is_there_before_the_graph_and_says_where_it_cannot_be_written,
        revisions::each_change_is_kept_and_undone,
        revisions::ten_revisions_are_kept_and_go_with_their_graph,
        revisions::a_restart_is_asked_for_and_left_alone_by_up,
        revisions::a_change_that_is_not_ready_in_time_is_taken_back,
        scaling::scale_moves_replicas_alone_and_up_keeps_them,
        scaling::replicas_of_a_scaling_adapter_are_scaled_through_it,
        adopting::a_hand_made_graph_is_taken_over_and_no_pod_moves,
        adopting::a_strange_graph_is_left_alone,
        adopting::what_does_not_fit_the_schema_is_named_with_a_suggestion,
        adopting::conflicts_name_the_other_manager_in_every_verb,
        access::a_kubeconfig_may_run_a_command_for_its_credentials,
        access::a_proxy_is_gone_through,
        access::another_authority_is_not_trusted_unless_told_to,
        access::a_slow_server_is_said_to_be_waited_for,
        codes::what_pods_wait_for_is_told_by_its_code,
        codes::what_the_operator_cannot_make_is_told_by_its_code,
        codes::a_lost_node_is_told_from_a_pod_that_starts,
        codes::a_job_that_may_make_no_pod_is_told_by_its_code,
        down::what_stays_is_listed,
        down::a_cache_that_something_mounts_is_kept,
        down::its_children_are_waited_for,
        down::a_graph_that_nobody_lets_go_holds_nobody_up,
        down::an_up_waits_for_what_down_left,
        refused::what_the_server_cannot_or_will_not_do_is_told_by_its_code,
        refused::what_is_not_as_it_was_asked_for_is_warned_of,
        refused::pods_that_do_not_end_are_said_and_left,
        fetching::a_failed_download_ends_it_at_once,
        fetching::another_revision_in_the_folder_ends_it,
        fetching::a_download_that_is_tried_again_is_waited_for,
        fetching::an_init_containers_failed_download_ends_it_at_once,
        faults::a_server_may_stop_and_start_at_every_stage,
        faults::a_watch_that_expired_begins_anew,
        faults::a_login_that_expires_is_asked_for_again,
        faults::an_operator_that_is_down_is_named_and_waited_for,
        faults::a_server_that_fails_for_a_moment_is_waited_for,
        faults::a_graph_that_is_taken_away_ends_it,
        faults::a_fetch_that_is_taken_away_ends_it,
        faults::two_ups_at_once_make_one_deployment,
        faults::a_clock_that_differs_changes_no_verdict,
        faults::a_slow_server_does_not_freeze_the_screen,
        leaving::whoever_leaves_finds_what_is_there_and_how_to_go_on,
        leaving::what_was_not_applied_is_not_said_to_go_on,
        leaving::whoever_leaves_a_download_or_a_log_may_use_any_signal,
        leaving::killed_at_any_line_the_same_command_goes_on,
        leaving::what_is_missing_is_named_before_anything_is_applied,
        leaving::a_token_replaces_the_one_before_and_only_when_all_else_is_accepted,
        leaving::a_port_in_use_is_named,
        leaving::kubectls_own_flags_mean_what_they_mean_there,
        cache::what_is_on_a_claim_is_known_without_a_pod,
        cache::a_model_that_is_used_stays_and_an_idle_one_goes,
        cache::a_pull_is_what_up_goes_on_with,
        cache::a_file_that_changed_ends_with_seven,
    ];
    tier::run("control-plane", missing, cases, start)
}

fn start() -> Outcome<(Runtime, Shared)> {
    let prepared = kubernetes::prepare(Layout::ControlPlanes)?;
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    let mut operators = Vec::new();
    for generation in [GraphGeneration::V1Alpha1, GraphGeneration::V1Beta1] {
        let log = cluster.folder().join(format!("log/operator-{}.log", generation.version()));
        let plane = cluster.control_plane(generation)?;
        runtime.block_on(node::make_storage_classes(plane))?;
        operators.push(runtime.block_on(Operator::start(plane, cluster.authority(), &log))?);
    }
    Ok((runtime, Shared { cluster, _operators: operators }))
}
