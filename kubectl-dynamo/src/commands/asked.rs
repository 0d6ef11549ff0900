//! What was asked: the command line, the file of `-f` and the settings a person keeps, as layers that know their
//! source. The live deployment, the strongest of the weaker ones, is added where a cluster is asked.

mod file;

use serde_json::Value;

use super::config::settings;
use super::serving_flags::ServingFlags;
use crate::error::Result;
use crate::intent::request::{Layer, Leaf, Merged, Source, find};
use crate::intent::{Backend, Fallback, IntentError, ModelRef, TokenSecret, meant_name, resolve};
use file::Content;

/// Everything that was said without asking a cluster.
pub(super) struct Asked {
    pub layers: Vec<Layer>,
    /// A deployment that was named in the model's place, so it must be there.
    pub existing: Option<String>,
}

/// What is to be done.
pub(super) enum Wanted {
    Request(Asked),
    /// Objects of a file, to be applied as they are.
    Objects(Vec<Value>),
}

impl Wanted {
    /// Whether nothing says which model or which deployment.
    pub(super) fn names_nothing(&self) -> bool {
        match self {
            Self::Request(asked) => {
                let said = asked.merged();
                said.get("model").is_none() && said.get("name").is_none()
            }
            Self::Objects(_) => false,
        }
    }
}

/// Collects it.
///
/// # Errors
/// Whatever cannot be read, named as it was said.
pub(super) fn wanted(flags: &ServingFlags) -> Result<Wanted> {
    let [mut typed, set] = flags.layers()?;
    let mut existing = None;
    match flags.target.as_deref().map(ModelRef::parse) {
        None => {}
        Some(Ok(_)) => say(&mut typed, "model", flags.target.as_deref().unwrap_or_default()),
        Some(Err(IntentError::BareWord { given })) => {
            say(&mut typed, "name", &given);
            existing = Some(given);
        }
        Some(Err(error)) => return Err(error.into()),
    }
    let mut layers = vec![typed, set];
    match flags.file.as_deref().map(file::content).transpose()? {
        None => {}
        Some(Content::Request(layer)) => layers.push(layer),
        Some(Content::Objects(objects)) => {
            let asks =
                layers.iter().flat_map(|layer| layer.leaves.iter().map(move |leaf| (layer, leaf))).next();
            if let Some((layer, leaf)) = asks {
                let one = layer.source.wording(leaf.field, leaf.key.as_deref());
                let other = format!("-f {}", flags.file.as_deref().unwrap_or_default());
                let why = "a DynamoGraphDeployment of a file is applied as it is";
                return Err(IntentError::Contradiction { one, other, why }.into());
            }
            return Ok(Wanted::Objects(objects));
        }
    }
    layers.extend(settings::layers()?);
    Ok(Wanted::Request(Asked { layers, existing }))
}

/// The Secret of Dynamo's own examples, where nobody names one.
pub(super) fn usual_token_secret() -> Layer {
    let mut layer = Layer::of(Source::Default);
    say(&mut layer, "hfTokenSecret", TokenSecret::DEFAULT_NAME);
    layer
}

fn say(layer: &mut Layer, path: &str, text: &str) {
    let field = find(path).expect("the table has every path that is written here");
    layer.leaves.push(Leaf { field, key: None, value: text.into() });
}

impl Asked {
    /// All of it as one.
    pub(super) fn merged(&self) -> Merged {
        Merged::of(self.layers.clone())
    }

    /// Checks all that can be checked before anything is asked of a cluster.
    ///
    /// # Errors
    /// What no live deployment can make good.
    pub(super) fn check(&self) -> Result<()> {
        let merged = self.merged();
        let fallback = Fallback { model: None, backend: Backend::Vllm, name_length: usize::MAX };
        let name_is_known = meant_name(&merged, &fallback).map(|_| merged.get("name").is_some());
        match (resolve(&merged, &fallback), name_is_known) {
            (_, Err(error)) => Err(error.into()),
            // The deployment that is there may say the mode, the tier or the model that is missing.
            (Err(IntentError::OtherMode { .. } | IntentError::Alone { .. }), _)
            | (Err(IntentError::NoModel), Ok(true))
            | (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The first thing that was said of this deployment and is among `paths`.
    pub(super) fn says_one_of(&self, paths: &[&str]) -> Option<String> {
        let own = self.layers.iter().filter(|layer| layer.source.is_of_this_deployment());
        let mut said = own.flat_map(|layer| layer.leaves.iter().map(move |leaf| (layer, leaf)));
        let (layer, leaf) = said.find(|(_, leaf)| paths.contains(&leaf.field.path))?;
        Some(match layer.source {
            Source::Flag => leaf.field.flag.into(),
            _ => layer.source.wording(leaf.field, leaf.key.as_deref()),
        })
    }
}
