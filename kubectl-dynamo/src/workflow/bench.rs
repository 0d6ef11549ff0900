//! Benchmarks: run AIPerf against a deployment, and keep, list, and remove the results. What AIPerf's numbers mean is
//! decided in the core.

mod error;
mod measure;
mod run;
mod store;
mod target;

pub(crate) use error::{BenchError, BenchResult};
pub(crate) use run::{BenchRunOptions, run};
pub(crate) use store::BenchStore;
pub(crate) use target::{BenchTargetName, ModelOptions};
