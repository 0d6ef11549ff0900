//! Builds the argument list of a worker for one release. Arguments are always a list, never a shell command
//! line.

use super::context::PlanContext;
use super::engine_flag_checks::{self, CONNECTOR_FLAG, KV_EVENTS_FLAG, KV_TRANSFER_FLAG};
use super::environment;
use super::kv_offload::can_offload;
use crate::intent::engine_flags::has_flag;
use crate::intent::{Backend, Parallelism, RouterMode, WorkerGroup, WorkerRole};
use crate::release::{ConnectorSpelling, KvEvents, Kvbm, ModelCard, Release, RoleSpelling};

/// NIXL in both directions, as in Dynamo's examples for prefill and decode.
const NIXL: &str = r#"{"kv_connector":"NixlConnector","kv_role":"kv_both"}"#;
/// KVBM without NIXL, for an aggregated worker.
const KVBM: &str = r#"{"kv_connector":"DynamoConnector","kv_connector_module_path":"kvbm.vllm_integration.connector","kv_role":"kv_both"}"#;
/// KVBM and then NIXL, for a prefill worker: decode also reads offloaded blocks.
const KVBM_AND_NIXL: &str = r#"{"kv_connector":"PdConnector","kv_connector_extra_config":{"connectors":[{"kv_connector":"DynamoConnector","kv_connector_module_path":"kvbm.vllm_integration.connector","kv_role":"kv_both"},{"kv_connector":"NixlConnector","kv_role":"kv_both"}]},"kv_connector_module_path":"kvbm.vllm_integration.connector","kv_role":"kv_both"}"#;
/// KV event publisher for the KV router. Port 20080 is from Dynamo's examples.
const KV_EVENTS: &str =
    r#"{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:20080","enable_kv_cache_events":true}"#;

/// Builds the arguments of a worker with this role.
pub(super) fn engine_args(context: &PlanContext<'_>, role: WorkerRole, group: &WorkerGroup) -> Vec<String> {
    let PlanContext { intent, release, model_folder, .. } = context;
    let mut args = ArgsBuilder::default();
    match intent.backend {
        Backend::Vllm => {
            args.push_option("--model", model_folder);
            args.push_option("--served-model-name", &intent.served_model_name);
            args.push_role(release, role);
            args.push_parallelism(group.parallelism);
            if intent.trust_remote_code {
                args.push_flag("--trust-remote-code");
            }
            let user_args = engine_flag_checks::args_for_group(intent, group);
            args.push_connector(context, role, &user_args);
            args.push_offload(context, role);
            args.push_kv_events(context, role, &user_args);
            // Every worker gets them: the frontend reads them from the workers' model cards.
            for (kind, name) in intent.parsers.names() {
                args.push_option(kind.worker_flag(), name);
            }
        }
        Backend::Mocker => {
            args.push_option("--model-path", mocker_path(context));
            args.push_option("--model-name", &intent.served_model_name);
            args.push_role(release, role);
            args.push_if_above_one("--data-parallel-size", group.parallelism.data);
        }
    }
    let user_args = [&intent.engine_args, &group.engine_args].into_iter();
    args.0.extend(user_args.flat_map(|args| environment::worker_args(args, release)).cloned());
    args.0
}

/// Model path for the mocker. The mocker of 0.9.1 publishes its path as the model name, so both must be the
/// same relative path.
fn mocker_path<'a>(context: &'a PlanContext<'_>) -> &'a str {
    match context.release.model_card {
        ModelCard::FrontendResolvesName => &context.intent.served_model_name,
        ModelCard::FrontendReadsPath | ModelCard::WorkersServe => context.model_folder,
    }
}

#[derive(Default)]
struct ArgsBuilder(Vec<String>);

impl ArgsBuilder {
    fn push_flag(&mut self, flag: &str) {
        self.0.push(flag.into());
    }

    fn push_option(&mut self, flag: &str, value: &str) {
        self.0.extend([flag.into(), value.into()]);
    }

    /// Adds the long flag and a separate value: for multi-node workers, the operators search for exactly this
    /// form.
    fn push_if_above_one(&mut self, flag: &str, value: u32) {
        if value > 1 {
            self.push_option(flag, &value.to_string());
        }
    }

    fn push_role(&mut self, release: &Release, role: WorkerRole) {
        match (release.role_spelling, role) {
            (_, WorkerRole::Frontend | WorkerRole::Aggregated) => {}
            (RoleSpelling::Booleans, WorkerRole::Prefill) => self.push_flag("--is-prefill-worker"),
            (RoleSpelling::Booleans, WorkerRole::Decode) => self.push_flag("--is-decode-worker"),
            (RoleSpelling::DisaggregationMode, WorkerRole::Prefill) => {
                self.push_option("--disaggregation-mode", "prefill");
            }
            (RoleSpelling::DisaggregationMode, WorkerRole::Decode) => {
                self.push_option("--disaggregation-mode", "decode");
            }
        }
    }

    fn push_parallelism(&mut self, parallelism: Parallelism) {
        self.push_if_above_one("--tensor-parallel-size", parallelism.tensor);
        self.push_if_above_one("--pipeline-parallel-size", parallelism.pipeline);
        self.push_if_above_one("--data-parallel-size", parallelism.data);
        if parallelism.expert {
            self.push_flag("--enable-expert-parallel");
        }
    }

    /// Adds the KV connector: for the transfer between roles, for offload to CPU memory and disk, or for
    /// both. A connector from the user's engine flags replaces the plugin's connector.
    fn push_connector(&mut self, context: &PlanContext<'_>, role: WorkerRole, user_args: &[String]) {
        let release = context.release;
        match (
            release.connector_spelling,
            has_flag(user_args, CONNECTOR_FLAG),
            has_flag(user_args, KV_TRANSFER_FLAG),
        ) {
            (ConnectorSpelling::Connector, true, _) | (ConnectorSpelling::KvTransferConfig, _, true) => {
                return;
            }
            // Workers of this release fail if both flags are in effect, and `--connector` has a default.
            (ConnectorSpelling::Connector, false, true) => return self.push_option(CONNECTOR_FLAG, "none"),
            (ConnectorSpelling::Connector | ConnectorSpelling::KvTransferConfig, _, false) => {}
        }
        let transfers_kv = matches!(role, WorkerRole::Prefill | WorkerRole::Decode);
        let offloading = context.offload.is_some() && can_offload(role);
        match (release.connector_spelling, offloading, transfers_kv) {
            (ConnectorSpelling::Connector, true, true) => {
                self.push_option(CONNECTOR_FLAG, "kvbm");
                self.push_flag("nixl");
            }
            (ConnectorSpelling::Connector, true, false) => self.push_option(CONNECTOR_FLAG, "kvbm"),
            (ConnectorSpelling::Connector, false, true) => self.push_option(CONNECTOR_FLAG, "nixl"),
            (ConnectorSpelling::Connector, false, false) => self.push_option(CONNECTOR_FLAG, "none"),
            (ConnectorSpelling::KvTransferConfig, true, true) => {
                self.push_option(KV_TRANSFER_FLAG, KVBM_AND_NIXL);
            }
            (ConnectorSpelling::KvTransferConfig, true, false) => self.push_option(KV_TRANSFER_FLAG, KVBM),
            (ConnectorSpelling::KvTransferConfig, false, true) => self.push_option(KV_TRANSFER_FLAG, NIXL),
            (ConnectorSpelling::KvTransferConfig, false, false) => {}
        }
    }

    /// Adds further flags for KVBM, for both roles, because their blocks must have the same layout.
    fn push_offload(&mut self, context: &PlanContext<'_>, role: WorkerRole) {
        if context.offload.is_none() {
            return;
        }
        match context.release.kvbm {
            Kvbm::Eager if can_offload(role) => self.push_flag("--enforce-eager"),
            Kvbm::Eager | Kvbm::Works => {}
            Kvbm::WithoutHybridCache | Kvbm::StallsAggregated | Kvbm::Deprecated => {
                self.push_flag("--disable-hybrid-kv-cache-manager");
            }
        }
    }

    fn push_kv_events(&mut self, context: &PlanContext<'_>, role: WorkerRole, user_args: &[String]) {
        let router = &context.intent.router;
        let publishes_events = role != WorkerRole::Decode
            && router.mode == RouterMode::Kv
            && router.kv_events
            && !has_flag(user_args, KV_EVENTS_FLAG);
        if publishes_events && context.release.kv_events == KvEvents::Configured {
            self.push_option(KV_EVENTS_FLAG, KV_EVENTS);
        }
    }
}
