//! Commands and hints as the user of this run can type them: with the flags with which the run reaches its cluster.

use std::sync::OnceLock;

use crate::kube_flags::KubeFlags;
use kubectl_dynamo_core::command::{CommandScope, Fix, SuggestedCommand};

/// Set once, when the command line is parsed.
static SCOPE: OnceLock<CommandScope> = OnceLock::new();

/// Remembers the flags of this run.
pub(crate) fn remember_scope(flags: &KubeFlags) {
    let _ = SCOPE.set(flags.scope_of_commands());
}

/// Returns the text of a hint or a command, each command with the flags of this run.
pub(crate) fn typed(fix: impl Into<Fix>) -> String {
    let fix = fix.into();
    match SCOPE.get() {
        Some(scope) => fix.in_scope(scope).to_string(),
        None => fix.to_string(),
    }
}

/// Returns a command of this plugin about a deployment of a cluster.
pub(crate) fn deployment_command(verb: &str, name: &str, namespace: &str) -> SuggestedCommand {
    SuggestedCommand::plugin(verb).operand(name, "NAME").in_namespace(namespace)
}
