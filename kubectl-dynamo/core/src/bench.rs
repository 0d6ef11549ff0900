//! Benchmarks with AIPerf: what a workload runs, what AIPerf measured, whether the numbers can be trusted, and how two
//! runs differ. It must not start a process or read a file.

mod analysis;
mod arguments;
mod compare;
mod limit;
mod measurement;
mod metric;
mod prediction;
mod record;
mod statistics;
mod verdict;
mod workload;
mod workload_error;

pub use analysis::{LoadAnalysis, ParetoPoint};
pub use arguments::{BenchEndpoint, MeasurementPlan, aiperf_arguments};
pub use compare::{BenchComparison, ComparisonOutcome, LevelComparison, MetricComparison};
pub use limit::{LimitError, RegressionLimit};
pub use measurement::{ErrorCount, Measurement, MetricValues};
pub use metric::{Better, HEADLINE_METRICS, HeadlineMetric};
pub use prediction::{PredictedSpeed, PredictedValue, PredictionError};
pub use record::{BenchDeployment, BenchRun, BenchStatus, BenchTarget, BenchVersions, LevelResult, LevelRun};
pub use statistics::{Estimate, Spread};
pub use verdict::{BenchFinding, BenchVerdict, ErrorBound, RunEvidence, judge, judge_change};
pub use workload::{
    BenchWorkload, GoodputLimit, LengthShare, LoadLevel, TokenLengths, TraceFile, Turns, WorkloadKind,
    WorkloadOptions,
};
pub use workload_error::WorkloadError;
