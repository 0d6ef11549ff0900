//! `completion`: prints scripts for shells, and installs the program that completes `kubectl dynamo` in kubectl.
//! The candidates come from `candidates`; completion must never write an error to the terminal.

mod candidates;
mod shim;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};

use crate::commands::Root;
use crate::context::Context;
use crate::output::print_data;
use kubectl_dynamo_core::error::{Exit, Result};

#[derive(Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct CompletionArgs {
    /// Print the completion script for `kubectl-dynamo` in this shell
    #[arg(conflicts_with = "install", required_unless_present = "install")]
    shell: Option<Shell>,
    /// Install the program that kubectl runs to complete `kubectl dynamo`
    #[arg(long)]
    install: bool,
    /// Folder in PATH to install it in (default: the plugin's folder)
    #[arg(long, value_name = "FOLDER", requires = "install")]
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo completion --install         for kubectl 1.26 or later, whose own completion
  source <(kubectl completion bash)           must be loaded
  source <(kubectl dynamo completion bash)    for kubectl-dynamo called without kubectl";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// The name of the plugin's program when it is called without kubectl.
const PROGRAM: &str = "kubectl-dynamo";
/// The first argument of a completion request from the shim.
const COMPLETE_COMMAND: &str = "__complete";
/// The environment variable that marks a completion request from a shell's script.
const COMPLETE_VARIABLE: &str = "KUBECTL_DYNAMO_COMPLETE";

pub(super) fn run(args: &CompletionArgs, context: &Context) -> Result<Exit> {
    if let Some(shell) = args.shell {
        print_data(&script(shell)?)?;
        return Ok(Exit::Ok);
    }
    let installation = shim::install(args.dir.as_deref())?;
    context.report.summary(installation.lines());
    Ok(Exit::Ok)
}

fn script(shell: Shell) -> Result<String> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell.write_registration(COMPLETE_VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Answers a completion request from kubectl or a shell; returns `None` if the arguments are not such a
/// request.
pub(super) fn complete_if_requested(args: &[OsString]) -> Option<Exit> {
    if args.get(1).is_some_and(|arg| arg == COMPLETE_COMMAND) {
        let output = candidates::complete_for_kubectl(Root::command(), &args[2..]);
        return Some(print_data(&output).map_or(Exit::Failed, |()| Exit::Ok));
    }
    std::env::var_os(COMPLETE_VARIABLE)?;
    let typed = args.iter().position(|arg| arg == "--").map_or(args, |separator| &args[separator + 1..]);
    CompleteEnv::with_factory(|| candidates::with_live_names(Root::command(), typed))
        .var(COMPLETE_VARIABLE)
        .shells(Shells(&[&Bash, &Zsh, &Fish]))
        .try_complete(args.to_vec(), std::env::current_dir().ok().as_deref())
        .map_or(Some(Exit::Failed), |is_completed| is_completed.then_some(Exit::Ok))
}
