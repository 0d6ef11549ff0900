//! The request that serves a prediction: as settings, as a `ServingRequest`, and as the command of `up`.

use serde_json::{Value, json};

use super::Prediction;
use crate::command::SuggestedCommand;
use crate::intent::request::{Setting, SettingSource, SettingsLayer, find_field, to_args, to_document};
use crate::intent::{ModelRef, Topology, WorkerGroup};

/// Returns the settings of a prediction, without the model. `max_model_len` limits the length of requests.
pub fn request_settings(prediction: &Prediction, max_model_len: Option<u64>) -> SettingsLayer {
    let mut settings = RequestSettings(SettingsLayer::new(SettingSource::Flag));
    settings.add("mode", prediction.topology.mode());
    let mut common: Vec<String> =
        max_model_len.map(|tokens| format!("--max-model-len={tokens}")).into_iter().collect();
    match &prediction.topology {
        Topology::Aggregated { worker } => {
            settings.add_group("worker", worker);
            common.extend(worker.engine_args.iter().cloned());
        }
        Topology::Disaggregated { prefill, decode } => {
            for (role, group) in [("prefill", prefill), ("decode", decode)] {
                settings.add_group(role, group);
                settings.add(&format!("{role}.args"), group.engine_args.clone());
            }
        }
    }
    if !common.is_empty() {
        settings.add("engineArgs", common);
    }
    settings.0
}

struct RequestSettings(SettingsLayer);

impl RequestSettings {
    fn add(&mut self, path: &str, value: impl Into<Value>) {
        let field = find_field(path).expect("the table contains every path used here");
        self.0.set_json(field, &value.into()).expect("a prediction has values of the field's type");
    }

    /// Adds the sizes that differ from the defaults.
    fn add_group(&mut self, role: &str, group: &WorkerGroup) {
        let parallelism = group.parallelism;
        self.add(&format!("{role}.replicas"), group.replicas);
        self.add(&format!("{role}.tensorParallelSize"), parallelism.tensor);
        for (field, size) in [
            ("pipelineParallelSize", parallelism.pipeline),
            ("dataParallelSize", parallelism.data),
            ("nodes", group.nodes),
        ] {
            if size > 1 {
                self.add(&format!("{role}.{field}"), size);
            }
        }
        if parallelism.expert {
            self.add(&format!("{role}.enableExpertParallel"), true);
        }
    }
}

/// The settings with the model in front.
fn with_model(model: &ModelRef, settings: &[Setting]) -> Vec<Setting> {
    let field = find_field("model").expect("the table contains every path used here");
    let model = Setting { field, key: None, value: json!(model.to_string()) };
    std::iter::once(model).chain(settings.iter().cloned()).collect()
}

/// Returns the content of a request file.
pub fn request_document(model: &ModelRef, settings: &[Setting]) -> Value {
    to_document(&with_model(model, settings))
}

/// Returns the command of `up`. A folder can only be served on this machine.
pub fn up_command(model: &ModelRef, settings: &[Setting]) -> SuggestedCommand {
    let words = to_args(&with_model(model, settings));
    let (flags, engine_args) = match words.iter().position(|word| word == "--") {
        Some(at) => (&words[..at], &words[at + 1..]),
        None => (&words[..], &[][..]),
    };
    let mut command = SuggestedCommand::plugin("up");
    for word in flags {
        command = command.flag(word);
    }
    if matches!(model, ModelRef::Folder { .. }) {
        command = command.flag("--local");
    }
    for word in engine_args {
        command = command.engine_argument(word);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::{Backend, Fallback, Parallelism, request::MergedSettings, resolve};

    fn group(replicas: u32, tensor: u32, args: &[&str]) -> WorkerGroup {
        WorkerGroup {
            replicas,
            parallelism: Parallelism { tensor, ..Parallelism::default() },
            nodes: 1,
            engine_args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        }
    }

    fn model() -> ModelRef {
        ModelRef::parse("acme/tiny").expect("a model")
    }

    #[test]
    fn settings_resolve_to_the_predicted_topology() {
        let mut decode = group(2, 1, &["--max-num-seqs=512", "--max-num-batched-tokens=512"]);
        decode.parallelism = Parallelism { data: 16, expert: true, ..Parallelism::default() };
        decode.nodes = 2;
        for topology in [
            Topology::Disaggregated { prefill: group(2, 1, &["--max-num-seqs=1"]), decode },
            Topology::Aggregated { worker: group(8, 2, &[]) },
        ] {
            let layer = request_settings(&Prediction::example(topology.clone()), None);
            let fallback = Fallback { model: Some(model()), backend: Backend::Vllm, max_name_length: 40 };
            let intent =
                resolve(&MergedSettings::from_layers([layer]), &fallback).expect("a complete request");
            assert_eq!(intent.topology, topology);
        }
    }

    #[test]
    fn command_and_file_repeat_the_prediction() {
        let topology = Topology::Aggregated { worker: group(8, 1, &["--kv-cache-dtype=fp8"]) };
        let settings = request_settings(&Prediction::example(topology), Some(6500)).settings;
        assert_eq!(
            up_command(&model(), &settings).to_string(),
            "kubectl dynamo up acme/tiny --mode agg --replicas 8 --tp 1 -- --max-model-len=6500 --kv-cache-dtype=fp8"
        );
        assert_eq!(
            request_document(&model(), &settings),
            json!({
                "apiVersion": "kubectl-dynamo.dev/v1", "kind": "ServingRequest", "model": "acme/tiny", "mode": "agg",
                "worker": { "replicas": 8, "tensorParallelSize": 1 },
                "engineArgs": ["--max-model-len=6500", "--kv-cache-dtype=fp8"],
            })
        );
    }

    #[test]
    fn roles_have_their_own_engine_arguments() {
        let topology = Topology::Disaggregated {
            prefill: group(2, 1, &["--max-num-seqs=1"]),
            decode: group(6, 1, &["--max-num-seqs=512"]),
        };
        let settings = request_settings(&Prediction::example(topology), None).settings;
        assert_eq!(
            up_command(&model(), &settings).to_string(),
            "kubectl dynamo up acme/tiny --mode disagg --prefill-replicas 2 --prefill-tp 1 \
             --prefill-arg=--max-num-seqs=1 --decode-replicas 6 --decode-tp 1 --decode-arg=--max-num-seqs=512"
        );
    }

    #[test]
    fn folder_is_served_on_this_machine() {
        let folder = ModelRef::parse("./models/tiny").expect("a folder");
        let settings =
            request_settings(&Prediction::example(Topology::Aggregated { worker: group(1, 1, &[]) }), None);
        let command = up_command(&folder, &settings.settings).to_string();
        assert_eq!(command, "kubectl dynamo up ./models/tiny --mode agg --replicas 1 --tp 1 --local");
    }
}
