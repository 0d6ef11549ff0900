//! Checks the derived parsers of model families. The templates are written for this test in the style of each family:
//! they have its markers and the structure of its prompts, and not its texts.

use serde_json::json;

use super::*;

const JSON_IN_TOOL_CALL: &str = r#"
{%- if tools %}{{- '<|im_start|>system\n<tools>' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
{{- '</tools>\nAnswer with <tool_call>\n{\"name\": <name>, \"arguments\": <object>}\n</tool_call><|im_end|>\n' }}{%- endif %}
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{%- endfor %}
"#;
const PLAIN_PROMPT: &str = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
const OPTIONAL_THINKING: &str = r"
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}{%- endif %}";
const FORCED_THINKING: &str =
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}";
const QWEN3_CODER: &str = r"
{%- if tools %}{{- '# Tools' }}{%- for tool in tools %}{{- tool.name }}{%- endfor %}
{{- '<tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n</function>\n</tool_call>' }}{%- endif %}
{%- for message in messages %}{{- '<|im_start|>' + message.role }}{%- endfor %}";
const LLAMA_3_1: &str = r#"
{%- if tools is not none %}{{- '<|start_header_id|>system<|end_header_id|>Environment: ipython' }}
{{- 'Answer with {"name": function name, "parameters": dictionary of argument name and its value}' }}{%- endif %}
{%- for message in messages %}{%- if 'tool_calls' in message %}{{- '<|python_tag|>' }}{%- endif %}{%- endfor %}"#;
const LLAMA_4: &str = r"
{%- if tools is not none %}{{- '<|header_start|>system<|header_end|>' }}
{{- 'Write calls as [func_name1(params_name1=params_value1, params_name2=params_value2), func_name2(params)]' }}
{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}{%- endif %}";
const MISTRAL: &str = r#"
{%- if tools is not none %}{{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- for message in messages %}{%- if message.tool_calls %}{{- '[TOOL_CALLS] [' + message.tool_calls | tojson + ']' }}
{%- else %}{{- '[INST]' + message.content + '[/INST]' }}{%- endif %}{%- endfor %}"#;
const MAGISTRAL: &str = r"
{{- '[SYSTEM_PROMPT]First [THINK]your thoughts[/THINK], then the answer.[/SYSTEM_PROMPT]' }}
{%- for message in messages %}{%- for call in message.tool_calls %}
{{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments }}{%- endfor %}{%- endfor %}";
const DEEPSEEK_V3: &str = r#"
{%- for message in messages %}{%- if message['tool_calls'] %}
{{- '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.name + '\n```json\n' + call.arguments + '\n```' }}
{{- '<｜tool▁call▁end｜><｜tool▁calls▁end｜>' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜>' }}{%- endif %}"#;
const DEEPSEEK_R1_PROMPT: &str = r"
{%- set content = content.split('</think>')[-1] %}
{%- if add_generation_prompt and not ns.is_tool %}{{- '<｜Assistant｜><think>\n' }}{%- endif %}";
const DEEPSEEK_R1_0528_PROMPT: &str = r"
{%- set content = content.split('</think>')[-1] %}
{%- if add_generation_prompt and not ns.is_tool %}{{- '<｜Assistant｜>' }}{%- endif %}";
const DEEPSEEK_V3_1: &str = r"
{%- if not thinking is defined %}{%- set thinking = false %}{%- endif %}
{%- for message in messages %}{%- if message['tool_calls'] %}
{{- '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>' + call.name + '<｜tool▁sep｜>' + call.arguments + '<｜tool▁call▁end｜>' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<｜Assistant｜>' }}{%- if thinking %}{{- '<think>' }}{%- else %}{{- '</think>' }}{%- endif %}{%- endif %}";
const GLM_4_5: &str = r"
[gMASK]<sop>{%- if tools %}{{- '<tool_call>{name}\n<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n</tool_call>' }}{%- endif %}
{%- for message in messages %}{{- '<think>' + message.reasoning_content + '</think>' }}{%- endfor %}
{%- if add_generation_prompt %}<|assistant|>{{- '\n<think></think>' if (enable_thinking is defined and not enable_thinking) else '' }}{%- endif %}";
const GLM_4_7: &str = r"
[gMASK]<sop>{%- if tools %}{{- '<tool_call>{name}<arg_key>{key}</arg_key><arg_value>{value}</arg_value></tool_call>' }}{%- endif %}
{%- if add_generation_prompt %}<|assistant|>{{- '</think>' if (enable_thinking is defined and not enable_thinking) else '<think>' }}{%- endif %}";
const KIMI_K2: &str = r"
{%- if tools %}<|im_system|>tool_declare<|im_middle|>{{- tools | tojson }}<|im_end|>{%- endif %}
{%- for message in messages %}{%- if message.tool_calls %}<|tool_calls_section_begin|><|tool_call_begin|>{{- call.id }}
<|tool_call_argument_begin|>{{- call.arguments }}<|tool_call_end|><|tool_calls_section_end|>{%- endif %}{%- endfor %}";
const KIMI_K2_THINKING: &str =
    "{%- if message.reasoning_content %}<think>{{- message.reasoning_content }}</think>{%- endif %}";
const GPT_OSS: &str = r"
{{- '<|start|>system<|message|># Valid channels: analysis, commentary, final.' }}
{%- if tools %}{{- 'Calls to these tools must go to the commentary channel: functions.' }}{%- endif %}
{{- '<|end|><|start|>assistant<|channel|>analysis<|message|>' }}";
const PHI_4_MINI: &str = r"
{%- for message in messages %}{%- if 'tools' in message and message['tools'] is not none %}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}
{%- endif %}{%- endfor %}";
const PHI_4: &str = "{%- for message in messages %}{{- '<|im_start|>' + message['role'] + '<|im_sep|>' + message['content'] }}{%- endfor %}";
const PHI_4_REASONING: &str =
    "<|im_start|>system<|im_sep|>Use <think> {thoughts} </think> {answer}.<|im_end|>";
const GRANITE_3_2: &str = r"
{%- if tools %}{{- '<|start_of_role|>available_tools<|end_of_role|>' + tools | tojson }}
{{- 'Answer with <|tool_call|> and a JSON list.' }}{%- endif %}
{%- if thinking %}{{- 'Write your thoughts after Here is my thought process: and the answer after Here is my response:' }}{%- endif %}";
const GRANITE_4: &str = r#"
{%- if tools %}{{- '<|start_of_role|>system<|end_of_role|><tools>' + tools | tojson + '</tools>' }}
{{- '<tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call>' }}{%- endif %}"#;
const NEMOTRON: &str =
    "{%- if tools %}<AVAILABLE_TOOLS>{{- tools }}</AVAILABLE_TOOLS> <TOOLCALL>[calls]</TOOLCALL>{%- endif %}";
const UNKNOWN_CALLS: &str = "{%- if tools %}{{- 'Write calls as CALL name WITH arguments.' }}{%- endif %}";

/// A family: its template, its architecture, and the expected tool-call, reasoning, and engine parser in 1.6.1. `!`
/// means that the template has the format, but the release does not have a parser for it, and `-` that none is needed.
type Family = (&'static str, &'static [&'static str], &'static str, [&'static str; 3]);

const FAMILIES: &[Family] = &[
    ("Qwen2.5", &[JSON_IN_TOOL_CALL, PLAIN_PROMPT], "Qwen2ForCausalLM", ["hermes", "-", "-"]),
    (
        "QwQ",
        &[JSON_IN_TOOL_CALL, FORCED_THINKING],
        "Qwen2ForCausalLM",
        ["hermes", "deepseek_r1", "deepseek_r1"],
    ),
    ("Qwen3", &[JSON_IN_TOOL_CALL, OPTIONAL_THINKING], "Qwen3ForCausalLM", ["hermes", "qwen3", "qwen3"]),
    ("Qwen3-Instruct-2507", &[JSON_IN_TOOL_CALL, PLAIN_PROMPT], "Qwen3MoeForCausalLM", ["hermes", "-", "-"]),
    (
        "Qwen3-Thinking-2507",
        &[JSON_IN_TOOL_CALL, FORCED_THINKING],
        "Qwen3MoeForCausalLM",
        ["hermes", "deepseek_r1", "deepseek_r1"],
    ),
    ("Qwen3-Coder", &[QWEN3_CODER, PLAIN_PROMPT], "Qwen3MoeForCausalLM", ["qwen3_coder", "-", "-"]),
    ("Llama 3.1", &[LLAMA_3_1], "LlamaForCausalLM", ["llama3_json", "-", "-"]),
    ("Llama 4", &[LLAMA_4], "Llama4ForConditionalGeneration", ["pythonic", "-", "-"]),
    ("Mistral 7B v0.3", &[MISTRAL], "MistralForCausalLM", ["mistral", "-", "-"]),
    ("Magistral", &[MAGISTRAL], "MistralForCausalLM", ["!", "mistral", "mistral"]),
    ("DeepSeek V3", &[DEEPSEEK_V3], "DeepseekV3ForCausalLM", ["deepseek_v3", "-", "-"]),
    (
        "DeepSeek R1",
        &[DEEPSEEK_V3, DEEPSEEK_R1_PROMPT],
        "DeepseekV3ForCausalLM",
        ["deepseek_v3", "deepseek_r1", "deepseek_r1"],
    ),
    (
        "DeepSeek R1 0528",
        &[DEEPSEEK_V3, DEEPSEEK_R1_0528_PROMPT],
        "DeepseekV3ForCausalLM",
        ["deepseek_v3", "deepseek_r1", "deepseek_r1"],
    ),
    (
        "DeepSeek V3.1",
        &[DEEPSEEK_V3_1],
        "DeepseekV3ForCausalLM",
        ["deepseek_v3_1", "deepseek_v3_1", "deepseek_v3"],
    ),
    ("GLM-4.5", &[GLM_4_5], "Glm4MoeForCausalLM", ["!", "glm45", "glm45"]),
    ("GLM-4.7", &[GLM_4_7], "Glm4MoeForCausalLM", ["glm47", "glm45", "glm45"]),
    ("Kimi K2", &[KIMI_K2], "DeepseekV3ForCausalLM", ["kimi_k2", "-", "-"]),
    (
        "Kimi K2 Thinking",
        &[KIMI_K2, KIMI_K2_THINKING],
        "DeepseekV3ForCausalLM",
        ["kimi_k2", "kimi_k2", "kimi_k2"],
    ),
    ("gpt-oss", &[GPT_OSS], "GptOssForCausalLM", ["harmony", "gpt_oss", "openai_gptoss"]),
    ("Phi-4-mini", &[PHI_4_MINI], "Phi3ForCausalLM", ["phi4", "-", "-"]),
    ("Phi-4", &[PHI_4], "Phi3ForCausalLM", ["-", "-", "-"]),
    ("Phi-4-reasoning", &[PHI_4, PHI_4_REASONING], "Phi3ForCausalLM", ["-", "basic", "-"]),
    ("Granite 3.2", &[GRANITE_3_2], "GraniteForCausalLM", ["!", "granite", "granite"]),
    ("Granite 4", &[GRANITE_4], "GraniteMoeHybridForCausalLM", ["hermes", "-", "-"]),
    ("Llama Nemotron", &[NEMOTRON], "DeciLMForCausalLM", ["nemotron_deci", "-", "-"]),
    ("an unknown format", &[UNKNOWN_CALLS], "LlamaForCausalLM", ["!", "-", "-"]),
];

fn detected(template: &[&str], architecture: &str, version: &str) -> DetectedParsers {
    let config = json!({ "architectures": [architecture] });
    let release = Release::find(version).expect("a known release");
    detect(&ChatTemplate::from(template.concat().as_str()), Some(&config), release)
}

fn short(parser: &DetectedParser) -> &str {
    match parser {
        DetectedParser::Found { name, .. } => name,
        DetectedParser::NotNeeded { .. } => "-",
        DetectedParser::NotAvailable { .. } => "!",
    }
}

#[test]
fn template_and_architecture_determine_the_parsers_of_each_family() {
    for (family, template, architecture, expected) in FAMILIES {
        let found = detected(template, architecture, "1.6.1");
        let engine = found.engine_reasoning.unwrap_or("-");
        assert_eq!([short(&found.tool_call), short(&found.reasoning), engine], *expected, "{family}");
    }
}

#[test]
fn reason_names_the_marker_and_a_missing_parser_what_can_be_done() {
    let DetectedParser::Found { reason, .. } = detected(&[JSON_IN_TOOL_CALL], "", "1.6.1").tool_call else {
        panic!("hermes")
    };
    assert_eq!(reason, "template has `<tool_call>` with JSON");
    let missing = |template: &str, version: &str| match detected(&[template], "", version).tool_call {
        DetectedParser::NotAvailable { reason, hint } => (reason, hint.unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    let (reason, hint) = missing(GLM_4_5, "1.6.1");
    assert!(
        reason.contains("separate lines") && hint.contains("--env DYN_PARSER_VERSION=2"),
        "{reason}: {hint}"
    );
    let (reason, hint) = missing(KIMI_K2, "0.9.1");
    assert!(reason.contains("Dynamo 0.9.1 does not have the parser \"kimi_k2\""), "{reason}");
    assert_eq!(hint, "use --release 1.6.1");
}

#[test]
fn older_releases_use_another_parser_of_the_same_format() {
    let reasoning = |template: &[&str], version: &str| {
        let found = detected(template, "", version);
        (short(&found.reasoning).to_owned(), found.engine_reasoning)
    };
    assert_eq!(reasoning(&[GLM_4_5], "0.9.1"), ("nemotron_deci".into(), Some("glm45")));
    assert_eq!(reasoning(&[KIMI_K2, KIMI_K2_THINKING], "1.5.1").0, "basic");
    assert_eq!(reasoning(&[DEEPSEEK_V3_1], "1.2.1"), ("!".into(), None));
}
