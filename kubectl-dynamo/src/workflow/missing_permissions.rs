//! Warns at the end of a command about optional permissions that it had to do without, and names the persona
//! that grants them. It never fails a command.

use crate::context::Context;
use kubectl_dynamo_core::code::MessageCode;
use kubectl_dynamo_core::command::{Fix, SuggestedCommand};
use kubectl_dynamo_core::error::{Error, Exit};
use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::rbac::{Persona, persona_granting};

/// Reports the missing permissions as one warning, unless the command itself failed with an access error.
pub(crate) fn warn_missing_permissions(context: &Context, failure: Option<&Error>) {
    if failure.is_some_and(|error| error.exit() == Exit::Access) {
        return;
    }
    let missing = context.missing_permissions.all();
    let Some(first) = missing.first() else { return };
    let descriptions: Vec<String> =
        missing.iter().map(|one| format!("missing permission to {one}")).collect();
    let persona = |verb: &str, resource: &str| persona_granting(context.verb, verb, resource);
    let personas = missing.iter().filter_map(|one| persona(&one.verb, &one.resource));
    let request =
        |persona| Fix::from(format!("ask an administrator for the role of {}: ", with_article(persona)));
    let hint =
        personas.max().map(|persona: Persona| match missing.iter().all(|one| one.scope == first.scope) {
            true => request(persona).then(first.grant_command(persona)),
            false => request(persona).command(SuggestedCommand::plugin("rbac generate").flag("--help")),
        });
    context.report.warn(
        Some(MessageCode::OutputSkipped),
        format!("skipped: {}", descriptions.join("; ")),
        hint,
    );
}

fn with_article(persona: Persona) -> String {
    format!("a {}", persona.as_str())
}
