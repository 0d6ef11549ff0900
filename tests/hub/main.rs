//! Runs the fetcher and other clients against the test hub.

// A case that cannot continue has failed.
#![allow(clippy::unwrap_used)]

mod access;
mod answers;
mod basics;
mod clients;
mod faults;
mod layouts;
mod lease;
mod listings;
mod mirror;
mod names;
mod power;
mod removal;
mod resume;
mod revisions;
mod support;
mod trace;
mod volume;
mod xet;
