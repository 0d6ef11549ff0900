//! The argument list of one worker, in the words of one release. Lists, never a shell line.

use crate::intent::{Backend, RouterMode, ServingIntent, WorkerGroup, WorkerRole};
use crate::release::{ConnectorSpelling, KvEvents, ModelCard, Release, RoleSpelling};

/// NIXL in both directions, as Dynamo's own examples write it for prefill and decode.
const NIXL: &str = r#"{"kv_connector":"NixlConnector","kv_role":"kv_both"}"#;
/// The publisher that the KV router listens to; 20080 is the port of Dynamo's own examples.
const KV_EVENTS: &str =
    r#"{"publisher":"zmq","topic":"kv-events","endpoint":"tcp://*:20080","enable_kv_cache_events":true}"#;

/// Arguments of a worker of `role`, after its command.
pub fn engine_args(
    intent: &ServingIntent,
    release: &Release,
    role: WorkerRole,
    group: &WorkerGroup,
    model_folder: &str,
) -> Vec<String> {
    let mut args = Arguments::default();
    match intent.backend {
        Backend::Vllm => {
            args.pair("--model", model_folder);
            args.pair("--served-model-name", &intent.served_model_name);
            args.role(release, role);
            args.vllm(intent, release, role, group);
        }
        Backend::Mocker => {
            args.pair("--model-path", mocker_path(intent, release, model_folder));
            args.pair("--model-name", &intent.served_model_name);
            args.role(release, role);
        }
    }
    args.0.extend(intent.engine_args.iter().chain(&group.engine_args).cloned());
    args.0
}

/// 0.9.1's mocker publishes its own path as the model's name, so both must be the same relative path.
fn mocker_path<'a>(intent: &'a ServingIntent, release: &Release, model_folder: &'a str) -> &'a str {
    match release.model_card {
        ModelCard::FrontendResolvesName => &intent.served_model_name,
        ModelCard::FrontendReadsPath | ModelCard::WorkersServe => model_folder,
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

    fn vllm(&mut self, intent: &ServingIntent, release: &Release, role: WorkerRole, group: &WorkerGroup) {
        let parallelism = group.parallelism;
        if parallelism.tensor > 1 {
            self.pair("--tensor-parallel-size", &parallelism.tensor.to_string());
        }
        if parallelism.pipeline > 1 {
            self.pair("--pipeline-parallel-size", &parallelism.pipeline.to_string());
        }
        if parallelism.expert {
            self.flag("--enable-expert-parallel");
        }
        if intent.trust_remote_code {
            self.flag("--trust-remote-code");
        }
        match (release.connector_spelling, role) {
            (ConnectorSpelling::Connector, WorkerRole::Prefill | WorkerRole::Decode) => {
                self.pair("--connector", "nixl");
            }
            (ConnectorSpelling::Connector, _) => self.pair("--connector", "none"),
            (ConnectorSpelling::KvTransferConfig, WorkerRole::Prefill | WorkerRole::Decode) => {
                self.pair("--kv-transfer-config", NIXL);
            }
            (ConnectorSpelling::KvTransferConfig, _) => {}
        }
        let announces = role != WorkerRole::Decode && intent.router.mode == RouterMode::Kv;
        if announces && release.kv_events == KvEvents::Configured {
            self.pair("--kv-events-config", KV_EVENTS);
        }
    }
}
