//! LiteLLM in front of deployments: collects what the core compares and judges, and sends requests through the gateway.
//! It must not decide what an entry or an answer means.

mod comparison;
mod config_map;
mod deployments;
mod error;
mod key;
mod proxy;
mod route_test;

pub(crate) use comparison::{compare_with_proxy, warn_compromised};
pub(crate) use config_map::{GatewayObjects, LiveGateway};
pub(crate) use deployments::{GatewaySelection, SelectionPlace};
pub(crate) use key::{GatewayKeySource, SecretKeyReference};
pub(crate) use proxy::GatewayProxy;
pub(crate) use route_test::RouteTest;
