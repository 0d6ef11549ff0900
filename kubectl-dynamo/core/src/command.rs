//! Commands that a message asks the user to type, and the hints and fixes that contain them.
//!
//! Every hint is a [`Fix`], so that the plugin can add the flags with which this run reaches its cluster. A placeholder
//! of this module replaces each unknown value, so that a command is never printed with a blank. A test of the plugin
//! parses every command of every fix with the parser of the command line.

use std::borrow::Cow;
use std::fmt;

/// Placeholders for values that are not known.
pub const UNKNOWN_NAME: &str = "NAME";
pub(crate) const UNKNOWN_MODEL: &str = "MODEL";
pub(crate) const UNKNOWN_NAMESPACE: &str = "NAMESPACE";
pub(crate) const UNKNOWN_POD: &str = "POD";
pub(crate) const UNKNOWN_VALUE: &str = "VALUE";
/// The words with which kubectl runs this plugin.
pub const PROGRAM: &str = "kubectl dynamo";
/// A flag that reads the token, and the redirection that a command with it needs.
const TOKEN_FLAG: &str = "--hf-token-stdin";
const TOKEN_REDIRECTION: &str = "< token.txt";

/// A command that the user can type: `kubectl dynamo VERB NAME -n NAMESPACE FLAGS -- ENGINE_ARGUMENTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuggestedCommand {
    program: &'static str,
    /// The verb and its operands.
    words: Vec<String>,
    namespace: Option<String>,
    flags: Vec<String>,
    /// Flags that select the cluster, such as `--context`.
    connection: Vec<String>,
    engine_arguments: Vec<String>,
    target: CommandTarget,
}

/// What a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommandTarget {
    Namespace,
    /// Objects outside of namespaces, or in all of them.
    Cluster,
    /// Files and processes of this machine.
    Machine,
}

/// The flags with which a run selects its cluster and namespace. A command of a hint needs the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandScope {
    pub namespace: Option<String>,
    /// Flags and values such as `--context`, `prod`.
    pub connection: Vec<String>,
}

/// Verbs of this plugin that do not contact a cluster.
const OFFLINE_VERBS: [&str; 8] =
    ["completion", "config", "docs", "explain", "fit", "rbac", "recommend", "version"];

impl SuggestedCommand {
    /// A command of this plugin. `verb` may contain a subcommand, such as `cache pull`.
    pub fn plugin(verb: &str) -> Self {
        Self::new(PROGRAM, verb)
    }

    /// A command of kubectl, such as `describe pod`.
    pub fn kubectl(verb: &str) -> Self {
        Self::new("kubectl", verb)
    }

    fn new(program: &'static str, verb: &str) -> Self {
        let words: Vec<String> = verb.split_whitespace().map(str::to_owned).collect();
        let is_offline =
            program != "kubectl" && words.first().is_some_and(|verb| OFFLINE_VERBS.contains(&verb.as_str()));
        Self {
            program,
            words,
            namespace: None,
            flags: Vec::new(),
            connection: Vec::new(),
            engine_arguments: Vec::new(),
            target: if is_offline { CommandTarget::Machine } else { CommandTarget::Namespace },
        }
    }

    /// The command that lists all fields of a request, with their values.
    pub(crate) fn list_fields() -> Self {
        Self::plugin("config schema").flag("-o").flag("table")
    }

    /// The command works on objects that are not in a namespace.
    #[must_use]
    pub fn cluster_scoped(mut self) -> Self {
        self.target = CommandTarget::Cluster;
        self
    }

    /// The command does not contact a cluster.
    #[must_use]
    pub fn on_this_machine(mut self) -> Self {
        self.target = CommandTarget::Machine;
        self
    }

    /// Adds the flags with which this run reaches its cluster. A namespace of the command is kept.
    #[must_use]
    pub fn in_scope(mut self, scope: &CommandScope) -> Self {
        if self.target == CommandTarget::Namespace && self.namespace.is_none() {
            self.namespace.clone_from(&scope.namespace);
        }
        if self.target != CommandTarget::Machine {
            self.connection.clone_from(&scope.connection);
        }
        self
    }

    /// Returns a hint of text that ends with this command.
    pub fn after(self, text: impl Into<String>) -> Fix {
        Fix::default().text(text).command(self)
    }

    /// Adds an operand, such as the name of the deployment. `placeholder` replaces an unknown one.
    #[must_use]
    pub fn operand(mut self, value: &str, placeholder: &str) -> Self {
        self.words.push(if value.is_empty() { placeholder.into() } else { value.into() });
        self
    }

    /// Sets the namespace. An unknown one is omitted, and the command then uses the one of the context.
    #[must_use]
    pub fn in_namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty());
        self
    }

    /// Adds a flag or the value of one.
    #[must_use]
    pub fn flag(mut self, word: &str) -> Self {
        match word {
            "--local" => self.target = CommandTarget::Machine,
            "-A" => self.target = CommandTarget::Cluster,
            _ => {}
        }
        self.flags.push(if word.is_empty() { UNKNOWN_VALUE.into() } else { word.into() });
        self
    }

    /// Adds an argument of the engine, after `--`.
    #[must_use]
    pub fn engine_argument(mut self, word: &str) -> Self {
        self.engine_arguments.push(word.into());
        self
    }

    /// Whether this is a command of this plugin.
    pub fn is_plugin(&self) -> bool {
        self.program != "kubectl"
    }

    /// The words after the program, as a shell would pass them.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = self.words.clone();
        all.extend(self.namespace.iter().flat_map(|namespace| ["-n".to_owned(), namespace.clone()]));
        all.extend(self.flags.iter().chain(&self.connection).cloned());
        if !self.engine_arguments.is_empty() {
            all.push("--".into());
            all.extend(self.engine_arguments.iter().cloned());
        }
        all
    }
}

impl fmt::Display for SuggestedCommand {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.program)?;
        for word in self.arguments() {
            write!(f, " {}", quote(&word))?;
        }
        if self.flags.iter().any(|flag| flag == TOKEN_FLAG) {
            write!(f, " {TOKEN_REDIRECTION}")?;
        }
        Ok(())
    }
}

/// Quotes a word for a shell, if it needs that.
fn quote(word: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_=:/.,@%+-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.into() } else { shell_words::quote(word) }
}

/// A hint, or how to fix a problem: text and commands in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fix {
    parts: Vec<FixPart>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum FixPart {
    Text(String),
    Command(SuggestedCommand),
}

impl Fix {
    /// Adds text. It must not contain a command.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.parts.push(FixPart::Text(text.into()));
        self
    }

    #[must_use]
    pub fn command(mut self, command: SuggestedCommand) -> Self {
        self.parts.push(FixPart::Command(command));
        self
    }

    /// Adds another hint.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        self.parts.extend(next.parts);
        self
    }

    /// Adds the flags with which this run reaches its cluster to each command.
    #[must_use]
    pub fn in_scope(self, scope: &CommandScope) -> Self {
        let part = |part| match part {
            FixPart::Text(text) => FixPart::Text(text),
            FixPart::Command(command) => FixPart::Command(command.in_scope(scope)),
        };
        Self { parts: self.parts.into_iter().map(part).collect() }
    }

    /// The commands of the fix, in order.
    pub fn commands(&self) -> impl Iterator<Item = &SuggestedCommand> {
        self.parts.iter().filter_map(|part| match part {
            FixPart::Command(command) => Some(command),
            FixPart::Text(_) => None,
        })
    }
}

impl From<String> for Fix {
    fn from(text: String) -> Self {
        Self::default().text(text)
    }
}

impl From<&str> for Fix {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<SuggestedCommand> for Fix {
    fn from(command: SuggestedCommand) -> Self {
        Self::default().command(command)
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for part in &self.parts {
            match part {
                FixPart::Text(text) => f.write_str(text)?,
                FixPart::Command(command) => write!(f, "{command}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_value_is_never_a_blank() {
        let command =
            SuggestedCommand::plugin("up").operand("", "NAME").in_namespace("").flag("--image").flag("");
        assert_eq!(command.to_string(), "kubectl dynamo up NAME --image VALUE");
        let known =
            SuggestedCommand::plugin("cache pull").operand("acme/tiny", "MODEL").in_namespace("serving");
        assert_eq!(known.to_string(), "kubectl dynamo cache pull acme/tiny -n serving");
    }

    #[test]
    fn a_command_gets_the_flags_with_which_this_run_reaches_its_cluster() {
        let scope = CommandScope {
            namespace: Some("serving".into()),
            connection: vec!["--context".into(), "prod h100".into()],
        };
        let plugin = |verb: &str| SuggestedCommand::plugin(verb);
        let kubectl = |verb: &str| SuggestedCommand::kubectl(verb);
        for (command, expected) in [
            (
                plugin("up tiny").engine_argument("--x"),
                "kubectl dynamo up tiny -n serving --context 'prod h100' -- --x",
            ),
            (
                plugin("status tiny").in_namespace("other"),
                "kubectl dynamo status tiny -n other --context 'prod h100'",
            ),
            (plugin("list").flag("-A"), "kubectl dynamo list -A --context 'prod h100'"),
            (plugin("status").flag("--local"), "kubectl dynamo status --local"),
            (plugin("explain"), "kubectl dynamo explain"),
            (kubectl("get pvc"), "kubectl get pvc -n serving --context 'prod h100'"),
            (kubectl("get nodes").cluster_scoped(), "kubectl get nodes --context 'prod h100'"),
            (kubectl("config view").on_this_machine(), "kubectl config view"),
        ] {
            assert_eq!(command.in_scope(&scope).to_string(), expected);
        }
        let hint = kubectl("logs w").after("read ").text(", then retry");
        assert_eq!(hint.clone().in_scope(&CommandScope::default()), hint);
        let typed = "read kubectl logs w -n serving --context 'prod h100', then retry";
        assert_eq!(hint.in_scope(&scope).to_string(), typed);
    }

    #[test]
    fn a_word_is_quoted_for_a_shell() {
        let command = SuggestedCommand::plugin("up").operand("tiny", "NAME").flag("--env").flag("A=b c");
        assert_eq!(command.to_string(), "kubectl dynamo up tiny --env 'A=b c'");
        assert_eq!(command.arguments(), ["up", "tiny", "--env", "A=b c"]);
    }

    #[test]
    fn engine_arguments_and_the_token_come_last() {
        let command =
            SuggestedCommand::plugin("up").operand("tiny", "NAME").engine_argument("--max-model-len=8");
        assert_eq!(command.to_string(), "kubectl dynamo up tiny -- --max-model-len=8");
        let token = SuggestedCommand::plugin("up").operand("tiny", "NAME").flag("--hf-token-stdin");
        assert_eq!(token.to_string(), "kubectl dynamo up tiny --hf-token-stdin < token.txt");
        let fix = Fix::default().text("allow it with ").command(token.clone());
        assert_eq!(fix.to_string(), format!("allow it with {token}"));
        assert_eq!(fix.commands().collect::<Vec<_>>(), [&token]);
    }
}
