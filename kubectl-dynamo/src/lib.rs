//! `kubectl dynamo`: deploy LLMs with NVIDIA Dynamo and verify that they serve.
//!
//! The pure logic is in the crate `kubectl-dynamo-core`, communication with the API server in
//! `kubectl-dynamo-cluster`. This crate holds the commands, the steps that they share ([`workflow`]), their
//! output ([`report`], [`render`]), local deployments ([`local`]), and the OpenAI client ([`chat`]). Only this
//! file uses [`commands`].

// A debug build copies a future onto the stack at every call level. The future of a complete verb overflowed
// it.
#![warn(clippy::large_futures)]

mod commands;
mod context;
mod file_modes;
mod full_screen;
mod kube_flags;
mod output;
mod prompt;
mod render;
mod settings;
mod signals;
mod typed_command;
mod workflow;

pub mod chat;
pub mod local;
pub mod registry;
pub mod report;
pub mod smoke_test;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line and returns the process's exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    commands::run(args.into_iter().collect()).into()
}
