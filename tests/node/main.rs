//! The node tier: a real node runs the fetcher's image and Dynamo's frontend and mocker.

mod cache;
mod chat;
mod logs;
mod operator;
mod plugin;
mod pods;
mod restart;
mod screens;
mod trouble;
mod tunnel;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use kubectl_dynamo_tests::hub::{Access, Hub, Repository, Settings};
use kubectl_dynamo_tests::images::{fetcher, runtime};
use kubectl_dynamo_tests::kubernetes::case_namespace::CaseNamespace;
use kubectl_dynamo_tests::kubernetes::definitions::{self, GraphGeneration};
use kubectl_dynamo_tests::kubernetes::{self, Cluster, Layout, node, programs};
use kubectl_dynamo_tests::operator::Operator;
use kubectl_dynamo_tests::{Outcome, cases, model, tier};
use tokio::runtime::Runtime;

/// The models of the hub.
const MODEL: &str = "acme/tiny";
const GATED_MODEL: &str = "acme/gated";
/// What opens the gated one; generated for no service in the world.
const TOKEN: &str = "hf_only_for_the_hub_of_these_tests";
/// The weights' size: several ranges for the fetcher.
const WEIGHTS_BYTES: usize = 24 << 20;

/// What the cases share.
struct Shared {
    // The operator and the hub stop before their cluster goes.
    _operator: Operator,
    hub: Hub,
    /// `HF_ENDPOINT=…` as pods reach the hub.
    hub_environment: String,
    model_folder: PathBuf,
    cluster: Cluster,
    generation: GraphGeneration,
}

impl Shared {
    /// Which object version this cluster stores.
    fn generation(&self) -> GraphGeneration {
        self.generation
    }

    /// The Dynamo release there is an image of on this cluster's node.
    fn release(&self) -> &'static str {
        release(self.generation)
    }

    /// A namespace for the case `name`.
    async fn place(&self, name: &str) -> Outcome<CaseNamespace> {
        CaseNamespace::create(&self.cluster, self.cluster.control_plane(self.generation())?, name).await
    }
}

fn main() -> ExitCode {
    let missing = || programs::node_missing().or_else(definitions::missing).or_else(runtime::missing);
    let newer = cases![
        pods::the_runtime_image_holds_dynamo,
        operator::an_aggregated_graph_answers_before_and_after_a_rollout,
        plugin::up_downloads_the_model_and_ends_with_an_answer,
        plugin::the_same_up_again_changes_nothing,
        plugin::killed_at_any_step_the_same_command_goes_on,
        plugin::the_init_container_downloads_where_no_job_may,
        plugin::a_disaggregated_graph_with_kv_routing_answers,
        plugin::the_kv_router_finds_the_cached_prefix,
        plugin::port_forward_carries_a_streamed_chat_until_down,
        plugin::a_gated_model_needs_its_token,
        plugin::a_token_is_in_its_secret_alone,
        chat::a_person_gets_from_up_to_an_answer,
        screens::a_run_that_serves_and_one_that_fails_draw_their_stages,
        cache::down_removes_the_model_or_its_claim_when_told_to,
        cache::a_byte_that_changed_on_the_volume_is_found,
        restart::a_restart_starts_every_pod_anew_and_ends_with_an_answer,
        trouble::a_detached_up_comes_up_by_itself,
        trouble::an_image_that_cannot_be_pulled_is_named,
        trouble::a_worker_without_a_gpu_waits_and_one_that_crashes_ends_it,
        trouble::a_change_that_fails_is_rolled_back_and_answers_again,
        chat::a_forward_outlives_the_frontend_that_a_chat_loses,
        logs::a_restarted_container_is_read_on_and_a_cut_stream_is_mended,
        tunnel::the_whole_answer_comes_after_a_half_close,
        tunnel::twenty_connections_at_once_keep_their_bytes_apart,
        tunnel::a_tunnel_outlives_its_pod_and_its_api_server,
        tunnel::a_port_that_nobody_listens_on_is_told,
    ];
    // The same deployments where the cluster stores the older object version, with an older Dynamo.
    let older = cases![
        plugin::up_downloads_the_model_and_ends_with_an_answer,
        plugin::the_same_up_again_changes_nothing,
        plugin::killed_at_any_step_the_same_command_goes_on,
        plugin::a_disaggregated_graph_with_kv_routing_answers,
        plugin::the_kv_router_finds_the_cached_prefix,
        plugin::port_forward_carries_a_streamed_chat_until_down,
        restart::a_restart_starts_every_pod_anew_and_ends_with_an_answer,
    ];
    // It takes the node from everybody.
    let alone = cases![trouble::a_node_whose_kubelet_stops_is_named_until_it_goes_on];
    // One after the other: there is one node at a time on a machine.
    let passed = [(GraphGeneration::V1Beta1, vec![newer]), (GraphGeneration::V1Alpha1, vec![older, alone])]
        .map(|(generation, groups)| tier::passes("node", missing(), groups, || start(generation)));
    tier::exit_code(passed == [true, true])
}

/// An older release serves where the cluster stores the older object version.
fn release(generation: GraphGeneration) -> &'static str {
    match generation {
        GraphGeneration::V1Alpha1 => runtime::OLDER,
        GraphGeneration::V1Beta1 => runtime::NEWER,
    }
}

fn start(generation: GraphGeneration) -> Outcome<(Runtime, Shared)> {
    let prepared = kubernetes::prepare(Layout::Node(generation))?;
    let runtime = Runtime::new()?;
    let shared = runtime.block_on(async {
        let cluster = prepared.start().await?;
        node::import(cluster.folder(), &runtime::archive(release(generation))?)?;
        node::import(cluster.folder(), &fetcher::archive(cluster.folder())?)?;
        let plane = cluster.control_plane(generation)?;
        node::make_storage_classes(plane).await?;
        let log = cluster.folder().join("log/operator.log");
        let operator = Operator::start(plane, cluster.authority(), &log).await?;
        let model_folder = cluster.folder().join("hub/tiny");
        model::write_with_weights(&model_folder, WEIGHTS_BYTES)?;
        let gated = Access::Gated { token: TOKEN.to_owned() };
        let repositories = vec![
            Repository::from_folder(MODEL, &model_folder)?,
            Repository::from_folder(GATED_MODEL, &model_folder)?.with_access(gated),
        ];
        let listen = SocketAddr::from((node::ADDRESS, 0));
        let hub =
            Hub::start(Settings { listen, cdn_listen: listen, repositories, ..Settings::default() }).await?;
        let hub_environment = format!("HF_ENDPOINT={}", hub.url);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Shared {
            _operator: operator,
            hub,
            hub_environment,
            model_folder,
            cluster,
            generation,
        })
    })?;
    Ok((runtime, shared))
}
