//! The last word of a verb that went on without a right: what it left out, and who gives the right.

use super::Context;
use crate::error::{Error, Exit};
use crate::intent::Word;
use crate::rights::{Persona, persona_with};

/// Says it, unless access is what the verb failed of: then that is told.
pub(super) fn say(context: &Context, failure: Option<&Error>) {
    if failure.is_some_and(|error| error.exit() == Exit::Access) {
        return;
    }
    let denied = context.refusals.all();
    let Some(first) = denied.first() else { return };
    let all: Vec<String> = denied.iter().map(|one| format!("no right to {one}")).collect();
    let persona = |verb: &str, resource: &str| persona_with(context.verb, verb, resource);
    let personas = denied.iter().filter_map(|one| persona(&one.verb, &one.resource));
    let hint =
        personas.max().map(|persona: Persona| match denied.iter().all(|one| one.place == first.place) {
            true => format!("ask an admin for what {} may: {}", article(persona), first.generate(persona)),
            false => {
                format!("ask an admin for what {} may: kubectl dynamo rbac generate --help", article(persona))
            }
        });
    context.report.warn(Some("KD0110"), format!("left out: {}", all.join("; ")), hint);
}

fn article(persona: Persona) -> String {
    format!("a {}", persona.as_str())
}
