//! Checks whether the hub serves the content of a model to a caller. It must not write anything.

use tokio::sync::mpsc::unbounded_channel;

use crate::error::FetcherError;
use crate::options::FetchOptions;
use crate::source::hugging_face::HuggingFace;
use crate::source::mirror_folder::mirror_path;
use crate::source::{ModelSource, SourceError};
use model_fetcher_contract::{Listing, exit};

/// Checks that the hub serves the content of a revision to this caller, with the first byte of its smallest file. The
/// files of a gated repository are listed for everyone.
///
/// # Errors
/// The reason why the hub denies access, or network access is disabled.
pub async fn check_access(options: &FetchOptions, listing: &Listing) -> Result<(), FetcherError> {
    let smallest = listing.files.iter().filter(|file| file.size > 0).min_by_key(|file| file.size);
    let (Some(file), None) = (smallest, mirror_path(&options.hub.endpoint)) else { return Ok(()) };
    require_network(options)?;
    // The events of one request are dropped.
    let (events, _) = unbounded_channel();
    match HuggingFace::new(options, events)?.open(0, &listing.commit, file, 0..1).await {
        Err(SourceError::Permanent(error)) if error.exit_code() == exit::ACCESS => Err(error),
        // Any other problem of this one request is left to the fetch, which retries and reports it.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Rejects an operation that needs a hub while network access is disabled.
pub(crate) fn require_network(options: &FetchOptions) -> Result<(), FetcherError> {
    match options.offline {
        false => Ok(()),
        true => Err(FetcherError::Usage {
            what: format!(
                "network access is disabled, and \"{}\" must be requested from {}",
                options.repository, options.hub.endpoint
            ),
            hint: "unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or use a model that is complete on this machine"
                .into(),
        }),
    }
}
