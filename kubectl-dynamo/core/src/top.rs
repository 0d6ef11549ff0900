//! The numbers of `top`: what frontends and workers did between two scrapes of their metrics.
//!
//! A value that no process exports is `None`, never 0. This module must not scrape and must not know the time.

mod load;
mod sample;
mod totals;
mod tracker;

#[cfg(test)]
mod tests;

pub use load::{DeploymentLoad, GpuUse, LatencyQuantiles, ProcessCount, RequestRates, TopReport, WorkerLoad};
pub use sample::{FrontendMetrics, WorkerMetrics};
pub use totals::RequestTotals;
pub use tracker::{DeploymentScrape, ScrapedProcess, TopTracker, WorkerIdentity};
