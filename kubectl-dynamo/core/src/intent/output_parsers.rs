//! The parsers with which the frontend reads tool calls and reasoning from the model's text. The names depend on the
//! release; `plan` checks them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a parser reads from the output of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParserKind {
    /// Dynamo's parsers of tool calls.
    ToolCall,
    /// Dynamo's parsers of reasoning text.
    Reasoning,
    /// vLLM's own parsers of reasoning text, which tell it where a structured answer starts.
    EngineReasoning,
}

impl ParserKind {
    /// All kinds.
    pub const ALL: &'static [Self] = &[Self::ToolCall, Self::Reasoning, Self::EngineReasoning];

    /// The kind as the table of names spells it.
    pub fn key(self) -> &'static str {
        match self {
            Self::ToolCall => "tool-call",
            Self::Reasoning => "reasoning",
            Self::EngineReasoning => "engine-reasoning",
        }
    }

    /// The worker's flag.
    pub fn worker_flag(self) -> &'static str {
        match self {
            Self::ToolCall => "--dyn-tool-call-parser",
            Self::Reasoning => "--dyn-reasoning-parser",
            Self::EngineReasoning => "--reasoning-parser",
        }
    }

    /// The path of the field in a request. vLLM's own parsers are engine flags.
    pub fn path(self) -> &'static str {
        match self {
            Self::ToolCall => "toolCallParser",
            Self::Reasoning => "reasoningParser",
            Self::EngineReasoning => "engineArgs",
        }
    }

    /// The flag of the plugin. vLLM's own parsers are only selected by engine flags.
    pub fn plugin_flag(self) -> &'static str {
        match self {
            Self::ToolCall => "--tool-call-parser",
            Self::Reasoning => "--reasoning-parser",
            Self::EngineReasoning => "-- --reasoning-parser",
        }
    }
}

impl fmt::Display for ParserKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToolCall => "tool-call parser",
            Self::Reasoning => "reasoning parser",
            Self::EngineReasoning => "reasoning parser of vLLM",
        })
    }
}

/// The frontend's variable that selects the version of Dynamo's parsers.
pub const PARSER_VERSION_VARIABLE: &str = "DYN_PARSER_VERSION";

/// The value that derives a parser from the chat template of the model.
pub const AUTO_PARSER: &str = "auto";

/// The value that disables a parser.
pub const NO_PARSER: &str = "none";

/// The parsers of a deployment, by name or `none`. A parser that is not set is not used, and deployments of earlier
/// versions of the plugin do not set them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputParsers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

impl OutputParsers {
    /// Whether neither parser is set.
    pub fn is_unset(&self) -> bool {
        self.tool_call.is_none() && self.reasoning.is_none()
    }

    /// The name of a parser that is used.
    pub fn name(&self, kind: ParserKind) -> Option<&str> {
        self.names().find(|(used, _)| *used == kind).map(|(_, name)| name)
    }

    /// Sets a parser of Dynamo. vLLM's own parser is an engine flag.
    pub fn set(&mut self, kind: ParserKind, name: &str) {
        match kind {
            ParserKind::ToolCall => self.tool_call = Some(name.into()),
            ParserKind::Reasoning => self.reasoning = Some(name.into()),
            ParserKind::EngineReasoning => {}
        }
    }

    /// The parsers that are used, with their names.
    pub fn names(&self) -> impl Iterator<Item = (ParserKind, &str)> {
        [(ParserKind::ToolCall, &self.tool_call), (ParserKind::Reasoning, &self.reasoning)]
            .into_iter()
            .filter_map(|(kind, name)| Some((kind, name.as_deref().filter(|name| *name != NO_PARSER)?)))
    }
}
