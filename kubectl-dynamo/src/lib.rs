//! `kubectl dynamo`: serve large language models with NVIDIA Dynamo, from nothing to an answered token.
//!
//! The middle is pure and the edges are thin. Flags become a [`intent::ServingIntent`]; with a
//! [`release::Release`] that is a [`plan::ServingPlan`]; [`resources`] renders it for a cluster and [`local`]
//! runs it as processes. What is then seen becomes stages ([`readiness`]) that [`report`] shows.
//! [`commands`] tells each verb's story and is used by nothing but this file.

// A debug build holds a future on the stack at every level that it passes: one of a whole verb overflowed it.
#![warn(clippy::large_futures)]

mod commands;

pub mod change;
pub mod chat;
pub mod cluster;
pub mod diagnosis;
pub mod error;
pub mod fit;
pub mod intent;
pub mod local;
pub mod plan;
pub mod preflight;
pub mod readiness;
pub mod release;
pub mod report;
pub mod resources;
pub mod rights;
pub mod smoke_test;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line and returns the process's exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    commands::run(args.into_iter().collect()).into()
}
