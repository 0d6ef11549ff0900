//! `diff`: prints what `up` would change, by field and by component, according to a server-side dry run.
//! It must not change anything on the cluster, and its exit code 1 is reserved for differences.

use clap::Args;

use super::output_flag::output_parser;
use crate::context::Context;
use crate::output::{PrintFormat, TextFormat, print_data};
use crate::render::diff as screen;
use crate::workflow::diff::{self, DiffOptions, ObjectDiff};
use crate::workflow::serving_input::ServingInput;
use kubectl_dynamo_cluster::ConflictPolicy;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::error::{Error, Exit, Explain, Result};

#[derive(Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    pub serving: ServingInput,
    /// Assume that fields of other managers are taken over
    #[arg(long)]
    pub force_conflicts: bool,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<TextFormat>(), default_value = "text")]
    pub output: PrintFormat<TextFormat>,
}

/// An error of `diff`: its exit code must not be 1, which means that there are differences.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct DiffError(Error);

impl Explain for DiffError {
    fn code(&self) -> Option<MessageCode> {
        self.0.code()
    }

    fn hint(&self) -> Option<Fix> {
        self.0.hint()
    }

    fn exit(&self) -> Exit {
        match self.0.exit() {
            Exit::Ok | Exit::Failed => Exit::Usage,
            other => other,
        }
    }
}

pub(super) async fn run(args: DiffArgs, context: &Context) -> Result<Exit> {
    compare(&args, context).await.map_err(|error| DiffError(error).into())
}

async fn compare(args: &DiffArgs, context: &Context) -> Result<Exit> {
    let options = DiffOptions { conflicts: ConflictPolicy::from_force_flag(args.force_conflicts) };
    let diff = diff::compare(&args.serving, &options, context).await?;
    print_data(
        &args
            .output
            .text(|| screen::document(&diff.objects), |TextFormat::Text| screen::text(&diff.objects))?,
    )?;
    if diff.objects.iter().any(ObjectDiff::has_changes) {
        return Ok(Exit::Failed);
    }
    context.report.info(format!("deployment \"{}\" unchanged", diff.name));
    Ok(Exit::Ok)
}
