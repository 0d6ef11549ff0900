//! The argument list of one worker, in the words of one release. Lists, never a shell line.

use super::components::Draft;
use super::engine_flags::{self, CONNECTOR, EVENTS, TRANSFER};
use super::environment;
use super::kv_offload::offloads;
use crate::intent::engine_flags::has;
use crate::intent::{Backend, Parallelism, RouterMode, WorkerGroup, WorkerRole};
use crate::release::{ConnectorSpelling, KvEvents, Kvbm, ModelCard, Release, RoleSpelling};

/// NIXL in both directions, as Dynamo's own examples write it for prefill and decode.
const NIXL: &str = r#"{"kv_connector":"NixlConnector","kv_role":"kv_both"}"#;
/// KVBM alone, for an aggregated worker.
const KVBM: &str = r#"{"kv_connector":"DynamoConnector","kv_connector_module_path":"kvbm.vllm_integration.connector","kv_role":"kv_both"}"#;
/// KVBM and then NIXL, for a prefill worker: decode pulls from what is offloaded as well.
const KVBM_AND_NIXL: &str = r#"{"kv_connector":"PdConnector","kv_connector_extra_config":{"connectors":[{"kv_connector":"DynamoConnector","kv_connector_module_path":"kvbm.vllm_integration.connector","kv_role":"kv_both"},{"kv_connector":"NixlConnector","kv_role":"kv_both"}]},"kv_connector_module_path":"kvbm.vllm_integration.connector","kv_role":"kv_both"}"#;
/// The publisher that the KV router listens to; 20080 is the port of Dynamo's own examples.
const KV_EVENTS: &str =
    r#"{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:20080","enable_kv_cache_events":true}"#;

/// Arguments of a worker of `role`, after its command.
pub(super) fn engine_args(draft: &Draft<'_>, role: WorkerRole, group: &WorkerGroup) -> Vec<String> {
    let Draft { intent, release, model_folder, .. } = draft;
    let mut args = Arguments::default();
    match intent.backend {
        Backend::Vllm => {
            args.pair("--model", model_folder);
            args.pair("--served-model-name", &intent.served_model_name);
            args.role(release, role);
            args.parallel(group.parallelism);
            if intent.trust_remote_code {
                args.flag("--trust-remote-code");
            }
            let own = engine_flags::of_role(intent, group);
            args.connector(draft, role, &own);
            args.offload(draft, role);
            args.kv_events(draft, role, &own);
        }
        Backend::Mocker => {
            args.pair("--model-path", mocker_path(draft));
            args.pair("--model-name", &intent.served_model_name);
            args.role(release, role);
            args.above_one("--data-parallel-size", group.parallelism.data);
        }
    }
    let own = [&intent.engine_args, &group.engine_args].into_iter();
    args.0.extend(own.flat_map(|args| environment::for_a_worker(args, release)).cloned());
    args.0
}

/// 0.9.1's mocker publishes its own path as the model's name, so both must be the same relative path.
fn mocker_path<'a>(draft: &'a Draft<'_>) -> &'a str {
    match draft.release.model_card {
        ModelCard::FrontendResolvesName => &draft.intent.served_model_name,
        ModelCard::FrontendReadsPath | ModelCard::WorkersServe => draft.model_folder,
    }
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.into());
    }

    fn pair(&mut self, flag: &str, value: &str) {
        self.0.extend([flag.into(), value.into()]);
    }

    /// Long names with the value apart: the operators look for just these when a worker spans nodes.
    fn above_one(&mut self, flag: &str, value: u32) {
        if value > 1 {
            self.pair(flag, &value.to_string());
        }
    }

    fn role(&mut self, release: &Release, role: WorkerRole) {
        match (release.role_spelling, role) {
            (_, WorkerRole::Frontend | WorkerRole::Combined) => {}
            (RoleSpelling::Booleans, WorkerRole::Prefill) => self.flag("--is-prefill-worker"),
            (RoleSpelling::Booleans, WorkerRole::Decode) => self.flag("--is-decode-worker"),
            (RoleSpelling::DisaggregationMode, WorkerRole::Prefill) => {
                self.pair("--disaggregation-mode", "prefill");
            }
            (RoleSpelling::DisaggregationMode, WorkerRole::Decode) => {
                self.pair("--disaggregation-mode", "decode");
            }
        }
    }

    fn parallel(&mut self, parallelism: Parallelism) {
        self.above_one("--tensor-parallel-size", parallelism.tensor);
        self.above_one("--pipeline-parallel-size", parallelism.pipeline);
        self.above_one("--data-parallel-size", parallelism.data);
        if parallelism.expert {
            self.flag("--enable-expert-parallel");
        }
    }

    /// How KV blocks leave the GPU: to the other role, to CPU memory and disk, or both. A connector of the person's
    /// own takes the place of ours.
    fn connector(&mut self, draft: &Draft<'_>, role: WorkerRole, own: &[String]) {
        let release = draft.release;
        match (release.connector_spelling, has(own, CONNECTOR), has(own, TRANSFER)) {
            (ConnectorSpelling::Connector, true, _) | (ConnectorSpelling::KvTransferConfig, _, true) => {
                return;
            }
            // Both at once, the default among them, end a worker of that release.
            (ConnectorSpelling::Connector, false, true) => return self.pair(CONNECTOR, "none"),
            (ConnectorSpelling::Connector | ConnectorSpelling::KvTransferConfig, _, false) => {}
        }
        let transfers = matches!(role, WorkerRole::Prefill | WorkerRole::Decode);
        let offloading = draft.offload.is_some() && offloads(role);
        match (release.connector_spelling, offloading, transfers) {
            (ConnectorSpelling::Connector, true, true) => {
                self.pair(CONNECTOR, "kvbm");
                self.flag("nixl");
            }
            (ConnectorSpelling::Connector, true, false) => self.pair(CONNECTOR, "kvbm"),
            (ConnectorSpelling::Connector, false, true) => self.pair(CONNECTOR, "nixl"),
            (ConnectorSpelling::Connector, false, false) => self.pair(CONNECTOR, "none"),
            (ConnectorSpelling::KvTransferConfig, true, true) => {
                self.pair(TRANSFER, KVBM_AND_NIXL);
            }
            (ConnectorSpelling::KvTransferConfig, true, false) => self.pair(TRANSFER, KVBM),
            (ConnectorSpelling::KvTransferConfig, false, true) => self.pair(TRANSFER, NIXL),
            (ConnectorSpelling::KvTransferConfig, false, false) => {}
        }
    }

    /// What KVBM wants besides. Both roles: blocks must have the same layout on either side.
    fn offload(&mut self, draft: &Draft<'_>, role: WorkerRole) {
        if draft.offload.is_none() {
            return;
        }
        match draft.release.kvbm {
            Kvbm::Eager if offloads(role) => self.flag("--enforce-eager"),
            Kvbm::Eager | Kvbm::Works => {}
            Kvbm::WithoutHybridCache | Kvbm::StallsAggregated | Kvbm::Deprecated => {
                self.flag("--disable-hybrid-kv-cache-manager");
            }
        }
    }

    fn kv_events(&mut self, draft: &Draft<'_>, role: WorkerRole, own: &[String]) {
        let router = &draft.intent.router;
        let announces = role != WorkerRole::Decode
            && router.mode == RouterMode::Kv
            && router.kv_events
            && !has(own, EVENTS);
        if announces && draft.release.kv_events == KvEvents::Configured {
            self.pair(EVENTS, KV_EVENTS);
        }
    }
}
