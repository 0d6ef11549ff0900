//! What is known of a model's configuration: from this machine's own folders for nothing, from the hub for a short wait.
//! It is never a reason to stop that nothing is known.

use std::time::Duration;

use serde_json::Value;

use super::local;
use crate::error::Result;
use crate::fit::check_shape;
use crate::intent::{Backend, ModelRef, ServingIntent};

/// The file that says what a model is.
pub(super) const FILE: &str = "config.json";

/// A check in passing waits no longer for the hub.
const PATIENCE: Duration = Duration::from_secs(5);

/// Refuses what the model's configuration forbids, as far as this machine has it.
///
/// # Errors
/// [`crate::fit::ForbiddenShape`].
pub(super) fn check_kept(intent: &ServingIntent) -> Result<()> {
    check(kept(&intent.model), intent)
}

/// The same, with the hub's answer where this machine has none.
///
/// # Errors
/// [`crate::fit::ForbiddenShape`].
pub(super) async fn check_asking(intent: &ServingIntent) -> Result<()> {
    let config = match kept(&intent.model) {
        Some(config) => Some(config),
        None if intent.backend == Backend::Mocker => None,
        None => tokio::time::timeout(PATIENCE, asked(&intent.model)).await.ok().flatten(),
    };
    check(config, intent)
}

fn check(config: Option<Value>, intent: &ServingIntent) -> Result<()> {
    Ok(config.map_or(Ok(()), |config| check_shape(&config, intent))?)
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

async fn asked(model: &ModelRef) -> Option<Value> {
    let ModelRef::Hub { repository, revision } = model else { return None };
    let folders = local::folders().ok()?;
    let mut options = local::fetch_options(repository, revision.as_deref(), &folders);
    options.stall_timeout = PATIENCE;
    options.into = folders.configurations();
    options.include = vec![FILE.into()];
    options.update = true;
    model_fetcher::fetch(&options, &mut |_| {}).await.ok()?;
    read(&options.folder().join(FILE))
}

fn read(path: &std::path::Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}
