//! Parses the command of a component's container, given as a list or as a script for a shell's `-c`.
//!
//! It finds the engine and the values of flags. It does not run a shell and does not expand variables.

use super::shell_script::simple_commands;
use crate::graph::ContainerView;
use crate::intent::Backend;

/// The shells that run the script of `-c`.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];

/// The command and arguments of a component's container, split into words. Of a script, it contains the command that
/// runs a `dynamo` module, or all commands.
pub(super) struct ContainerCommand(Vec<String>);

/// What a container runs.
pub(super) enum Program {
    Engine(Backend),
    /// The name of another `dynamo` module, or the complete command if it does not run such a module.
    Unsupported(String),
}

impl ContainerCommand {
    /// Reads the command of a container.
    pub(super) fn from_container(container: ContainerView<'_>) -> Self {
        let args: Vec<String> = container.command().into_iter().map(Into::into).collect();
        let Some(at) = script_index(&args) else { return Self(args) };
        match simple_commands(&args[at]) {
            Some(commands) => Self(engine_command(commands, args.get(at + 2..).unwrap_or_default())),
            // Keep a script that cannot be read unparsed.
            None => Self(args),
        }
    }

    /// Returns the engine, or the program that is not a supported one.
    pub(super) fn program(&self) -> Program {
        let module = self.0.iter().find_map(|arg| arg.strip_prefix("dynamo."));
        match module {
            Some("vllm") => Program::Engine(Backend::Vllm),
            Some("mocker") => Program::Engine(Backend::Mocker),
            Some(other) => Program::Unsupported(other.to_owned()),
            None => Program::Unsupported(self.0.join(" ")),
        }
    }

    /// Returns the value of a flag, or an empty string if the flag does not have a value.
    pub(super) fn value(&self, spellings: &[&str]) -> Option<&str> {
        self.0.iter().enumerate().find_map(|(at, arg)| {
            let (name, value) = arg.split_once('=').map_or((arg.as_str(), None), |(n, v)| (n, Some(v)));
            spellings.contains(&name).then(|| {
                let next = self.0.get(at + 1).map(String::as_str).filter(|next| !next.starts_with('-'));
                value.or(next).unwrap_or_default()
            })
        })
    }

    /// Returns all flags of the engine except the given ones, each followed by its value.
    pub(super) fn flags_except(&self, excluded: &[&str]) -> Vec<String> {
        let is_number = |arg: &str| arg.parse::<f64>().is_ok();
        let start = self.0.iter().position(|arg| arg.starts_with("dynamo.")).map_or(0, |module| module + 1);
        let mut flags = Vec::new();
        let mut is_included = false;
        for arg in &self.0[start..] {
            if arg.starts_with('-') && !is_number(arg) {
                is_included = !excluded.contains(&arg.split('=').next().unwrap_or(arg));
            }
            if is_included {
                flags.push(arg.clone());
            }
        }
        flags
    }
}

/// Returns the arguments of vLLM in a container's command, given as a list or as a script. `None` if the container runs
/// another program, or a script that cannot be read.
pub fn vllm_args(container: ContainerView<'_>) -> Option<Vec<String>> {
    let ContainerCommand(words) = ContainerCommand::from_container(container);
    let at = words.iter().position(|word| word == "dynamo.vllm")?;
    Some(words[at + 1..].to_vec())
}

/// Returns the position of the script in a command such as `/bin/bash -euo pipefail -c SCRIPT`.
fn script_index(args: &[String]) -> Option<usize> {
    let is_shell = |arg: &String| SHELLS.contains(&arg.rsplit('/').next().unwrap_or_default());
    let mut at = args.iter().position(is_shell)? + 1;
    let mut has_script = false;
    while let Some(option) = args.get(at).filter(|arg| arg.starts_with(['-', '+'])) {
        let letters =
            option.strip_prefix('-').filter(|letters| !letters.starts_with('-')).unwrap_or_default();
        has_script |= letters.contains('c');
        // `-o` takes the name of an option.
        at += if letters.ends_with('o') { 2 } else { 1 };
    }
    (has_script && at < args.len()).then_some(at)
}

/// Returns the command that runs an engine or another `dynamo` module, with its parameters, or all commands.
fn engine_command(commands: Vec<Vec<String>>, parameters: &[String]) -> Vec<String> {
    let runs = |words: &[String], is_module: fn(&str) -> bool| {
        words.windows(2).any(|pair| pair[0] == "-m" && pair[1].strip_prefix("dynamo.").is_some_and(is_module))
    };
    let is_engine: fn(&str) -> bool = |module| ["vllm", "mocker", "sglang", "trtllm"].contains(&module);
    let find = |is_module| commands.iter().find(|words| runs(words, is_module)).cloned();
    let words = find(is_engine).or_else(|| find(|_| true)).unwrap_or_else(|| commands.concat());
    // `"$@"` is replaced by the arguments after the script and its name.
    let expand = |word: String| match word.as_str() {
        "$@" | "$*" => parameters.to_vec(),
        _ => vec![word],
    };
    words.into_iter().flat_map(expand).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn all_flags_of_the_engine_are_returned() {
        let args = json!({ "command": ["python3", "-u", "-m", "dynamo.vllm"],
            "args": ["--model", "m", "-q", "awq", "-O3", "--seed", "-1", "-tp=2"] });
        let command = super::ContainerCommand::from_container(crate::graph::ContainerView::new(&args));
        assert_eq!(command.flags_except(&["--model", "-tp"]), ["-q", "awq", "-O3", "--seed", "-1"]);
    }

    fn vllm_args(command: &[&str], args: &[&str]) -> Option<Vec<String>> {
        super::vllm_args(crate::graph::ContainerView::new(&json!({ "command": command, "args": args })))
    }

    #[test]
    fn engine_arguments_are_found_in_lists_and_scripts() {
        let script = "set -e\npython3 -m dynamo.kv_state_agent --slots 2 &\n\
                      exec python3 -m dynamo.vllm --model \"$M\" --seed 1 >log; echo --no-such";
        for (command, args) in [
            (&["python3", "-m", "dynamo.vllm"][..], &["--model", "$M", "--seed", "1"][..]),
            (&["python3"], &["-m", "dynamo.vllm", "--model", "$M", "--seed", "1"]),
            (&["/bin/bash", "-c"], &[script]),
            (&["/bin/sh", "-lc", script], &[]),
            (&["bash", "-euo", "pipefail", "-c", script], &["name"]),
            (&["tini", "--", "/bin/bash", "--login", "-c"], &[script]),
            (&["sh", "-c", "python3 -m dynamo.vllm \"$@\"", "sh"], &["--model", "$M", "--seed", "1"]),
        ] {
            let expected = ["--model", "$M", "--seed", "1"].map(ToOwned::to_owned).to_vec();
            assert_eq!(vllm_args(command, args), Some(expected), "{command:?} {args:?}");
        }
        for (command, args) in [
            (&["python3", "-m", "dynamo.mocker"][..], &["--model", "m"][..]),
            (&["bash", "-c"], &["python3 -m dynamo.vllm --a 'b"]),
            (&["bash", "start.sh"], &["dynamo"]),
            (&["bash", "-c"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(vllm_args(command, args), None, "{command:?} {args:?}");
        }
    }
}
