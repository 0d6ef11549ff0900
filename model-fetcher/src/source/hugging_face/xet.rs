//! Decides which files are fetched through xet: those that the hub serves in no other way, or all that are
//! stored there if requested. Plain ranges are the default because they need neither a second protocol nor
//! gigabytes of buffers.

#[cfg(feature = "xet")]
mod store;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "xet")]
pub(super) use store::{XetAccess, XetStore};

use crate::error::XetUnavailable;
use crate::options::{FetchOptions, Xet};
use model_fetcher_contract::RemoteFile;

/// The xet decisions of one fetch.
pub(super) struct XetPolicy {
    mode: Xet,
    /// Above this size a hub may refuse plain HTTP.
    pub(super) plain_http_limit_bytes: u64,
    /// Files for which plain HTTP was refused.
    refused_files: Mutex<HashSet<String>>,
}

impl XetPolicy {
    pub(super) fn new(options: &FetchOptions) -> Self {
        let plain_http_limit_bytes = options.plain_http_limit_bytes;
        Self { mode: options.xet, plain_http_limit_bytes, refused_files: Mutex::default() }
    }

    /// Returns whether `file` is fetched through xet.
    pub(super) fn is_used_for(&self, file: &RemoteFile) -> bool {
        let is_refused =
            || self.refused_files.lock().unwrap_or_else(PoisonError::into_inner).contains(&file.path);
        file.xet_hash.is_some() && (self.mode == Xet::Always || is_refused())
    }

    /// Switches `file` to xet after plain HTTP was refused.
    ///
    /// # Errors
    /// Why the file cannot be fetched through xet.
    pub(super) fn switch_to_xet(&self, file: &RemoteFile) -> Result<(), XetUnavailable> {
        if self.mode == Xet::Never {
            return Err(XetUnavailable::Forbidden);
        }
        if !cfg!(feature = "xet") {
            return Err(XetUnavailable::NotBuiltIn);
        }
        if file.xet_hash.is_none() {
            return Err(XetUnavailable::NotStored);
        }
        self.refused_files.lock().unwrap_or_else(PoisonError::into_inner).insert(file.path.clone());
        Ok(())
    }
}
