//! Derives the parsers of a model from its chat template and the architecture in its configuration.

use serde_json::Value;

use super::ChatTemplate;
use super::formats::{
    ALWAYS_THINKS, DEEPSEEK, DEEPSEEK_OPTIONAL, GLM, KIMI, KIMI_OPTIONAL, MINIMAX, OTHER, OutputFormat, QWEN,
    REASONING_FORMATS, TOOL_CALL_FORMATS,
};
use crate::intent::ParserKind;
use crate::release::Release;

/// What a template says about the parser of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetectedParser {
    /// The parser, and why it fits.
    Found { name: &'static str, reason: String },
    /// The template does not have what the parser reads.
    NotNeeded { reason: String },
    /// The model writes what a parser should read, but the release does not have a parser for it. The hint names
    /// what the user can set.
    NotAvailable { reason: String, hint: Option<String> },
}

/// The parsers of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedParsers {
    pub tool_call: DetectedParser,
    pub reasoning: DetectedParser,
    /// vLLM's own parser of the same reasoning. Without it, vLLM applies the schema of a structured answer from the
    /// first token, so the model cannot reason before it answers.
    pub engine_reasoning: Option<&'static str>,
}

/// Derives the parsers from the template, and from the architecture in `config.json` if it is known.
pub fn detect(template: &ChatTemplate, config: Option<&Value>, release: &Release) -> DetectedParsers {
    let text = template.text();
    let tool_call = match TOOL_CALL_FORMATS.iter().find(|format| format.is_in(text)) {
        Some(format) => parser_for(format, ParserKind::ToolCall, release),
        None if text.contains("tools") || text.contains("tool_calls") => DetectedParser::NotAvailable {
            reason: "the format of its tool calls is unknown".into(),
            hint: None,
        },
        None => DetectedParser::NotNeeded { reason: "template does not have tools".into() },
    };
    let Some(format) = reasoning_format(text, config) else {
        let reasoning = DetectedParser::NotNeeded { reason: "template does not have reasoning".into() };
        return DetectedParsers { tool_call, reasoning, engine_reasoning: None };
    };
    let reasoning = parser_for(format, ParserKind::Reasoning, release);
    let is_found = matches!(reasoning, DetectedParser::Found { .. });
    let is_known = |name: &&str| release.check_parser(ParserKind::EngineReasoning, name).is_ok();
    DetectedParsers {
        tool_call,
        reasoning,
        engine_reasoning: format.engine_parser.filter(|_| is_found).filter(is_known),
    }
}

fn parser_for(format: &OutputFormat, kind: ParserKind, release: &Release) -> DetectedParser {
    let reason = format!("template has {}", format.description);
    let is_known = |name: &&&str| release.check_parser(kind, name).is_ok();
    match (format.parsers.iter().find(is_known), format.parsers.first(), format.requirement) {
        (Some(name), _, None) => DetectedParser::Found { name, reason },
        (Some(name), _, Some(requirement)) => DetectedParser::NotAvailable {
            reason: format!("{reason}, which the parser \"{name}\" reads only with a further setting"),
            hint: Some(format!("use {requirement}")),
        },
        (None, Some(name), _) => {
            let known_in =
                release.check_parser(kind, name).map_or_else(|unknown| unknown.known_in, |()| Vec::new());
            DetectedParser::NotAvailable {
                reason: format!(
                    "{reason}, and Dynamo {} does not have the parser \"{name}\"",
                    release.version
                ),
                hint: known_in.last().map(|newest| format!("use --release {newest}")),
            }
        }
        (None, None, _) => DetectedParser::NotAvailable {
            reason: format!("{reason}, which Dynamo does not have a parser for"),
            hint: None,
        },
    }
}

/// A format that occurs in the text of an answer, where a parser should have removed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnparsedFormat {
    /// The markers, for messages.
    pub description: &'static str,
    /// The parser of the release that reads the format.
    pub parser: Option<&'static str>,
}

/// Finds the format of unparsed tool calls or reasoning in the text of an answer; `None` if there is none.
pub fn find_unparsed(text: &str, kind: ParserKind, release: &Release) -> Option<UnparsedFormat> {
    let format = match kind {
        ParserKind::ToolCall => TOOL_CALL_FORMATS.iter().find(|format| format.is_in(text))?,
        ParserKind::Reasoning | ParserKind::EngineReasoning => reasoning_format(text, None)?,
    };
    let parser = format.parsers.iter().find(|name| release.check_parser(kind, name).is_ok());
    Some(UnparsedFormat { description: format.description, parser: parser.copied() })
}

/// The format of the model's reasoning, if it has any. Many families write `<think>`, so the architecture decides.
fn reasoning_format(text: &str, config: Option<&Value>) -> Option<&'static OutputFormat> {
    if let Some(format) = REASONING_FORMATS.iter().find(|format| format.is_in(text)) {
        return Some(format);
    }
    if !text.contains("<think>") && !text.contains("</think>") {
        return None;
    }
    let architecture =
        config.and_then(|config| config.pointer("/architectures/0")?.as_str()).unwrap_or_default();
    let (is_kimi, is_optional) = (text.contains("<|im_middle|>"), has_variable(text, "thinking"));
    Some(match architecture {
        _ if is_kimi && is_optional => &KIMI_OPTIONAL,
        _ if is_kimi => &KIMI,
        _ if text.contains("<｜Assistant｜>") && is_optional => &DEEPSEEK_OPTIONAL,
        _ if architecture.starts_with("MiniMax") => &MINIMAX,
        _ if always_thinks(text) => &ALWAYS_THINKS,
        _ if text.contains("<｜Assistant｜>") => &DEEPSEEK,
        _ if architecture.starts_with("Glm") || text.contains("[gMASK]") => &GLM,
        _ if architecture.starts_with("Qwen") || text.contains("enable_thinking") => &QWEN,
        _ => &OTHER,
    })
}

/// Whether the template uses a variable of this name, and not only a longer word that contains it.
fn has_variable(text: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(name)
        .any(|(at, _)| !text[..at].ends_with(is_word) && !text[at + name.len()..].starts_with(is_word))
}

/// Whether every prompt ends with `<think>`: the template's last part adds it and does not depend on a variable.
fn always_thinks(text: &str) -> bool {
    let Some((_, end)) = text.rsplit_once("add_generation_prompt") else { return false };
    end.contains("<think>") && !end.contains("</think>") && !end.contains("thinking")
}

#[cfg(test)]
mod tests;
