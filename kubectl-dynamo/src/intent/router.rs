//! How the frontend picks a worker, in words that no release has renamed.

use serde::{Deserialize, Serialize};

use super::Word;

/// The way of picking; the values exist in every release from 0.9.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterMode {
    /// One worker after the other.
    RoundRobin,
    /// Any worker.
    Random,
    /// The worker that holds most of the prompt's KV cache.
    Kv,
}

impl Word for RouterMode {
    const ALL: &'static [Self] = &[Self::RoundRobin, Self::Random, Self::Kv];

    /// Also the value of `DYN_ROUTER_MODE`.
    fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::Kv => "kv",
        }
    }
}

/// The router's settings. What is absent is left to Dynamo's own default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Router {
    pub mode: RouterMode,
    /// Randomness in the choice between workers of similar cost; 0 always takes the best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Weight of cached blocks against load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_weight: Option<f64>,
    /// Whether workers announce their KV blocks; without it the router predicts what they hold.
    #[serde(default = "yes")]
    pub kv_events: bool,
}

fn yes() -> bool {
    true
}

impl Router {
    /// A mode with Dynamo's own settings.
    pub fn of(mode: RouterMode) -> Self {
        Self { mode, temperature: None, overlap_weight: None, kv_events: true }
    }
}
