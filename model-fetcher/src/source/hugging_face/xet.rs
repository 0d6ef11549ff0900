//! Which files go through xet storage: those that the hub gives in no other way, or all that have it where it is asked
//! for. Plain ranges are the default, since they need no second protocol and no gigabytes of buffers.

#[cfg(feature = "xet")]
mod store;

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "xet")]
pub(super) use store::{Connection, XetAccess, XetStore};

use crate::contract::RemoteFile;
use crate::error::NoXet;
use crate::options::{FetchOptions, Xet};

/// Decides for one fetch.
pub(super) struct XetPolicy {
    mode: Xet,
    /// Above this a hub may refuse plain HTTP.
    pub(super) plain_limit_bytes: u64,
    /// Files that it refused.
    refused: Mutex<HashSet<String>>,
}

impl XetPolicy {
    pub(super) fn new(options: &FetchOptions) -> Self {
        let plain_limit_bytes = options.plain_limit_bytes;
        Self { mode: options.xet, plain_limit_bytes, refused: Mutex::default() }
    }

    /// Whether `file` is fetched through xet.
    pub(super) fn is_for(&self, file: &RemoteFile) -> bool {
        let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(&file.path);
        file.xet_hash.is_some() && (self.mode == Xet::Always || refused())
    }

    /// From now on `file`, which is refused by plain HTTP, goes through xet; or why it cannot.
    pub(super) fn take_over(&self, file: &RemoteFile) -> Result<(), NoXet> {
        if self.mode == Xet::Never {
            return Err(NoXet::Forbidden);
        }
        if !cfg!(feature = "xet") {
            return Err(NoXet::NotBuiltIn);
        }
        if file.xet_hash.is_none() {
            return Err(NoXet::NotStored);
        }
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(file.path.clone());
        Ok(())
    }
}
