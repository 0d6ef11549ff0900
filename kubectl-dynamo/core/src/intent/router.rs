//! Router settings: how the frontend selects a worker. The values are independent of the release; `plan` maps
//! them to the variable names of a release.

use serde::{Deserialize, Serialize};

use super::StringEnum;

/// Routing mode. The values exist in every release since 0.9.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterMode {
    /// Workers in turn.
    RoundRobin,
    /// A random worker.
    Random,
    /// The worker that has most of the prompt in its KV cache.
    Kv,
}

impl StringEnum for RouterMode {
    const ALL: &'static [Self] = &[Self::RoundRobin, Self::Random, Self::Kv];

    /// The value of the flag and of `DYN_ROUTER_MODE`.
    fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::Kv => "kv",
        }
    }
}

/// Router settings. Dynamo's default applies to settings that are `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    pub mode: RouterMode,
    /// Randomness among workers of similar cost; 0 always selects the best one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Weight of cached blocks relative to load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_weight: Option<f64>,
    /// Whether workers publish KV block events. Otherwise the router predicts the cached blocks.
    #[serde(default = "yes")]
    pub kv_events: bool,
}

fn yes() -> bool {
    true
}

impl Router {
    /// Creates settings with a mode and Dynamo's defaults.
    pub fn new(mode: RouterMode) -> Self {
        Self { mode, temperature: None, overlap_weight: None, kv_events: true }
    }
}
