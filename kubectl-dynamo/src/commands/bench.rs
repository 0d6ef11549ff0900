//! `bench`: measures a deployment with AIPerf, and lists, shows, compares, follows, and removes the runs. This file only
//! dispatches to one file per subcommand.

mod compare;
mod list;
mod logs;
mod remove;
mod run;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::context::Context;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Subcommand)]
pub(super) enum BenchVerb {
    Run(Box<run::BenchRunArgs>),
    List(list::BenchListArgs),
    Show(show::BenchShowArgs),
    Compare(compare::BenchCompareArgs),
    Logs(logs::BenchLogsArgs),
    Rm(remove::BenchRmArgs),
}

/// Where the runs are.
#[derive(Args)]
struct StoreArgs {
    /// Use only the runs in this folder (default: bench in the plugin's data folder, and the namespace)
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

impl BenchVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Run(_) => "bench run",
            Self::List(_) => "bench list",
            Self::Show(_) => "bench show",
            Self::Compare(_) => "bench compare",
            Self::Logs(_) => "bench logs",
            Self::Rm(_) => "bench rm",
        }
    }
}

pub(super) async fn run(verb: BenchVerb, context: &Context) -> Result<Exit> {
    match verb {
        BenchVerb::Run(args) => run::run(*args, context).await,
        BenchVerb::List(args) => list::run(&args, context).await,
        BenchVerb::Show(args) => show::run(&args, context).await,
        BenchVerb::Compare(args) => compare::run(&args, context).await,
        BenchVerb::Logs(args) => logs::run(&args, context).await,
        BenchVerb::Rm(args) => remove::run(&args, context).await,
    }
}
