//! The node tier: a real node runs the fetcher image and Dynamo's frontend and mocker.

mod bench;
mod cache;
mod chat;
mod failures;
mod gateway;
mod image_self_check;
mod logs;
mod operator;
mod plugin;
mod pod_security;
mod port_forward;
mod restart;
mod screens;
mod top;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use kubectl_dynamo::local::{self, Folders};
use kubectl_dynamo_core::release::AIPERF_IMAGE;
use kubectl_dynamo_tests::hub::{Hub, HubSettings, Repository, RepositoryAccess};
use kubectl_dynamo_tests::images::{fetcher, python_program, runtime};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::{self, GraphGeneration};
use kubectl_dynamo_tests::kubernetes::service_dns::ServiceDns;
use kubectl_dynamo_tests::kubernetes::{self, ClusterLayout, TestCluster, node, programs};
use kubectl_dynamo_tests::operator::TestOperator;
use kubectl_dynamo_tests::{Outcome, cases, litellm, model, suite};
use tokio::runtime::Runtime;

/// The public model on the hub.
const MODEL: &str = "acme/tiny";
const GATED_MODEL: &str = "acme/gated";
/// Token for the gated model; it is not valid anywhere else.
const TOKEN: &str = "hf_only_for_the_hub_of_these_tests";
/// Size of the weights: several ranges for the fetcher.
const WEIGHTS_BYTES: usize = 24 << 20;

/// State that the cases share.
struct Shared {
    // The operator and the hub stop before their cluster.
    _operator: TestOperator,
    /// Only with a Python program.
    _dns: Option<ServiceDns>,
    hub: Hub,
    /// `HF_ENDPOINT=…`, with the hub's URL for pods.
    hub_environment: String,
    model_folder: PathBuf,
    cluster: TestCluster,
    generation: GraphGeneration,
}

impl Shared {
    /// Returns the graph API version that this cluster stores.
    fn generation(&self) -> GraphGeneration {
        self.generation
    }

    /// Returns the Dynamo release whose image is on this cluster's node.
    fn release(&self) -> &'static str {
        release(self.generation)
    }

    /// Creates a namespace for the case `name`.
    async fn namespace(&self, name: &str) -> Outcome<CaseNamespace> {
        CaseNamespace::create(&self.cluster, self.cluster.control_plane(self.generation())?, name).await
    }
}

fn main() -> ExitCode {
    let missing =
        || programs::node_missing_reason().or_else(definitions::missing_reason).or_else(runtime::missing);
    let newer = cases![
        image_self_check::runtime_image_contains_dynamo,
        operator::aggregated_graph_answers_before_and_after_rollout,
        plugin::up_downloads_the_model_and_passes_the_smoke_test,
        plugin::second_up_changes_nothing,
        plugin::rerun_after_kill_resumes_at_every_step,
        plugin::init_container_downloads_for_late_binding_volumes,
        plugin::disaggregated_graph_with_kv_router_answers,
        plugin::kv_router_reuses_the_cached_prefix,
        plugin::port_forward_carries_a_streamed_chat,
        plugin::gated_model_requires_a_token,
        plugin::token_is_stored_only_in_its_secret,
        chat::up_then_chat_answers,
        pod_security::denied_deployment_answers_after_its_fix_in_a_restricted_namespace,
        top::rates_of_every_pod_are_read_through_the_api_server,
        screens::successful_and_failed_up_draw_their_stages,
        cache::down_delete_cache_removes_model_or_pvc,
        cache::cache_verify_detects_a_changed_byte,
        restart::restart_replaces_every_pod_and_passes_the_smoke_test,
        failures::detached_up_becomes_ready,
        failures::unpullable_image_is_reported,
        bench::failed_bench_runs_name_the_cause_and_leave_nothing,
        failures::unschedulable_worker_waits_and_crashing_worker_fails,
        failures::failed_change_is_rolled_back_and_serves_again,
        chat::port_forward_survives_frontend_replacement,
        logs::logs_follow_survives_container_restart_and_disconnect,
        logs::tail_of_several_pods_is_ordered_by_time,
        port_forward::response_is_complete_after_client_half_close,
        port_forward::twenty_concurrent_connections_do_not_mix_bytes,
        port_forward::port_forward_survives_pod_and_connection_loss,
        port_forward::closed_container_port_is_reported,
    ];
    // The same deployments with Dynamo 0.9.1, on a cluster that stores v1alpha1. Its frontend does not report cached
    // tokens.
    let older = cases![
        plugin::up_downloads_the_model_and_passes_the_smoke_test,
        plugin::second_up_changes_nothing,
        plugin::rerun_after_kill_resumes_at_every_step,
        plugin::disaggregated_graph_with_kv_router_answers,
        plugin::port_forward_carries_a_streamed_chat,
        pod_security::denied_deployment_answers_after_its_fix_in_a_restricted_namespace,
        restart::restart_replaces_every_pod_and_passes_the_smoke_test,
        failures::pods_without_etcd_report_the_discovery_service,
    ];
    // It needs the node exclusively.
    let exclusive = cases![failures::unresponsive_node_is_reported_until_it_recovers];
    // `tests/run aiperf` and `tests/run gateway` run only these, with the image of their program on the node.
    if let Some(program) = PythonProgram::requested() {
        let cases = match program {
            PythonProgram::Aiperf => cases![
                bench::job_measures_a_sweep_and_only_its_results_remain,
                bench::detached_run_is_followed_by_another_machine,
            ],
            PythonProgram::Litellm => cases![gateway::proxy_in_a_pod_routes_through_the_service],
        };
        let passed = suite::run_groups("node with a Python program", missing(), vec![cases], || {
            start(GraphGeneration::V1Beta1)
        });
        return suite::exit_code(passed);
    }
    // One cluster after the other: only one node at a time on a machine.
    let passed =
        [(GraphGeneration::V1Beta1, vec![newer]), (GraphGeneration::V1Alpha1, vec![older, exclusive])]
            .map(|(generation, groups)| suite::run_groups("node", missing(), groups, || start(generation)));
    suite::exit_code(passed == [true, true])
}

/// A program whose image is on the node. Its packages are large, so only the tier of the program requests it.
#[derive(Clone, Copy)]
enum PythonProgram {
    Aiperf,
    Litellm,
}

impl PythonProgram {
    /// The program in `KUBECTL_DYNAMO_TEST_NODE_PROGRAM`.
    fn requested() -> Option<Self> {
        match std::env::var("KUBECTL_DYNAMO_TEST_NODE_PROGRAM").as_deref() {
            Ok("aiperf") => Some(Self::Aiperf),
            Ok("litellm") => Some(Self::Litellm),
            _ => None,
        }
    }

    /// Installs the program as its tier does, and puts it into an image.
    async fn archive(self) -> Outcome<PathBuf> {
        let cache = kubectl_dynamo_tests::cache::folder();
        match self {
            Self::Aiperf => {
                let cache = cache.join("local-environment");
                let folders = Folders { cache: cache.clone(), state: cache.join("state") };
                let supervisor = kubectl_dynamo_tests::programs::kubectl_dynamo();
                let installed = local::aiperf::prepare(&folders, &supervisor, &|_| {}).await?;
                python_program::build_archive(AIPERF_IMAGE, installed.environment(), "aiperf")
            }
            Self::Litellm => {
                let program = litellm::install(&cache)?;
                let environment = program.ancestors().nth(2).ok_or("the program is not in bin/")?;
                python_program::build_archive(gateway::IMAGE, environment, "litellm")
            }
        }
    }
}

/// Returns the older release for a cluster that stores v1alpha1.
fn release(generation: GraphGeneration) -> &'static str {
    match generation {
        GraphGeneration::V1Alpha1 => runtime::OLDER,
        GraphGeneration::V1Beta1 => runtime::NEWER,
    }
}

fn start(generation: GraphGeneration) -> Outcome<(Runtime, Shared)> {
    // The node does not have the machine's network.
    let program = PythonProgram::requested();
    let program_archive = program.map(|program| Runtime::new()?.block_on(program.archive())).transpose()?;
    let prepared = kubernetes::prepare(ClusterLayout::Node(generation))?;
    let runtime = Runtime::new()?;
    let shared = runtime.block_on(async {
        let cluster = prepared.start().await?;
        node::import_image(cluster.folder(), &runtime::build_archive(release(generation))?)?;
        node::import_image(cluster.folder(), &fetcher::build_archive(cluster.folder())?)?;
        if let Some(archive) = &program_archive {
            node::import_image(cluster.folder(), archive)?;
        }
        let plane = cluster.control_plane(generation)?;
        node::create_storage_classes(plane).await?;
        let log = cluster.folder().join("log/operator.log");
        let operator = TestOperator::start(plane, cluster.authority(), &log).await?;
        let dns = match program {
            Some(_) => Some(ServiceDns::start(plane.client()).await?),
            None => None,
        };
        let model_folder = cluster.folder().join("hub/tiny");
        model::write_model_with_weights(&model_folder, WEIGHTS_BYTES)?;
        let gated = RepositoryAccess::Gated { token: TOKEN.to_owned() };
        let repositories = vec![
            Repository::from_folder(MODEL, &model_folder)?,
            Repository::from_folder(GATED_MODEL, &model_folder)?.with_access(gated),
        ];
        let listen = SocketAddr::from((node::ADDRESS, 0));
        let hub =
            Hub::start(HubSettings { listen, cdn_listen: listen, repositories, ..HubSettings::default() })
                .await?;
        let hub_environment = format!("HF_ENDPOINT={}", hub.url);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Shared {
            _operator: operator,
            _dns: dns,
            hub,
            hub_environment,
            model_folder,
            cluster,
            generation,
        })
    })?;
    Ok((runtime, shared))
}
