//! What the commands that change a deployment share: the flags for waiting and applying, and the output of a
//! dry run.

use std::time::Duration;

use clap::Args;

use super::enum_value_parser;
use super::output_flag::output_parser;
use crate::kube_flags::{self, FlagError};
use crate::output::{PreviewFormat, PrintFormat, print_data};
use crate::render::dry_run::{self, change_preview_text};
use crate::workflow::rollout::{ChangeOptions, ChangeOutcome, DryRun, FinalTest, WaitOptions};
use kubectl_dynamo_cluster::ConflictPolicy;
use kubectl_dynamo_core::error::{Exit, Result};

/// Options for waiting.
#[derive(Args, Debug, Clone)]
pub(super) struct WaitArgs {
    /// Wait until the deployment answers (default)
    #[arg(long, overrides_with = "detach")]
    pub wait: bool,
    /// Return after applying, without waiting
    #[arg(long, overrides_with = "wait")]
    pub detach: bool,
    /// Return when all components report ready, without a test completion
    #[arg(long)]
    pub no_smoke_test: bool,
    /// Maximum time to wait, such as 90s or 30m
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = kube_flags::parse_duration)]
    pub timeout: Duration,
}

/// Options for a change of a deployment.
#[derive(Args, Debug, Clone)]
pub(super) struct ChangeArgs {
    #[command(flatten)]
    pub wait_args: WaitArgs,
    /// Preview only: `client` reads the cluster, `server` also validates with a server-side dry run
    #[arg(long, value_name = "MODE", value_parser = enum_value_parser::<DryRun>(), default_value = "none")]
    pub dry_run: DryRun,
    /// Take over fields that another field manager owns
    #[arg(long)]
    pub force_conflicts: bool,
    /// Preflight check codes to ignore, or "all" (repeatable)
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub ignore_preflight: Vec<String>,
    /// Output format of --dry-run
    #[arg(short, long, value_parser = output_parser::<PreviewFormat>())]
    pub output: Option<PrintFormat<PreviewFormat>>,
}

impl WaitArgs {
    pub(super) fn options(&self) -> WaitOptions {
        let final_test = if self.no_smoke_test { FinalTest::None } else { FinalTest::Completion };
        WaitOptions { detach: self.detach, final_test, timeout: self.timeout }
    }
}

impl ChangeArgs {
    /// Returns the options of a change.
    ///
    /// # Errors
    /// `-o` without `--dry-run`: a change prints its progress, not objects.
    pub(super) fn options(&self) -> Result<ChangeOptions> {
        if self.output.is_some() && self.dry_run == DryRun::None {
            return Err(FlagError::NeedsPreview { flags: "--dry-run" }.into());
        }
        Ok(ChangeOptions {
            wait: self.wait_args.options(),
            dry_run: self.dry_run,
            conflicts: ConflictPolicy::from_force_flag(self.force_conflicts),
            ignore_preflight: self.ignore_preflight.clone(),
        })
    }

    /// Prints the result of a dry run. Returns the exit code of the change.
    pub(super) fn print_outcome(&self, outcome: &ChangeOutcome) -> Result<Exit> {
        match outcome {
            ChangeOutcome::Finished(exit) => Ok(*exit),
            ChangeOutcome::Preview(preview) => {
                let changes = std::slice::from_ref(&preview.change);
                print_data(&dry_run::text(changes, || change_preview_text(preview), self.output.as_ref())?)?;
                Ok(Exit::Ok)
            }
        }
    }
}
