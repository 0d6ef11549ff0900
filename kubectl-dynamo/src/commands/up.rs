//! `up`: creates or updates a deployment and returns when it has answered a test completion. Nothing is
//! written before all checks have passed.

use clap::Args;

use super::change_flags::WaitArgs;
use super::output_flag::{output_parser, plan_format};
use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::kube_flags::FlagError;
use crate::output::{PreviewFormat, PrintFormat, print_data};
use crate::render::dry_run;
use crate::workflow::confirm_change::Confirmation;
use crate::workflow::hub_token::TokenInput;
use crate::workflow::local::up::LocalUpOptions;
use crate::workflow::rollout::{DryRun, FinalTest, WaitOptions};
use crate::workflow::serving_input::ServingInput;
use crate::workflow::up::{self, UpOptions};
use kubectl_dynamo_cluster::ConflictPolicy;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct UpArgs {
    #[command(flatten)]
    pub serving: ServingInput,
    /// Serve on this machine without a cluster (default model: the built-in tiny model)
    #[arg(long, help_heading = "Flow")]
    pub local: bool,
    #[command(flatten, next_help_heading = "Flow")]
    pub wait_args: WaitArgs,
    /// Run the probes of `test` in place of the smoke test
    #[arg(long, conflicts_with = "no_smoke_test", help_heading = "Flow")]
    pub test: bool,
    /// Local port of the endpoint, with --local (default: a free port)
    #[arg(long, value_name = "PORT", help_heading = "Flow")]
    pub port: Option<u16>,
    /// Show the logs of all processes, with --local
    #[arg(long, help_heading = "Flow")]
    pub logs: bool,
    /// Preview only: `client` reads the cluster, `server` also validates with a server-side dry run
    #[arg(long, value_name = "MODE", value_parser = enum_value_parser::<DryRun>(), default_value = "none", help_heading = "Flow")]
    pub dry_run: DryRun,
    /// Exit with code 8 if --dry-run=server finds changes
    #[arg(long, requires = "dry_run", help_heading = "Flow")]
    pub fail_on_change: bool,
    /// Print each resolved value and its source, then exit
    #[arg(long, conflicts_with = "local", help_heading = "Flow")]
    pub plan: bool,
    /// Output format of --plan and --dry-run
    #[arg(short, long, value_parser = output_parser::<PreviewFormat>(), help_heading = "Flow")]
    pub output: Option<PrintFormat<PreviewFormat>>,
    /// Roll back to the previous spec if the update fails or times out
    #[arg(long, conflicts_with_all = ["local", "detach"], help_heading = "Flow")]
    pub rollback_on_failure: bool,
    /// Take over fields that another field manager owns
    #[arg(long, help_heading = "Flow")]
    pub force_conflicts: bool,
    /// Do not ask for confirmation if requests can be lost, or a model or a running fetch is replaced
    #[arg(short, long, help_heading = "Flow")]
    pub yes: bool,
    /// Preflight check codes to ignore, or "all" (repeatable)
    #[arg(long, value_name = "CODE", value_delimiter = ',', help_heading = "Flow")]
    pub ignore_preflight: Vec<String>,
    /// Read the hub token from stdin and store it in the Secret of --hf-token-secret
    #[arg(long, help_heading = "Flow")]
    pub hf_token_stdin: bool,
}

impl UpArgs {
    fn wait_options(&self) -> WaitOptions {
        let options = self.wait_args.options();
        match self.test {
            true => WaitOptions { final_test: FinalTest::Probes, ..options },
            false => options,
        }
    }

    fn options(&self) -> UpOptions {
        UpOptions {
            wait: self.wait_options(),
            dry_run: self.dry_run,
            fail_on_change: self.fail_on_change,
            plan_only: self.plan,
            rollback_on_failure: self.rollback_on_failure,
            conflicts: ConflictPolicy::from_force_flag(self.force_conflicts),
            confirmation: Confirmation::from_yes_flag(self.yes),
            ignore_preflight: self.ignore_preflight.clone(),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo up --local                       a tiny model on this machine, no GPU needed
  kubectl dynamo up Qwen/Qwen3-0.6B               on the cluster of the current context
  kubectl dynamo up Qwen/Qwen3-0.6B -- --max-model-len 8192";

pub(super) async fn run(mut args: UpArgs, context: &Context) -> Result<Exit> {
    if args.local {
        let options = LocalUpOptions {
            cluster_flags: vec![
                ("--hf-token-stdin", args.hf_token_stdin),
                ("--dry-run", args.dry_run != DryRun::None),
                ("--force-conflicts", args.force_conflicts),
                ("--ignore-preflight", !args.ignore_preflight.is_empty()),
                ("--yes", args.yes),
            ],
            port: args.port,
            logs: args.logs,
            wait: args.wait_options(),
            serving: args.serving,
        };
        return crate::workflow::local::up::run(options, context).await;
    }
    context.kube.refuse_all_namespaces()?;
    for (flag, is_set) in [("--port", args.port.is_some()), ("--logs", args.logs)] {
        if is_set {
            return Err(FlagError::LocalOnly { flag }.into());
        }
    }
    if args.fail_on_change && args.dry_run != DryRun::Server {
        return Err(FlagError::NeedsServerDryRun.into());
    }
    if args.output.is_some() && !args.plan && args.dry_run == DryRun::None {
        return Err(FlagError::NeedsPreview { flags: "--plan or --dry-run" }.into());
    }
    let plan_format = plan_format(args.output.as_ref().filter(|_| args.plan))?;
    let token = if args.hf_token_stdin { TokenInput::Stdin } else { TokenInput::None };
    let options = args.options();
    let outcome = up::up(&mut args.serving, token, &options, context).await?;
    if let Some(text) = dry_run::outcome_text(&outcome, &plan_format, args.output.as_ref())? {
        print_data(&text)?;
    }
    Ok(outcome.exit())
}
