//! Collects the settings of a request from the command line, the file of `-f`, variables, and config files,
//! as layers that record their source. The live deployment is added later, when the cluster is queried. This
//! module must not access a cluster.

mod manifest_file;

use serde_json::Value;

use crate::settings;
use crate::workflow::serving_input::ServingInput;
use crate::workflow::sources::manifest_file::ManifestContent;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::{
    MergedSettings, Setting, SettingSource, SettingsLayer, find_field,
};
use kubectl_dynamo_core::intent::{
    Backend, Fallback, IntentError, ModelRef, TokenSecret, resolve, resolve_name,
};

/// The settings layers of a request that are available without a cluster.
pub(crate) struct RequestLayers {
    pub layers: Vec<SettingsLayer>,
    /// A deployment that was named in place of the model; it must exist.
    pub existing_name: Option<String>,
}

/// The input of `up`, `render`, `diff`, and `check`.
pub(crate) enum RequestInput {
    Request(RequestLayers),
    /// Objects of a manifest, to be applied unchanged.
    Manifest(Vec<Value>),
}

impl RequestInput {
    /// Returns whether the input names neither a model nor a deployment.
    pub(crate) fn is_empty_target(&self) -> bool {
        match self {
            Self::Request(layers) => {
                let merged = layers.merged();
                merged.get("model").is_none() && merged.get("name").is_none()
            }
            Self::Manifest(_) => false,
        }
    }

    /// Checks everything of a request that can be checked before the cluster is queried.
    ///
    /// # Errors
    /// Those of [`RequestLayers::check`].
    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Request(layers) => layers.check(),
            Self::Manifest(_) => Ok(()),
        }
    }
}

/// Collects all settings layers for a command line.
///
/// # Errors
/// Flags, files, variables, and config files that cannot be read. The error names the setting as the user
/// wrote it.
pub(crate) fn collect_input(flags: &ServingInput) -> Result<RequestInput> {
    let [mut flag_layer, set_layer] = flags.layers()?;
    let mut existing_name = None;
    match flags.target.as_deref().map(ModelRef::parse) {
        None => {}
        Some(Ok(_)) => push_setting(&mut flag_layer, "model", flags.target.as_deref().unwrap_or_default()),
        Some(Err(IntentError::UnknownDeployment { given: name })) => {
            push_setting(&mut flag_layer, "name", &name);
            existing_name = Some(name);
        }
        Some(Err(error)) => return Err(error.into()),
    }
    let mut layers = vec![flag_layer, set_layer];
    match flags.file.as_deref().map(manifest_file::read).transpose()? {
        None => {}
        Some(ManifestContent::Request(layer)) => layers.push(layer),
        Some(ManifestContent::Objects(objects)) => {
            let first_setting =
                layers.iter().flat_map(|layer| layer.settings.iter().map(move |leaf| (layer, leaf))).next();
            if let Some((layer, leaf)) = first_setting {
                let one = layer.source.describe(leaf.field, leaf.key.as_deref());
                let other = format!("-f {}", flags.file.as_deref().unwrap_or_default());
                let why = "a DynamoGraphDeployment from a file is applied unchanged";
                return Err(IntentError::Contradiction { one, other, why }.into());
            }
            return Ok(RequestInput::Manifest(objects));
        }
    }
    layers.extend(settings::layers()?);
    Ok(RequestInput::Request(RequestLayers { layers, existing_name }))
}

/// Returns the token Secret of Dynamo's examples, which is used if no Secret is specified.
pub(crate) fn default_token_secret() -> SettingsLayer {
    let mut layer = SettingsLayer::new(SettingSource::Default);
    push_setting(&mut layer, "hfTokenSecret", TokenSecret::DEFAULT_NAME);
    layer
}

fn push_setting(layer: &mut SettingsLayer, path: &str, text: &str) {
    let field = find_field(path).expect("every path used here is in the field table");
    layer.settings.push(Setting { field, key: None, value: text.into() });
}

impl RequestLayers {
    /// Merges the layers; the strongest source of each field wins.
    pub(crate) fn merged(&self) -> MergedSettings {
        MergedSettings::from_layers(self.layers.clone())
    }

    /// Checks everything that can be checked before the cluster is queried.
    ///
    /// # Errors
    /// Contradictions and missing settings that a live deployment cannot resolve.
    pub(crate) fn check(&self) -> Result<()> {
        let merged = self.merged();
        let fallback = Fallback { model: None, backend: Backend::Vllm, max_name_length: usize::MAX };
        let has_name = resolve_name(&merged, &fallback).map(|_| merged.get("name").is_some());
        match (resolve(&merged, &fallback), has_name) {
            (_, Err(error)) => Err(error.into()),
            // The live deployment may provide the missing mode, tier, or model.
            (Err(IntentError::WrongMode { .. } | IntentError::MissingCompanionFlag { .. }), _)
            | (Err(IntentError::NoModel), Ok(true))
            | (Ok(_), _) => Ok(()),
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Returns the first setting of this deployment that is among `paths`, as the user wrote it.
    pub(crate) fn first_set_of(&self, paths: &[&str]) -> Option<String> {
        let own_layers = self.layers.iter().filter(|layer| layer.source.is_deployment_specific());
        let mut settings = own_layers.flat_map(|layer| layer.settings.iter().map(move |leaf| (layer, leaf)));
        let (layer, leaf) = settings.find(|(_, leaf)| paths.contains(&leaf.field.path))?;
        Some(match layer.source {
            SettingSource::Flag => leaf.field.flag.into(),
            _ => layer.source.describe(leaf.field, leaf.key.as_deref()),
        })
    }
}
