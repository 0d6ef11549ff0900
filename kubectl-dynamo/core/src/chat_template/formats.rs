//! The formats in which models write tool calls and reasoning: the texts by which a template shows a format, and the
//! parsers that read it. Each pair was tried with the frontend of 1.6.1 and a worker that answers fixed text, and with
//! the parsers of the wheel of 1.2.1, except `harmony`, which reads token IDs.

/// One format of tool calls or reasoning.
pub(super) struct OutputFormat {
    /// The texts that all occur in the template.
    pub markers: &'static [&'static str],
    /// What the template has, for messages.
    pub description: &'static str,
    /// The parsers that read the format, the best one first. Empty if none does.
    pub parsers: &'static [&'static str],
    /// vLLM's own parser of the same reasoning.
    pub engine_parser: Option<&'static str>,
    /// What a parser needs to read the format, if not only its name.
    pub requirement: Option<&'static str>,
}

const fn format(
    markers: &'static [&'static str],
    description: &'static str,
    parsers: &'static [&'static str],
) -> OutputFormat {
    OutputFormat { markers, description, parsers, engine_parser: None, requirement: None }
}

impl OutputFormat {
    const fn with_engine_parser(self, name: &'static str) -> Self {
        Self { engine_parser: Some(name), ..self }
    }

    const fn with_requirement(self, requirement: &'static str) -> Self {
        Self { requirement: Some(requirement), ..self }
    }

    /// Whether the template shows this format.
    pub(super) fn is_in(&self, template: &str) -> bool {
        self.markers.iter().all(|marker| template.contains(marker))
    }
}

/// The formats of tool calls. The first one that a template shows counts, so the more specific ones come first.
pub(super) const TOOL_CALL_FORMATS: &[OutputFormat] = &[
    format(&["<｜DSML｜", "tool_calls>"], "`<｜DSML｜tool_calls>`", &["deepseek_v4"]),
    format(&["<｜DSML｜"], "`<｜DSML｜function_calls>`", &["deepseek_v3_2"]),
    format(&["<｜tool▁sep｜>", "```json"], "`<｜tool▁sep｜>` with JSON in a code block", &["deepseek_v3"]),
    format(&["<｜tool▁sep｜>"], "`<｜tool▁sep｜>` with JSON", &["deepseek_v3_1"]),
    format(&["<|tool_calls_section_begin|>"], "`<|tool_calls_section_begin|>`", &["kimi_k2"]),
    format(&["<|channel|>", "commentary"], "`<|channel|>commentary`", &["harmony"]),
    format(&["<minimax:tool_call>"], "`<minimax:tool_call>`", &["minimax_m2"]),
    format(&["</arg_key><arg_value>"], "`<arg_key>` and `<arg_value>` on one line", &["glm47"]),
    // `glm47` of 1.6.1 reads the call, but without its arguments.
    format(&["<arg_key>"], "`<arg_key>` and `<arg_value>` on separate lines", &["glm45"])
        .with_requirement("--tool-call-parser glm45 --env DYN_PARSER_VERSION=2"),
    format(&["<function=", "<parameter="], "`<function=` and `<parameter=`", &["qwen3_coder"]),
    format(&["[TOOL_CALLS]", "[ARGS]"], "`[TOOL_CALLS]` with `[ARGS]`", &[]),
    format(&["[TOOL_CALLS]"], "`[TOOL_CALLS]` with JSON", &["mistral"]),
    format(&["<|tool_call>call:"], "`<|tool_call>call:`", &["gemma4"]),
    format(&["<TOOLCALL>"], "`<TOOLCALL>`", &["nemotron_deci"]),
    format(&["<tool_calls>"], "`<tool_calls>` with JSON", &["jamba"]),
    format(&["<|/tool|>"], "`<|tool|>`", &["phi4"]),
    format(&["<|start_of_role|>", "<|tool_call|>"], "`<|tool_call|>` with JSON", &[]),
    format(&["<tool_call>", "arguments"], "`<tool_call>` with JSON", &["hermes"]),
    format(&["func_name1("], "calls in Python's notation", &["pythonic"]),
    format(&["dictionary of argument name"], "JSON with `parameters`", &["llama3_json"]),
];

/// The formats of reasoning with markers that only one family has.
pub(super) const REASONING_FORMATS: &[OutputFormat] = &[
    format(&["<|channel|>", "analysis"], "`<|channel|>analysis`", &["gpt_oss"])
        .with_engine_parser("openai_gptoss"),
    format(&["<|channel>thought"], "`<|channel>thought`", &["gemma4"]).with_engine_parser("gemma4"),
    format(&["◁think▷"], "`◁think▷`", &["kimi"]),
    format(&["[THINK]"], "`[THINK]`", &["mistral"]).with_engine_parser("mistral"),
    format(&["Here is my thought process"], "`Here is my thought process`", &["granite"])
        .with_engine_parser("granite"),
    format(&["<think>", "<response>"], "`<think>` and `<response>`", &[]),
];

/// `<think>` of DeepSeek models that think only if the request asks for it.
pub(super) const DEEPSEEK_OPTIONAL: OutputFormat =
    format(&[], "`</think>` and the variable `thinking`", &["deepseek_v3_1"])
        .with_engine_parser("deepseek_v3");
/// `<think>` in every prompt: the answer starts inside the reasoning.
pub(super) const ALWAYS_THINKS: OutputFormat =
    format(&[], "`<think>` at the end of each prompt", &["deepseek_r1"]).with_engine_parser("deepseek_r1");
pub(super) const DEEPSEEK: OutputFormat =
    format(&[], "`</think>`", &["deepseek_r1"]).with_engine_parser("deepseek_r1");
pub(super) const MINIMAX: OutputFormat =
    format(&[], "`<think>`", &["minimax_m2", "minimax_append_think"]).with_engine_parser("minimax_m2");
pub(super) const GLM: OutputFormat =
    format(&[], "`<think>`", &["glm45", "nemotron_deci"]).with_engine_parser("glm45");
pub(super) const KIMI_OPTIONAL: OutputFormat =
    format(&[], "`<think>` and the variable `thinking`", &["kimi_k25"]).with_engine_parser("kimi_k2");
pub(super) const KIMI: OutputFormat =
    format(&[], "`<think>`", &["kimi_k2", "basic"]).with_engine_parser("kimi_k2");
pub(super) const QWEN: OutputFormat = format(&[], "`<think>`", &["qwen3"]).with_engine_parser("qwen3");
/// `<think>` of other models. vLLM would wait for its end also where a model does not think.
pub(super) const OTHER: OutputFormat = format(&[], "`<think>`", &["basic"]);
