//! The fixes of the diagnosis rules as data, and how they become commands for one deployment.

use super::context::DiagnosisContext;
use crate::command::{
    Fix, SuggestedCommand, UNKNOWN_MODEL, UNKNOWN_NAME, UNKNOWN_NAMESPACE, UNKNOWN_POD, UNKNOWN_VALUE,
};

/// A part of a rule's fix. All words contain the groups of the rule's pattern as `$1`.
#[derive(Debug)]
pub(super) enum FixPart {
    /// Text without a command.
    Text(&'static str),
    /// `up` with these flags.
    Up(&'static [&'static str]),
    /// `up` with twice the tensor parallel size.
    UpMoreGpus,
    /// `up` with the largest power of two below `size` that divides `heads` as tensor parallel size.
    UpDivisor { heads: &'static str, size: &'static str },
    /// `up` with the share of a GPU's memory that is free.
    UpFreeMemory { free: &'static str, total: &'static str },
    /// `up` with an argument of the engine.
    UpEngine(&'static str),
    /// `up` with another image of the container with the problem.
    UpImage(&'static str),
    /// `up` of the same model under another name.
    UpRenamed,
    /// Another verb about the deployment, with these flags.
    Verb(&'static str, &'static [&'static str]),
    /// `fit` of any model.
    FitModel,
    /// A command of kubectl about objects of the namespace, with `{name}` and `{pod}`.
    Kubectl(&'static [&'static str]),
    /// The log of the container that failed: the one before its last restart, if it has restarted.
    PodLog,
    /// A command of kubectl about the whole cluster, with `{namespace}`.
    KubectlCluster(&'static [&'static str]),
}

impl FixPart {
    fn changes_the_deployment(&self) -> bool {
        matches!(
            self,
            Self::Up(_)
                | Self::UpMoreGpus
                | Self::UpDivisor { .. }
                | Self::UpFreeMemory { .. }
                | Self::UpEngine(_)
                | Self::UpImage(_)
        )
    }
}

/// Renders a fix. `expand` replaces the groups of the pattern.
pub(super) fn render(parts: &[FixPart], context: &DiagnosisContext, expand: &dyn Fn(&str) -> String) -> Fix {
    let expand_all =
        |words: &[&str]| -> Vec<String> { words.iter().map(|word| expand_word(word, expand)).collect() };
    let adopt = || Fix::default().text("take it over with ").command(context.verb("adopt")).text(", then ");
    let needs_adoption = context.is_foreign && parts.iter().any(FixPart::changes_the_deployment);
    let start = if needs_adoption { adopt() } else { Fix::default() };
    parts.iter().fold(start, |fix, part| match part {
        FixPart::Text(text) => fix.text(expand(text)),
        FixPart::Up(flags) => fix.command(context.update(&expand_all(flags))),
        FixPart::UpMoreGpus => {
            fix.command(context.update_tensor_parallel(context.tensor_parallel.max(1) * 2))
        }
        FixPart::UpDivisor { heads, size } => {
            let number = |group: &str| expand(group).parse().unwrap_or(1);
            let size = largest_divisor(number(heads), number(size));
            fix.command(context.update_tensor_parallel(size))
        }
        FixPart::UpFreeMemory { free, total } => {
            let share = match (expand(free).parse::<f64>(), expand(total).parse::<f64>()) {
                (Ok(free), Ok(total)) if total > 0.0 => {
                    format!("{:.2}", (free / total * 100.0).floor() / 100.0)
                }
                _ => UNKNOWN_VALUE.to_owned(),
            };
            fix.command(context.update_engine(&format!("--gpu-memory-utilization={share}")))
        }
        FixPart::UpEngine(argument) => fix.command(context.update_engine(&expand_word(argument, expand))),
        FixPart::UpImage(image) => fix.command(context.update_image(image)),
        FixPart::UpRenamed => {
            let command = DiagnosisContext::new_deployment("").in_namespace(&context.namespace);
            fix.command(command.flag("--name").flag("SHORTER"))
        }
        FixPart::Verb(verb, flags) => {
            let flags = expand_all(flags);
            fix.command(flags.iter().fold(context.verb(verb), |command, flag| command.flag(flag)))
        }
        FixPart::FitModel => fix.command(SuggestedCommand::plugin("fit").operand("", UNKNOWN_MODEL)),
        FixPart::Kubectl(words) => {
            fix.command(kubectl(words, context, expand).in_namespace(&context.namespace))
        }
        FixPart::PodLog => {
            let log = kubectl(&["logs", "{pod}"], context, expand).in_namespace(&context.namespace);
            fix.command(if context.has_restarted { log.flag("--previous") } else { log })
        }
        FixPart::KubectlCluster(words) => fix.command(kubectl(words, context, expand)),
    })
}

/// Returns the largest power of two below `size` that divides `heads`.
fn largest_divisor(heads: u32, size: u32) -> u32 {
    let powers = (0..32).map(|exponent| 1 << exponent);
    powers
        .take_while(|power| *power < size.max(2))
        .filter(|power| heads.is_multiple_of(*power))
        .max()
        .unwrap_or(1)
}

/// Expands a word of a command. A group without text becomes a placeholder.
fn expand_word(template: &str, expand: &dyn Fn(&str) -> String) -> String {
    let word = expand(template);
    if word.is_empty() || word.ends_with('=') { word + UNKNOWN_VALUE } else { word }
}

fn kubectl(words: &[&str], context: &DiagnosisContext, expand: &dyn Fn(&str) -> String) -> SuggestedCommand {
    words.iter().fold(SuggestedCommand::kubectl(""), |command, word| match *word {
        "{name}" => command.operand(context.name(), UNKNOWN_NAME),
        "{pod}" => command.operand(context.pod.as_deref().unwrap_or_default(), UNKNOWN_POD),
        "{namespace}" => command.operand(&context.namespace, UNKNOWN_NAMESPACE),
        word => command.operand(&expand(word), UNKNOWN_NAME),
    })
}
