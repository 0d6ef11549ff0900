//! What is known of a model: its configuration from this machine's own folders for nothing; that, its size and whether it
//! is given at all from the hub for a short wait. It is never a reason to stop that nothing is known.

use std::path::{Path, PathBuf};
use std::time::Duration;

use model_fetcher::contract::{environment, exit};
use model_fetcher::{FetchOptions, HubAccess};
use serde_json::Value;

use super::fit::weight_bytes;
use super::local;
use crate::error::{Exit, Result};
use crate::fit::check_shape;
use crate::intent::{Backend, ModelRef, ServingIntent};
use crate::local::Folders;
use crate::preflight::{Fact, HubModel, ModelFacts, Refusal};
use crate::report::{Report, Stage};

/// The file that says what a model is.
pub(super) const FILE: &str = "config.json";

/// A check in passing waits no longer for the hub.
const PATIENCE: Duration = Duration::from_secs(5);

/// A hub that is not reached, as in a closed network, is given up sooner than one that answers late.
const UNREACHABLE: Duration = Duration::from_millis(500);

/// Refuses what the model's configuration forbids, as far as this machine has it.
///
/// # Errors
/// [`crate::fit::ForbiddenShape`].
pub(super) fn check_kept(intent: &ServingIntent) -> Result<()> {
    check(kept(&intent.model).as_ref(), intent)
}

/// Refuses what this configuration of the model forbids.
///
/// # Errors
/// [`crate::fit::ForbiddenShape`].
pub(super) fn check(config: Option<&Value>, intent: &ServingIntent) -> Result<()> {
    Ok(config.map_or(Ok(()), |config| check_shape(config, intent))?)
}

fn kept(model: &ModelRef) -> Option<Value> {
    let folders = match model {
        ModelRef::Folder { path } => vec![path.clone()],
        ModelRef::Hub { repository, .. } => {
            let own = local::folders().ok()?;
            vec![own.models().join(repository), own.configurations().join(repository)]
        }
        ModelRef::BuiltIn => Vec::new(),
    };
    folders.iter().find_map(|folder| read(&folder.join(FILE)))
}

/// What the hub tells of the model of a new deployment, to whoever asks as its pods will: at their endpoint, with a
/// token only where they have one.
pub(super) async fn of_hub(intent: &ServingIntent, report: &Report) -> Fact<HubModel> {
    let ModelRef::Hub { repository, revision } = &intent.model else { return Fact::Unasked };
    let Ok(folders) = local::folders() else { return Fact::Unasked };
    let mut options = local::fetch_options(repository, revision.as_deref(), &folders);
    options.stall_timeout = PATIENCE;
    options.unreachable_timeout = UNREACHABLE;
    if options.offline {
        return Fact::Unasked;
    }
    let endpoint = intent.placement.env.iter().find(|(name, _)| name == environment::HF_ENDPOINT);
    if let Some((_, endpoint)) = endpoint {
        // A folder of the pods is none of this machine.
        if endpoint.starts_with("file:") {
            return Fact::Unasked;
        }
        options.hub = HubAccess { endpoint: endpoint.clone(), token: None };
    } else if intent.token_secret.is_none() {
        options.hub.token = None;
    }
    report.waiting(Stage::Preflight, format!("the cluster, and the hub to describe {}", intent.model));
    let asked = async {
        let listing = model_fetcher::wanted(&options).await?;
        let config = match intent.backend {
            Backend::Vllm => configuration(&intent.model, options.clone(), &folders).await?,
            Backend::Mocker => None,
        };
        Ok::<_, model_fetcher::Error>((listing, config))
    };
    match tokio::time::timeout(PATIENCE, Box::pin(asked)).await {
        Ok(Ok((listing, config))) => {
            let files: Vec<(String, u64)> =
                listing.files.iter().map(|file| (file.path.clone(), file.size)).collect();
            Fact::Known(HubModel::Known(ModelFacts {
                weight_bytes: weight_bytes(&files),
                files: files.len(),
                bytes: listing.total_bytes(),
                commit: listing.commit,
                config,
            }))
        }
        Ok(Err(error)) => match error.exit_code() {
            exit::ACCESS => refused(&error, Exit::Access),
            exit::NOT_FOUND => refused(&error, Exit::Model),
            _ => Fact::Hidden(format!("the hub did not describe {repository}: {error}")),
        },
        Err(_) => {
            Fact::Hidden(format!("the hub did not describe {repository} within {} s", PATIENCE.as_secs()))
        }
    }
}

fn refused(error: &model_fetcher::Error, exit: Exit) -> Fact<HubModel> {
    let hint = "name a Secret with a token that opens it: --hf-token-secret NAME, filled with --hf-token-stdin < token.txt";
    let hint = match exit {
        Exit::Access => hint.to_owned(),
        _ => error.hint().unwrap_or_else(|| hint.to_owned()),
    };
    Fact::Known(HubModel::Refused(Refusal { text: error.to_string(), hint, exit }))
}

/// The model's configuration, of this machine where it has one.
async fn configuration(
    model: &ModelRef,
    options: FetchOptions,
    folders: &Folders,
) -> std::result::Result<Option<Value>, model_fetcher::Error> {
    if let Some(kept) = kept(model) {
        return Ok(Some(kept));
    }
    Ok(read(&fetch(options, folders).await?.join(FILE)))
}

/// Fetches the file alone, to where configurations are kept; answers the model's folder there.
pub(super) async fn fetch(
    mut options: FetchOptions,
    folders: &Folders,
) -> std::result::Result<PathBuf, model_fetcher::Error> {
    options.into = folders.configurations();
    options.include = vec![FILE.into()];
    options.update = true;
    model_fetcher::fetch(&options, &mut |_| {}).await?;
    Ok(options.folder())
}

fn read(path: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}
