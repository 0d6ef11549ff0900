//! Facts about a model: its configuration from folders of this machine, and its configuration, size, and
//! accessibility from the hub within a short time limit. Missing facts must not stop a command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model_fetcher::{FetchOptions, HubAccess};
use model_fetcher_contract::weights::{FileUse, LoadFormat, WeightIndex, classify_files, is_weight_index};
use model_fetcher_contract::{DEFAULT_ENDPOINT, environment, exit};
use serde_json::Value;

use crate::local::Folders;
use crate::report::{Report, Stage};
use crate::workflow::local::environment as local_environment;
use kubectl_dynamo_core::chat_template::{
    ChatTemplate, TEMPLATE_FILE, TEMPLATE_JSON_FILE, TOKENIZER_CONFIG_FILE,
};
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::fit::check_parallelism;
use kubectl_dynamo_core::intent::{Backend, ModelRef, ServingIntent};
use kubectl_dynamo_core::plan::model_cache::load_format;
use kubectl_dynamo_core::preflight::{AccessError, Fact, ModelLookup, ModelMetadata};

/// The file with the configuration of a model.
pub(crate) const CONFIG_FILE: &str = "config.json";

/// The file with the quantization of a ModelOpt checkpoint whose configuration does not contain it.
const QUANTIZATION_FILE: &str = "hf_quant_config.json";

/// The files that can contain the chat template.
const TEMPLATE_FILES: [&str; 3] = [TEMPLATE_FILE, TEMPLATE_JSON_FILE, TOKENIZER_CONFIG_FILE];

/// The file name endings of weights that vLLM loads without `--load-format`.
pub(crate) const WEIGHT_SUFFIXES: [&str; 3] = [".safetensors", ".bin", ".pt"];

/// The maximum time that a preflight check waits for the hub.
const HUB_TIMEOUT: Duration = Duration::from_secs(5);

/// The time after which the hub counts as unreachable, as in an isolated network: connections are refused, or their
/// packets are dropped. It is shorter than the limit for a slow answer.
const HUB_UNREACHABLE_TIMEOUT: Duration = Duration::from_millis(500);

/// Rejects parallelism that the model's configuration does not support, if this machine has the
/// configuration.
///
/// # Errors
/// [`kubectl_dynamo_core::fit::UnsupportedParallelism`].
pub(crate) fn check_cached_config(intent: &ServingIntent) -> Result<()> {
    check_config(cached_config(&intent.model).as_ref(), intent)
}

/// Rejects parallelism that this model configuration does not support.
///
/// # Errors
/// [`kubectl_dynamo_core::fit::UnsupportedParallelism`].
pub(crate) fn check_config(config: Option<&Value>, intent: &ServingIntent) -> Result<()> {
    Ok(config.map_or(Ok(()), |config| check_parallelism(config, intent))?)
}

fn cached_config(model: &ModelRef) -> Option<Value> {
    cached_folders(model).iter().find_map(|folder| read_config(folder).ok())
}

/// The folders of this machine that can have files of the model.
fn cached_folders(model: &ModelRef) -> Vec<PathBuf> {
    match model {
        ModelRef::Folder { path } => vec![path.clone()],
        ModelRef::Hub { repository, .. } => local_environment::folders().map_or_else(
            |_| Vec::new(),
            |folders| vec![folders.models().join(repository), folders.model_configs().join(repository)],
        ),
        ModelRef::BuiltIn => Vec::new(),
    }
}

/// Reads the chat template in a model folder.
pub(crate) fn read_template(folder: &Path) -> Option<ChatTemplate> {
    ChatTemplate::from_files(|file| std::fs::read_to_string(folder.join(file)).ok())
}

/// Queries the hub for the model of a new deployment as its pods will: at their endpoint, and with a token
/// only if they have one.
pub(crate) async fn from_hub(intent: &ServingIntent, report: &Report) -> Fact<ModelLookup> {
    let ModelRef::Hub { repository, revision } = &intent.model else { return Fact::NotQueried };
    let Ok(folders) = local_environment::folders() else { return Fact::NotQueried };
    let mut options = local_environment::fetch_options(repository, revision.as_deref(), &folders);
    options.stall_timeout = HUB_TIMEOUT;
    options.unreachable_timeout = HUB_UNREACHABLE_TIMEOUT;
    options.load_format = load_format(intent);
    if options.offline {
        return Fact::NotQueried;
    }
    if let Some(endpoint) = intent.placement.fetch_variable(environment::HF_ENDPOINT) {
        // A folder in the pods does not exist on this machine.
        if endpoint.starts_with("file:") {
            return Fact::NotQueried;
        }
        options.hub = HubAccess { endpoint: endpoint.into(), token: None, ..options.hub };
    } else {
        let token = options.hub.token.take().filter(|_| intent.token_secret.is_some());
        options.hub = HubAccess { endpoint: DEFAULT_ENDPOINT.into(), token, ..options.hub };
    }
    report.waiting(Stage::Preflight, format!("the cluster, and the hub's metadata of {}", intent.model));
    let query = async {
        let listing = model_fetcher::list_selected(&options).await?;
        // The hub lists the files of a gated repository for everyone.
        model_fetcher::check_access(&options, &listing).await?;
        let (config, chat_template) = match intent.backend {
            Backend::Vllm => {
                let folder = model_folder(&intent.model, options.clone(), &folders).await?;
                (read_config(&folder).ok(), read_template(&folder))
            }
            Backend::Mocker => (None, None),
        };
        Ok::<_, model_fetcher::FetcherError>((listing, config, chat_template))
    };
    match tokio::time::timeout(HUB_TIMEOUT, Box::pin(query)).await {
        Ok(Ok((listing, config, chat_template))) => {
            let files: Vec<(String, u64)> =
                listing.files.iter().map(|file| (file.path.clone(), file.size)).collect();
            Fact::Known(ModelLookup::Found(ModelMetadata {
                weight_bytes: weight_bytes(&files, &[], load_format(intent)),
                files: files.len(),
                bytes: listing.total_bytes(),
                commit: listing.commit,
                config,
                chat_template,
            }))
        }
        Ok(Err(error)) => match error.exit_code() {
            exit::ACCESS => denied_lookup(&error, Exit::Access),
            exit::NOT_FOUND => denied_lookup(&error, Exit::Model),
            _ => Fact::Unavailable(format!(
                "cannot get the metadata of model \"{repository}\" from the hub: {error}"
            )),
        },
        Err(_) => Fact::Unavailable(format!(
            "timed out after {} s waiting for the hub's metadata of model \"{repository}\"",
            HUB_TIMEOUT.as_secs()
        )),
    }
}

fn denied_lookup(error: &model_fetcher::FetcherError, exit: Exit) -> Fact<ModelLookup> {
    let pass_token = "pass a token that has access: --hf-token-secret NAME --hf-token-stdin < token.txt";
    let hint = match (exit, error) {
        // The hub does not tell anonymous callers whether a repository exists.
        (Exit::Access, model_fetcher::FetcherError::Unauthorized { .. }) => {
            format!("check the name; if the model is private, {pass_token}").into()
        }
        (Exit::Access, _) => pass_token.into(),
        _ => error.hint().unwrap_or_else(|| pass_token.to_owned()).into(),
    };
    Fact::Known(ModelLookup::Denied(AccessError { text: error.to_string(), hint, exit }))
}

/// Returns a folder with the model's configuration and chat template: one of this machine if it has both, else the
/// folder to which they are downloaded from the hub.
async fn model_folder(
    model: &ModelRef,
    options: FetchOptions,
    folders: &Folders,
) -> std::result::Result<PathBuf, model_fetcher::FetcherError> {
    let is_complete = |folder: &PathBuf| read_config(folder).is_ok() && read_template(folder).is_some();
    match cached_folders(model).into_iter().find(is_complete) {
        Some(cached) => Ok(cached),
        None => fetch_config(options, folders).await,
    }
}

/// Downloads only the files of the configuration and the chat template, and returns the model's folder among the stored configurations.
pub(crate) async fn fetch_config(
    mut options: FetchOptions,
    folders: &Folders,
) -> std::result::Result<PathBuf, model_fetcher::FetcherError> {
    options.into = folders.model_configs();
    let files = [CONFIG_FILE, QUANTIZATION_FILE].into_iter().chain(TEMPLATE_FILES);
    options.include = files.map(Into::into).collect();
    options.update = true;
    model_fetcher::fetch(&options, &mut |_| {}).await?;
    Ok(options.folder())
}

fn read_json(path: &Path) -> std::io::Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// Reads the configuration in a model folder. Like vLLM, it adds the quantization from its own file if the
/// configuration does not contain it.
///
/// # Errors
/// A configuration that cannot be read or is not JSON.
pub(crate) fn read_config(folder: &Path) -> std::io::Result<Value> {
    let mut config = read_json(&folder.join(CONFIG_FILE))?;
    if let Value::Object(fields) = &mut config
        && !fields.contains_key("quantization_config")
        && let Ok(quantization) = read_json(&folder.join(QUANTIZATION_FILE))
    {
        fields.insert("quantization_config".into(), quantization);
    }
    Ok(config)
}

/// Returns the size of the files that the engine loads as weights, in bytes. `indexes` are the indexes that can be
/// read; without them, shards are recognized by their names.
pub(crate) fn weight_bytes(files: &[(String, u64)], indexes: &[WeightIndex], format: LoadFormat) -> u64 {
    let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
    let uses = classify_files(&paths, indexes, format);
    let loaded = files.iter().zip(uses).filter(|(_, file_use)| *file_use == FileUse::Loaded);
    loaded.fold(0, |sum, ((_, size), _)| sum.saturating_add(*size))
}

/// Reads the indexes of weights in a model folder.
pub(crate) fn read_indexes(folder: &Path, files: &[(String, u64)]) -> Vec<WeightIndex> {
    let paths = files.iter().map(|(path, _)| path.as_str()).filter(|path| is_weight_index(path));
    paths.filter_map(|path| WeightIndex::parse(path, &std::fs::read(folder.join(path)).ok()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[(&str, u64)]) -> Vec<(String, u64)> {
        names.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn weights_are_counted_once() {
        let counted = |names: &[(&str, u64)]| weight_bytes(&files(names), &[], LoadFormat::Auto);
        let both = [
            ("model-00001-of-00002.safetensors", 5),
            ("model-00002-of-00002.safetensors", 7),
            ("consolidated.safetensors", 12),
            ("pytorch_model.bin", 12),
            ("original/model.safetensors", 12),
            ("config.json", 1),
        ];
        assert_eq!(counted(&both), 12);
        assert_eq!(counted(&[("pytorch_model.bin", 9)]), 9);
        assert_eq!(counted(&[("pytorch_model.bin", 9), ("optimizer.bin", 18), ("training_args.bin", 1)]), 9);
        assert_eq!(counted(&[("consolidated.safetensors", 9)]), 9);
        assert_eq!(counted(&[("tokenizer.json", 9)]), 0);
    }

    #[test]
    fn index_decides_between_shards_and_one_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let index = r#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).expect("written");
        let files = files(&[
            ("model-00001-of-00002.safetensors", 5),
            ("model-00002-of-00002.safetensors", 7),
            ("model.safetensors", 12),
            ("model.safetensors.index.json", 1),
        ]);
        let indexes = read_indexes(folder.path(), &files);
        assert_eq!((indexes.len(), weight_bytes(&files, &indexes, LoadFormat::Auto)), (1, 12));
    }

    #[test]
    fn quantization_is_read_from_its_own_file() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(CONFIG_FILE), r#"{"hidden_size":1}"#).expect("written");
        let quantization = r#"{"producer":{"name":"modelopt"},"quantization":{"kv_cache_quant_algo":"FP8"}}"#;
        std::fs::write(folder.path().join(QUANTIZATION_FILE), quantization).expect("written");
        let config = read_config(folder.path()).expect("a configuration");
        assert_eq!(config["quantization_config"]["producer"]["name"], "modelopt");
    }
}
