//! Validates an answer together with all earlier settings, and previews the number of GPUs that it requires.
//! It contacts no cluster and no hub.

use super::answer_error::AnswerError;
use super::taken_names::TakenNames;
use crate::workflow::resolve::check_plan;
use kubectl_dynamo_core::intent::request::{
    Field, MergedSettings, RequestError, SettingSource, SettingsLayer, find_field,
};
use kubectl_dynamo_core::intent::{Backend, Cache, Fallback, IntentError, ServingIntent, resolve};

/// The answer that omits a value.
pub(super) const NONE: &str = "none";

pub(super) fn field(path: &str) -> &'static Field {
    find_field(path).expect("every path in the wizard is in the field table")
}

/// The settings that are known when the wizard asks for a field.
pub(super) struct AnswerContext {
    pub path: String,
    pub layers: Vec<SettingsLayer>,
    pub max_name_length: usize,
    pub taken_names: TakenNames,
}

impl AnswerContext {
    pub(super) fn check(&self, answer: &str) -> Result<(), AnswerError> {
        // These answers keep the default.
        if matches!((self.path.as_str(), answer), ("engineArgs", NONE) | ("cache.claim", Cache::DEFAULT_PVC))
        {
            return Ok(());
        }
        let intent = self.resolve_with(answer)?;
        if self.path == "name" && intent.name.len() > self.max_name_length {
            return Err(AnswerError::NameTooLong { max: self.max_name_length });
        }
        if self.path == "name" {
            self.taken_names.check(&intent, self.max_name_length)?;
        }
        let settings =
            MergedSettings::from_layers(self.layers.iter().cloned().chain([self.to_layer(answer)?]));
        check_plan(intent, &settings).map_err(AnswerError::Plan)
    }

    /// Returns the GPUs of each role and in total if the answer can change them, else an empty string.
    pub(super) fn gpu_preview(&self, answer: &str) -> String {
        let affects_gpus =
            ["Size", "replicas"].iter().any(|end| self.path.ends_with(end)) && self.path != "cache.size";
        let Ok(intent) = self.resolve_with(answer) else { return String::new() };
        if !affects_gpus || intent.backend == Backend::Mocker {
            return String::new();
        }
        gpu_totals(&intent)
    }

    fn resolve_with(&self, answer: &str) -> Result<ServingIntent, AnswerError> {
        resolve_trial(self.layers.iter().cloned().chain([self.to_layer(answer)?]), self.max_name_length)
            .map_err(AnswerError::Intent)
    }

    /// Returns the answer as a settings layer, as if the flag had been typed.
    fn to_layer(&self, answer: &str) -> Result<SettingsLayer, RequestError> {
        let mut layer = SettingsLayer::new(SettingSource::Flag);
        let field = field(&self.path);
        match self.path.as_str() {
            "engineArgs" => {
                let args: Vec<&str> = answer.split_whitespace().collect();
                layer.set_json(field, &args.into())?;
            }
            _ => layer.push_str(field, answer)?,
        }
        Ok(layer)
    }
}

/// Returns the GPUs of each role and in total: `GPUs: prefill 2 × 4 = 8, decode 1 × 4 = 4, total 12`.
fn gpu_totals(intent: &ServingIntent) -> String {
    let groups = intent.topology.groups();
    let roles = groups.iter().map(|(role, group)| {
        format!("{role} {} × {} = {}", group.replicas, group.parallelism.gpus(), group.gpus())
    });
    format!("GPUs: {}, total {}", roles.collect::<Vec<_>>().join(", "), intent.gpus())
}

pub(super) fn resolve_trial(
    layers: impl IntoIterator<Item = SettingsLayer>,
    max_name_length: usize,
) -> Result<ServingIntent, IntentError> {
    let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length };
    resolve(&MergedSettings::from_layers(layers), &fallback)
}
