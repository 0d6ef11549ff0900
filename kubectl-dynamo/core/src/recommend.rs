//! Recommendations of deployments: what a predictor is asked, what its files predict, how predictions are ranked and
//! compared with the arithmetic of `fit`, and the request that serves one. It must not start a process or read a file.

mod arguments;
mod error;
mod files;
mod gpu_system;
mod memory;
mod prediction;
mod ranking;
mod request;
mod target;

pub use arguments::{LatencyLimits, PredictionQuery, predictor_arguments};
pub use error::{FileProblem, RecommendError};
pub use files::{PredictionFiles, TopConfigFiles, best_latencies, read_predictions};
pub use gpu_system::GpuSystem;
pub use memory::{MemoryComparison, MemoryDifference};
pub use prediction::{Prediction, RolePrediction};
pub use ranking::rank;
pub use request::{request_document, request_settings, up_command};
pub use target::{Latency, PredictionTarget, RecommendObjective, Sizing};
