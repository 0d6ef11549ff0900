//! Checks the parsers of the model's output against the release. A worker whose parser is unknown ends when it
//! registers, after it has loaded the model.

use super::error::PlanError;
use super::unknown_names::UnknownNames;
use super::warning::PlanWarning;
use crate::intent::engine_flags::{has_flag, value};
use crate::intent::output_parsers::PARSER_VERSION_VARIABLE;
use crate::intent::{ParserKind, ServingIntent};
use crate::release::{Release, SECOND_VERSION_PARSERS, UnknownParser};

/// Registers more parsers of vLLM from a file in the image.
const ENGINE_PLUGIN_FLAG: &str = "--reasoning-parser-plugin";

/// Checks the parsers of a worker group: those of the request, and those in its engine arguments.
///
/// # Errors
/// A parser that is set twice, and a parser that the release does not know, unless the image may know more.
pub(super) fn check(
    intent: &ServingIntent,
    release: &'static Release,
    args: &[String],
    unknown_names: UnknownNames,
) -> Result<Vec<PlanWarning>, PlanError> {
    if let Some((kind, _)) = intent.parsers.names().find(|(kind, _)| has_flag(args, kind.worker_flag())) {
        let (flag, plugin_flag) = (kind.worker_flag(), kind.plugin_flag());
        return Err(PlanError::FlagConflict { flag, plugin_flag, why: "both select the parser" });
    }
    let needs_second_version = |(kind, name): &(ParserKind, &str)| {
        *kind == ParserKind::ToolCall && SECOND_VERSION_PARSERS.contains(name)
    };
    let has_variable = intent.placement.env.iter().any(|(name, _)| name == PARSER_VERSION_VARIABLE);
    let second = intent.parsers.names().find(needs_second_version).filter(|_| !has_variable);
    let mut warnings: Vec<PlanWarning> =
        second.map(|(_, name)| PlanWarning::SecondParserVersion { name: name.into() }).into_iter().collect();
    let unknown = intent.parsers.names().filter_map(|(kind, name)| release.check_parser(kind, name).err());
    let unknown = unknown.chain(unknown_in_args(release, args));
    let release = release.version;
    for unknown in unknown {
        if unknown_names == UnknownNames::Rejected {
            return Err(PlanError::UnknownParser { release, unknown });
        }
        warnings.push(PlanWarning::UnknownParser { release, unknown });
    }
    Ok(warnings)
}

/// The parsers in the arguments of a worker that the release does not know.
pub(super) fn unknown_in_args(release: &Release, args: &[String]) -> impl Iterator<Item = UnknownParser> {
    let has_plugin = has_flag(args, ENGINE_PLUGIN_FLAG);
    let is_checked = move |kind: &ParserKind| *kind != ParserKind::EngineReasoning || !has_plugin;
    let kinds = ParserKind::ALL.iter().copied().filter(is_checked);
    kinds.filter_map(|kind| release.check_parser(kind, &value(args, kind.worker_flag())?).err())
}
