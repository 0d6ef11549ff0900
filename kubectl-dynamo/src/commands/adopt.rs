//! `adopt`: takes over the management of a deployment that kubectl-dynamo did not create.

use clap::Args;

use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::output::print_data;
use crate::render::adoption;
use crate::workflow::adopt::{self, PlannedAdoption};
use crate::workflow::confirm::confirm;
use crate::workflow::rollout::DryRun;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
pub(super) struct AdoptArgs {
    /// Name of the deployment
    pub name: String,
    /// Print the imported settings without changing anything
    #[arg(long, value_name = "MODE", value_parser = enum_value_parser::<DryRun>(), default_value = "none", num_args = 0..=1, default_missing_value = "server")]
    pub dry_run: DryRun,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub yes: bool,
}

pub(super) async fn run(args: AdoptArgs, context: &Context) -> Result<Exit> {
    let name = &args.name;
    let adoption = match adopt::plan(name, context).await? {
        PlannedAdoption::AlreadyManaged => {
            context
                .report
                .info(format!("deployment \"{name}\" is already managed by kubectl-dynamo: unchanged"));
            return Ok(Exit::Ok);
        }
        PlannedAdoption::Change(adoption) => adoption,
    };
    print_data(&adoption::screen(&adoption))?;
    if args.dry_run != DryRun::None {
        return Ok(Exit::Ok);
    }
    if !args.yes && !confirm(&format!("Take over deployment \"{name}\"?"), context)? {
        context.report.info("nothing was changed");
        return Ok(Exit::Ok);
    }
    adoption.apply(&context.report).await?;
    Ok(Exit::Ok)
}
