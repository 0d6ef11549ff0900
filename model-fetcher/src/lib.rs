//! Fetches a Hugging Face model onto a volume and verifies every byte.
//!
//! A fetch is: look at the receipt; take the lease of the folder; list the revision; plan; transfer what is missing
//! in ranges, hashing as it comes; give each file its final name when its hash is right; write the receipt last.
//!
//! - [`contract`]: what pods, scripts and the plugin rely on
//! - [`fetch`], [`listing`], [`check`], [`verify`]: the verbs, for programs
//! - [`arguments`], [`program`]: the verbs, for people

// Ranges of bytes are what this crate is about; a list of one is a list, not a mistake.
#![allow(clippy::single_range_in_vec_init)]

pub mod arguments;
pub mod certificates;
mod check;
pub mod contract;
mod digest;
mod error;
mod fetch;
mod filter;
#[cfg(test)]
mod hostile;
mod http;
mod lease;
mod options;
mod patience;
mod plan;
pub mod program;
pub mod progress;
mod ranges;
mod remove;
mod safetensors;
mod source;
mod store;
mod transfer;

pub use check::{check, verify};
pub use error::{Error, NoXet};
pub use fetch::{Fetched, Observer, fetch, listing, wanted};
pub use options::{Existing, FetchOptions, HubAccess, Names, Token, Xet};
pub use remove::remove;
