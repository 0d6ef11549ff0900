//! `completion`: scripts for shells, and the shim through which kubectl completes `kubectl dynamo`.
//! What is offered is worked out in `candidates`; nothing of it ever writes an error to the terminal.

mod candidates;
mod shim;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};

use super::{Context, Root, print_data, words};
use crate::error::{Exit, Result};
use crate::intent::Word;

/// Complete verbs, flags and the names of what runs, in kubectl or in a shell
#[derive(Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct CompletionArgs {
    /// Print the script with which this shell completes `kubectl-dynamo` itself
    #[arg(value_parser = words::<Shell>(), conflicts_with = "install", required_unless_present = "install")]
    shell: Option<Shell>,
    /// Place the program that kubectl asks when it completes `kubectl dynamo`
    #[arg(long)]
    install: bool,
    /// Folder of PATH to place it in; beside the plugin when absent
    #[arg(long, value_name = "FOLDER", requires = "install")]
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo completion --install         for kubectl 1.26 or later, whose own completion
  source <(kubectl completion bash)           must be loaded
  source <(kubectl dynamo completion bash)    for kubectl-dynamo called without kubectl";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Word for Shell {
    const ALL: &'static [Self] = &[Self::Bash, Self::Zsh, Self::Fish];

    fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}

/// The program, as it is called without kubectl.
const PROGRAM: &str = "kubectl-dynamo";
/// The word with which the shim asks.
const ASK: &str = "__complete";
/// The variable with which the shells' scripts ask.
const ASKING_SHELL: &str = "KUBECTL_DYNAMO_COMPLETE";

pub(super) fn run(args: &CompletionArgs, context: &Context) -> Result<Exit> {
    if let Some(shell) = args.shell {
        print_data(&script(shell)?)?;
        return Ok(Exit::Ok);
    }
    let placed = shim::install(args.dir.as_deref())?;
    context.report.closing(placed.lines());
    Ok(Exit::Ok)
}

fn script(shell: Shell) -> Result<String> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    shell.write_registration(ASKING_SHELL, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Answers when kubectl or a shell asks for candidates, which is no verb and never an error.
pub(super) fn answer(args: &[OsString]) -> Option<Exit> {
    if args.get(1).is_some_and(|word| word == ASK) {
        let answer = candidates::for_kubectl(Root::command(), &args[2..]);
        return Some(print_data(&answer).map_or(Exit::Failed, |()| Exit::Ok));
    }
    std::env::var_os(ASKING_SHELL)?;
    let typed = args.iter().position(|word| word == "--").map_or(args, |end| &args[end + 1..]);
    CompleteEnv::with_factory(|| candidates::with_live_names(Root::command(), typed))
        .var(ASKING_SHELL)
        .shells(Shells(&[&Bash, &Zsh, &Fish]))
        .try_complete(args.to_vec(), std::env::current_dir().ok().as_deref())
        .map_or(Some(Exit::Failed), |answered| answered.then_some(Exit::Ok))
}
