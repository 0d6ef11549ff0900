//! Support for the tests: what more than one tier needs.

pub mod cache;
pub mod cells;
pub mod conversion;
pub mod dynamo;
pub mod gate;
pub mod hub;
pub mod images;
pub mod kubernetes;
pub mod model;
pub mod namespace;
pub mod operator;
pub mod plugin;
pub mod probe;
pub mod processes;
pub mod programs;
pub mod relay;
pub mod terminal;
pub mod tier;

/// What support code and cases of a tier answer; any error ends the case, with its text.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
