//! Benchmarks: run AIPerf against a deployment, on this machine or as a Job, and keep, list, and remove the results. What
//! AIPerf's numbers mean is decided in the core.

mod cluster_run;
mod cluster_store;
mod cluster_target;
mod error;
mod follow;
mod follower;
mod job_log;
mod lookup;
mod measure;
mod pod_log;
mod prediction;
mod prepare;
mod run;
mod store;
mod target;

pub(crate) use cluster_store::ClusterRuns;
pub(crate) use error::{BenchError, BenchResult, follow_command};
pub(crate) use lookup::BenchRuns;
pub(crate) use prediction::{predicted_load, read_recommendation};
pub(crate) use prepare::BenchRunOptions;
pub(crate) use run::run;
pub(crate) use target::{BenchTargetName, ClusterRunOptions, DirectTarget, JobWaiting, ModelOptions};
