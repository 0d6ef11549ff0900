//! What an answer means together with everything that is said already: whether it can be taken, and how many GPUs it is.

use crate::commands::deployment::check_plan;
use crate::commands::wizard::questions::NONE;
use crate::error::Explain;
use crate::intent::request::{Field, Layer, Merged, Source, find};
use crate::intent::{Backend, Cache, Fallback, ServingIntent, resolve};

pub(super) fn field(path: &str) -> &'static Field {
    find(path).expect("the table has every path that is written here")
}

/// What is known when a field is asked for.
pub(super) struct About {
    pub path: String,
    pub layers: Vec<Layer>,
    pub name_length: usize,
}

impl About {
    pub(super) fn check(&self, answer: &str) -> std::result::Result<(), String> {
        // These say nothing.
        if matches!(
            (self.path.as_str(), answer),
            ("engineArgs", NONE) | ("cache.claim", Cache::DEFAULT_CLAIM)
        ) {
            return Ok(());
        }
        let intent = self.with(answer)?;
        if self.path == "name" && intent.name.len() > self.name_length {
            return Err(format!("at most {} characters fit", self.name_length));
        }
        let said = Merged::of(self.layers.iter().cloned().chain([self.layer(answer)?]));
        check_plan(intent, &said).map_err(|error| in_one_line(error.as_ref()))
    }

    /// GPUs, where the answer decides how many.
    pub(super) fn meaning(&self, answer: &str) -> String {
        let decides =
            ["Size", "replicas"].iter().any(|end| self.path.ends_with(end)) && self.path != "cache.size";
        let Ok(intent) = self.with(answer) else { return String::new() };
        if !decides || intent.backend == Backend::Mocker {
            return String::new();
        }
        let role = self.path.split('.').next().unwrap_or_default();
        let groups = intent.topology.groups();
        let own = groups.iter().find(|(of, _)| of.component_name() == role);
        let each = own.map_or(0, |(_, group)| group.parallelism.gpus());
        let gpus = |count: u32| if count == 1 { "1 GPU".to_owned() } else { format!("{count} GPUs") };
        format!("= {} a worker, {} in all", gpus(each), gpus(intent.gpus()))
    }

    fn with(&self, answer: &str) -> std::result::Result<ServingIntent, String> {
        trial(self.layers.iter().cloned().chain([self.layer(answer)?]), self.name_length)
    }

    /// The answer, as its flag would say it.
    fn layer(&self, answer: &str) -> std::result::Result<Layer, String> {
        let mut layer = Layer::of(Source::Flag);
        let field = field(&self.path);
        match self.path.as_str() {
            "engineArgs" => {
                let args: Vec<&str> = answer.split_whitespace().collect();
                layer.put(field, &args.into()).map_err(|error| error.to_string())?;
            }
            _ => layer.say_one(field, answer).map_err(|error| error.to_string())?,
        }
        Ok(layer)
    }
}

pub(super) fn trial(
    layers: impl IntoIterator<Item = Layer>,
    name_length: usize,
) -> std::result::Result<ServingIntent, String> {
    let fallback = Fallback { model: None, backend: Backend::Vllm, name_length };
    resolve(&Merged::of(layers), &fallback).map_err(|error| in_one_line(&error))
}

fn in_one_line(error: &dyn Explain) -> String {
    let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{error}{hint}")
}
