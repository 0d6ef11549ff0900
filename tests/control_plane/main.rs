//! The control-plane tier: real API servers with both generations of Dynamo's CRDs. Pods do not run.

mod access;
mod admission;
mod adopt;
mod api_errors;
mod cache;
mod codes;
mod companions;
mod completion;
mod diff;
mod documents;
mod down;
mod faults;
mod fetch_job;
mod fixture_self_check;
mod images;
mod interrupts;
mod model;
mod old_objects;
mod operator;
mod plugin;
mod pod_security;
mod preflight;
mod rbac;
mod recorded;
mod report;
mod revisions;
mod scale;
mod states;
mod superseded_fetch;
mod updates;
mod wizard;

use std::process::ExitCode;

use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::{self, GraphGeneration};
use kubectl_dynamo_tests::kubernetes::{self, ClusterLayout, TestCluster, node, programs};
use kubectl_dynamo_tests::operator::TestOperator;
use kubectl_dynamo_tests::{Outcome, cases, suite};
use tokio::runtime::Runtime;

/// State that the cases share.
struct Shared {
    // The operators stop before their cluster.
    operators: Vec<(GraphGeneration, TestOperator)>,
    cluster: TestCluster,
}

impl Shared {
    /// Returns the operator of a generation.
    fn operator(&self, generation: GraphGeneration) -> Outcome<&TestOperator> {
        let found = self.operators.iter().find(|(one, _)| *one == generation);
        Ok(&found.ok_or("no operator of this generation")?.1)
    }

    /// Creates a namespace for the case `name`.
    async fn namespace(&self, generation: GraphGeneration, name: &str) -> Outcome<CaseNamespace> {
        CaseNamespace::create(&self.cluster, self.cluster.control_plane(generation)?, name).await
    }
}

fn main() -> ExitCode {
    let missing = programs::control_plane_missing_reason().or_else(definitions::missing_reason);
    let cases = cases![
        // The longest cases first, so that none of them runs alone at the end.
        operator::operator_that_acts_late_is_waited_for,
        rbac::gateway_verbs_need_deployer_permissions,
        rbac::bench_verbs_need_viewer_and_deployer_permissions,
        rbac::up_needs_deployer_permissions,
        rbac::scale_needs_deployer_permissions,
        rbac::adopt_needs_deployer_permissions,
        rbac::rollout_undo_needs_deployer_permissions,
        rbac::rollout_restart_needs_deployer_permissions,
        rbac::down_needs_deployer_permissions,
        rbac::cache_rm_needs_deployer_permissions,
        rbac::cache_prune_needs_deployer_permissions,
        rbac::status_and_diagnose_need_viewer_permissions,
        rbac::rollout_status_and_history_need_viewer_permissions,
        rbac::cache_list_and_verify_need_deployer_permissions,
        rbac::cache_pull_needs_deployer_permissions,
        rbac::chat_test_top_port_forward_render_and_diff_need_deployer_permissions,
        rbac::check_runs_with_few_permissions,
        rbac::read_verbs_need_viewer_permissions,
        rbac::every_verb_in_the_table_is_run,
        rbac::viewer_gets_a_warning_for_missing_permissions,
        fixture_self_check::each_control_plane_serves_its_api_versions,
        admission::v1beta1_graph_is_rejected_with_causes,
        admission::v1beta1_graph_rejects_immutable_changes,
        admission::v1alpha1_graph_is_rejected_with_plain_text,
        admission::strict_validation_names_the_unknown_field,
        completion::completes_names_of_existing_objects,
        operator::multinode_without_orchestrator_fails,
        operator::v1alpha1_graph_fails_until_its_pvc_exists,
        operator::name_limits_match_the_real_operators,
        operator::webhook_that_refuses_once_is_called_again,
        operator::outdated_deployment_is_not_reported_as_ready,
        operator::reordered_variables_replace_no_pods_on_0_9_1,
        operator::reordered_variables_replace_the_workers_on_1_5,
        recorded::v1beta1_graph_creates_the_recorded_deployments,
        recorded::v1alpha1_graph_creates_the_recorded_deployments,
        plugin::up_writes_the_stored_api_version,
        plugin::second_up_writes_nothing,
        plugin::dry_run_writes_nothing,
        plugin::status_wait_waits_for_missing_graph,
        plugin::fail_on_change_exits_8_for_a_change,
        plugin::field_conflict_fails_without_force_conflicts,
        plugin::missing_permission_is_named,
        plugin::cluster_without_dynamo_is_reported,
        plugin::graph_with_waiting_pods_is_progressing,
        updates::update_preserves_earlier_settings,
        updates::immutable_change_is_refused_before_anything_is_sent,
        updates::order_of_variables_does_not_restart_workers,
        updates::config_setting_does_not_change_live_deployment,
        updates::another_model_with_the_same_name_is_confirmed,
        updates::unknown_deployment_name_is_not_treated_as_model,
        updates::graph_manifest_is_applied_unchanged,
        companions::objects_next_to_a_graph_are_applied_and_deleted_with_it,
        updates::unchanged_up_sends_few_requests,
        model::hub_metadata_is_checked_before_apply,
        model::parsers_are_derived_for_new_deployments_only,
        preflight::check_prints_text_json_and_junit,
        preflight::unschedulable_workers_are_rejected,
        preflight::gpus_used_by_other_pods_are_a_warning,
        preflight::rolling_update_surge_needs_a_free_gpu,
        preflight::fit_uses_the_gpus_of_the_cluster,
        preflight::exceeded_quota_and_limit_range_are_rejected,
        preflight::missing_storage_class_is_rejected,
        preflight::missing_dependencies_are_findings,
        preflight::missing_permissions_skip_checks,
        wizard::wizard_deploys_the_reviewed_request,
        wizard::wizard_prints_the_command_for_what_it_did,
        wizard::wizard_proposes_a_free_name,
        wizard::down_deletes_only_after_yes,
        wizard::kubectl_apply_sends_the_same_objects_as_up,
        diff::diff_lists_changed_fields_and_affected_pods,
        diff::failed_diff_does_not_exit_with_the_difference_code,
        diff::down_selector_deletes_only_labeled_deployments,
        report::report_contains_all_objects_and_no_secrets,
        report::report_works_before_the_graph_exists_and_names_an_unwritable_path,
        revisions::each_change_is_a_revision_and_can_be_undone,
        revisions::history_is_limited_to_ten_owned_revisions,
        revisions::restart_is_requested_and_preserved_by_up,
        revisions::restart_asks_before_requests_are_lost,
        revisions::change_that_times_out_is_rolled_back,
        scale::scale_changes_only_replicas_and_up_preserves_them,
        scale::client_dry_run_of_a_change_only_reads,
        scale::scale_uses_the_scaling_adapter,
        adopt::adopt_imports_foreign_graph_without_restarting_pods,
        adopt::reapplied_manifest_conflicts_with_adopted_graph,
        adopt::adopt_rejects_unsupported_graph,
        adopt::schema_violations_are_reported_with_suggestions,
        adopt::conflict_names_the_other_field_manager_in_every_verb,
        access::kubeconfig_exec_plugin_provides_credentials,
        access::uses_proxy_from_environment_and_kubeconfig,
        access::rejects_untrusted_certificate_authority,
        access::reports_waiting_for_slow_api_server,
        codes::waiting_pod_reports_its_code,
        codes::operator_failure_reports_its_code,
        codes::lost_node_is_distinguished_from_starting_pod,
        codes::quota_blocking_the_fetch_job_reports_its_code,
        down::down_lists_retained_objects,
        down::down_retains_a_mounted_cache,
        down::down_deletes_a_model_while_another_model_of_the_pvc_is_served,
        down::down_deletes_a_shared_cache_after_all_its_deployments,
        down::down_ends_a_fetch_that_only_another_pvc_has_in_common,
        down::down_wait_waits_for_child_pods,
        down::down_does_not_hang_on_a_stuck_finalizer,
        down::up_waits_for_previous_deployment_to_be_deleted,
        api_errors::api_server_rejection_reports_its_code,
        api_errors::admission_denials_are_not_missing_permissions,
        api_errors::ignored_changes_and_unrecorded_revisions_are_warnings,
        api_errors::stuck_pods_are_reported_and_do_not_block_up,
        fetch_job::up_fails_when_the_download_fails,
        fetch_job::down_of_one_deployment_keeps_a_shared_download,
        fetch_job::down_of_the_last_deployment_ends_the_download,
        superseded_fetch::job_without_bytes_is_replaced_without_a_prompt,
        superseded_fetch::job_with_bytes_is_deleted_after_confirmation,
        superseded_fetch::plan_and_dry_run_show_the_superseded_job,
        superseded_fetch::job_of_another_deployment_continues,
        fetch_job::up_fails_if_cache_contains_another_revision,
        fetch_job::up_waits_for_download_retry,
        fetch_job::up_fails_when_init_container_download_fails,
        faults::up_survives_api_server_restart_at_every_stage,
        faults::expired_watch_is_restarted,
        faults::expired_credentials_are_renewed,
        faults::unavailable_operator_is_reported_and_waited_for,
        faults::transient_server_error_is_retried,
        faults::up_fails_if_the_graph_is_deleted,
        faults::up_fails_if_the_fetch_job_is_deleted,
        faults::concurrent_ups_create_one_deployment,
        faults::clock_skew_does_not_change_status,
        faults::slow_api_server_does_not_freeze_progress_display,
        interrupts::interrupted_up_reports_state_and_how_to_continue,
        interrupts::interrupt_before_apply_does_not_report_progress,
        interrupts::pull_and_logs_handle_sigint_sighup_sigterm,
        interrupts::signals_end_a_watch_whose_stdout_is_blocked,
        interrupts::rerun_after_sigkill_resumes_at_every_stage,
        interrupts::missing_dependencies_are_reported_before_apply,
        interrupts::token_secret_is_updated_only_after_validation,
        interrupts::port_in_use_is_reported,
        interrupts::kubectl_global_flags_are_honored,
        states::deleted_deployment_is_not_found_while_its_model_is_cached,
        states::fix_for_a_fetch_names_the_deployment_and_the_fetcher_image,
        states::stopped_operator_is_the_cause_of_a_waiting_deployment,
        states::degraded_is_one_word_on_the_screen_and_in_json,
        states::operator_failure_is_down_in_every_verb,
        states::deployment_that_is_being_deleted_is_not_coming_up,
        states::every_request_names_the_plugin_and_its_platform,
        cache::cache_list_reads_pvc_contents_without_a_pod,
        cache::cache_prune_removes_only_unused_models,
        cache::up_reuses_a_pulled_model,
        cache::cache_pull_update_fetches_again_unless_the_model_is_used,
        cache::cache_verify_exits_7_for_a_changed_file,
        documents::json_of_deployments,
        documents::json_of_checks,
        images::missing_image_is_reported_before_the_job_waits,
        images::pull_secrets_of_pods_are_used_for_the_registry,
        images::image_for_another_architecture_is_reported,
        images::pushed_images_are_found_with_the_login_of_the_push,
        pod_security::jobs_are_admitted_in_a_restricted_namespace,
        pod_security::deployment_is_admitted_in_a_restricted_namespace_if_it_asks_for_it,
        pod_security::standard_of_a_live_deployment_can_be_changed,
        pod_security::only_a_disk_tier_on_the_node_is_denied_in_a_baseline_namespace,
        old_objects::rendered_objects_are_unchanged,
        old_objects::revisions_are_listed_and_restored,
    ];
    suite::run("control-plane", missing, cases, start)
}

fn start() -> Outcome<(Runtime, Shared)> {
    let prepared = kubernetes::prepare(ClusterLayout::ControlPlanes)?;
    let runtime = Runtime::new()?;
    let cluster = runtime.block_on(prepared.start())?;
    let mut operators = Vec::new();
    for generation in [GraphGeneration::V1Alpha1, GraphGeneration::V1Beta1] {
        let log = cluster.folder().join(format!("log/operator-{}.log", generation.version()));
        let plane = cluster.control_plane(generation)?;
        runtime.block_on(node::create_storage_classes(plane))?;
        let operator = runtime.block_on(TestOperator::start(plane, cluster.authority(), &log))?;
        operators.push((generation, operator));
    }
    Ok((runtime, Shared { cluster, operators }))
}
