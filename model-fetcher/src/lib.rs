//! Fetches a Hugging Face model to a volume and verifies every byte.
//!
//! Steps of a fetch: check the receipt, acquire the lock, list the revision, plan, transfer missing ranges
//! and hash them as they arrive, rename each verified file to its final name, and write the receipt last.
//!
//! - `model-fetcher-contract`: what pods, scripts, and the plugin rely on
//! - [`fetch`], [`listing`], [`check`], [`verify`]: the operations for programs
//! - [`arguments`], [`program`]: the command line

// The crate works with byte ranges: a list of one range is intended.
#![allow(clippy::single_range_in_vec_init)]

mod access;
pub mod arguments;
pub mod certificates;
mod check;
mod digest;
mod error;
mod fetch;
mod filter;
#[cfg(test)]
mod fuzz_tests;
mod http;
mod lease;
mod options;
mod plan;
pub mod program;
pub mod progress;
mod ranges;
mod remove;
mod retry;
mod safetensors;
mod source;
mod store;
mod transfer;

pub use access::check_access;
pub use check::{check, verify};
pub use error::{FetcherError, XetUnavailable};
pub use fetch::{FetchOutcome, ProgressObserver, fetch, list_selected, listing};
pub use http::client_proxy;
pub use options::{
    ExistingFilePolicy, FetchOptions, HubAccess, HubEndpoint, HubToken, NamePolicy, ProxySettings, Xet,
};
pub use remove::remove;
