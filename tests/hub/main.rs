//! The fetcher against a hub of our own, and the clients of others against the same hub.

// A case that cannot go on has failed.
#![allow(clippy::unwrap_used)]

mod access;
mod basics;
mod clients;
mod faults;
mod lease;
mod mirror;
mod power;
mod resume;
mod support;
mod trace;
mod volume;
mod xet;
