//! Support for the tests: code that more than one tier uses.
//! It must not contain test cases.

pub mod api_proxy;
pub mod cache;
pub mod conversion;
pub mod cuttable_proxy;
pub mod dynamo;
pub mod help;
pub mod hub;
pub mod images;
pub mod intents;
pub mod kubernetes;
pub mod litellm;
pub mod model;
pub mod network_namespace;
pub mod operator;
pub mod outline;
pub mod pages;
pub mod plugin;
pub mod pod_monitor;
pub mod probe_pod;
pub mod processes;
pub mod programs;
pub mod registry;
pub mod suite;
pub mod terminal;
pub mod test_machine;

/// Result of support code and test cases. Any error fails the case with its text.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
