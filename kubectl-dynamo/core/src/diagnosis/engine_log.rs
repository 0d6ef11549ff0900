//! Parses the startup progress of an engine from its log. The patterns are data, one row per step.
//!
//! Lines without a matching row are ignored.

use std::sync::LazyLock;

use regex::Regex;

/// A step of an engine's startup, parsed from its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartStep {
    /// Short text, such as `loading weights 14/19`.
    pub text: String,
    /// Completed and total count, if the line contains them.
    pub count: Option<(u64, u64)>,
}

/// A regular expression and the text with its groups. A text that ends in `$1/$2` contains a count.
type Row = (&'static str, &'static str);

/// Patterns from real runs of Dynamo (D) and from the format strings of the vLLM wheel of the default release
/// (V).
const ROWS: &[Row] = &[
    // D
    (r"Pre-fetching model from HuggingFace: (\S+)", "looking up $1 on the hub"),
    (r"Using local model path: (\S+)", "model found at $1"),
    (r"etcd not reachable yet; retrying startup connection", "waiting for etcd"),
    (r"Creating mocker engine with config", "starting the mocker engine"),
    (r"Starting HTTP\(S\) service", "starting the HTTP service"),
    (r"Registered endpoint '([^']+)'", "registered"),
    (r"service_v2: chat endpoints enabled", "model listed"),
    // V
    (r"Starting to load model ", "loading weights"),
    (r"Loading [\w ]+ shards(?: \([^)]*\))?:\s+\d+% Completed \| (\d+)/(\d+)", "loading weights $1/$2"),
    (r"Loading weights took ([\d.]+) seconds", "weights loaded in $1 s"),
    (r"Model loading took ([\d.]+) GiB memory and (\d+)", "weights loaded, $1 GiB in $2 s"),
    (r"Using cache directory: \S+ for vLLM's torch\.compile", "compiling"),
    (r"Compiling a graph for compile range (.+) takes ([\d.]+) s", "compiling, last graph $2 s"),
    (r"Directly load the compiled graph", "loading compiled graphs from the cache"),
    (r"torch\.compile took ([\d.]+) s in total", "compiled in $1 s"),
    (r"Available KV cache memory: ([\d.]+) GiB", "KV cache $1 GiB"),
    (r"KV cache size: ([\d,]+) tokens", "KV cache for $1 tokens"),
    (r"Capturing CUDA graphs[^|]*\|[^|]*\| (\d+)/(\d+)", "capturing CUDA graphs $1/$2"),
    (r"Graph capturing finished in (\d+) secs", "CUDA graphs captured in $1 s"),
    (r"init engine \(profile, create kv cache, warmup model\) took ([\d.]+) s", "engine ready after $1 s"),
];

static TABLE: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    ROWS.iter()
        .map(|(pattern, text)| (Regex::new(pattern).expect("a test compiles every pattern"), *text))
        .collect()
});

static COLORS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("\u{1b}\\[[0-9;]*m").expect("the pattern is a constant"));

/// Parses a log line into a startup step, if a row matches. Progress bars redraw one line, so only its last
/// state is used.
pub fn start_step(line: &str) -> Option<StartStep> {
    let last = line.rsplit('\r').find(|part| !part.trim().is_empty())?;
    let plain = COLORS.replace_all(last, "");
    TABLE.iter().find_map(|(pattern, text)| {
        let captures = pattern.captures(&plain)?;
        let mut expanded = String::new();
        captures.expand(text, &mut expanded);
        let number = |group: usize| captures.get(group)?.as_str().parse::<u64>().ok();
        let count = text.ends_with("$1/$2").then(|| Some((number(1)?, number(2)?))).flatten();
        Some(StartStep { text: expanded, count })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sample line per row. Those of Dynamo are real lines of its frontend and mocker, including colors.
    const LINES: &[(&str, &str)] = &[
        (
            "\u{1b}[2m2026-11-24T02:53:24.442190Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m \u{1b}[2mmain.prefetch_model\u{1b}[0m\u{1b}[2m:\u{1b}[0m Pre-fetching model from HuggingFace: nowhere",
            "looking up nowhere on the hub",
        ),
        (
            "\u{1b}[2m2026-11-24T02:53:23.681685Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m \u{1b}[2mmain.prefetch_model\u{1b}[0m\u{1b}[2m:\u{1b}[0m Using local model path: tiny",
            "model found at tiny",
        ),
        (
            "\u{1b}[2m2026-11-24T02:53:26.581714Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m \u{1b}[2mdynamo_runtime::transports::etcd\u{1b}[0m\u{1b}[2m:\u{1b}[0m etcd not reachable yet; retrying startup connection \u{1b}[3merror\u{1b}[0m\u{1b}[2m=\u{1b}[0mUnable to create lease.",
            "waiting for etcd",
        ),
        (
            "\u{1b}[2m2026-11-24T02:53:23.734498Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m \u{1b}[2mdynamo_llm::mocker\u{1b}[0m\u{1b}[2m:\u{1b}[0m Creating mocker engine with config: MockerConfig { engine",
            "starting the mocker engine",
        ),
        (
            "\u{1b}[2m2026-11-24T02:53:23.742400Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m \u{1b}[2mdynamo_llm::http::service::service_v2\u{1b}[0m\u{1b}[2m:\u{1b}[0m Starting HTTP(S) service \u{1b}[3mprotocol\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"HTTP\"",
            "starting the HTTP service",
        ),
        (
            "\u{1b}[2m2026-11-24T02:53:23.739882Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m \u{1b}[2mdynamo_runtime::pipeline::network::ingress::shared_tcp_endpoint\u{1b}[0m\u{1b}[2m:\u{1b}[0m Registered endpoint 'dynamo.backend.generate' with shared TCP server on 127.0.0.1:42121",
            "registered",
        ),
        (
            "\u{1b}[2m2026-11-24T02:53:23.794895Z\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m \u{1b}[2mdynamo_llm::http::service::service_v2\u{1b}[0m\u{1b}[2m:\u{1b}[0m chat endpoints enabled",
            "model listed",
        ),
        (
            "(EngineCore pid=1) INFO 11-24 03:00:00 [gpu_model_runner.py:1] Starting to load model /opt/models/x...",
            "loading weights",
        ),
        (
            "\rLoading safetensors checkpoint shards:  74% Completed | 14/19 [00:12<00:04,  1.17it/s]\n",
            "loading weights 14/19",
        ),
        (
            "Loading safetensors checkpoint shards (eager):   5% Completed | 1/19 [00:01<00:20,  1it/s]",
            "loading weights 1/19",
        ),
        ("INFO [default_loader.py:1] Loading weights took 12.34 seconds", "weights loaded in 12.34 s"),
        ("INFO Model loading took 16.4 GiB memory and 23.123456 seconds", "weights loaded, 16.4 GiB in 23 s"),
        ("INFO Using cache directory: /root/.cache/vllm/x for vLLM's torch.compile", "compiling"),
        ("INFO Compiling a graph for compile range (1, 2048) takes 8.20 s", "compiling, last graph 8.20 s"),
        (
            "INFO Directly load the compiled graph(s) for compile range (1, 2048) from the cache, took 0.300 s",
            "loading compiled graphs from the cache",
        ),
        ("INFO torch.compile took 31.00 s in total", "compiled in 31.00 s"),
        ("INFO Available KV cache memory: 51.0 GiB", "KV cache 51.0 GiB"),
        (
            "INFO GPU KV cache size: 417,792 tokens, Maximum concurrency for 40,960 tokens per request: 10.20x",
            "KV cache for 417,792 tokens",
        ),
        (
            "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  46%|████▋     | 31/67 [00:02<00:02, 14.1it/s]",
            "capturing CUDA graphs 31/67",
        ),
        ("INFO Graph capturing finished in 5 secs, took 0.84 GiB", "CUDA graphs captured in 5 s"),
        (
            "INFO init engine (profile, create kv cache, warmup model) took 60.00 s (compilation: 31.00 s)",
            "engine ready after 60.00 s",
        ),
    ];

    #[test]
    fn parses_every_start_step() {
        for (line, text) in LINES {
            assert_eq!(start_step(line).map(|step| step.text).as_deref(), Some(*text), "{line}");
        }
        for (pattern, text) in TABLE.iter() {
            let has_sample = LINES.iter().any(|(line, _)| pattern.is_match(&COLORS.replace_all(line, "")));
            assert!(has_sample, "no sample line for {text}");
        }
    }

    #[test]
    fn parses_progress_counts() {
        let step = start_step("Loading safetensors checkpoint shards:  74% Completed | 14/19 [00:12<00:04]");
        assert_eq!(step.and_then(|step| step.count), Some((14, 19)));
    }

    #[test]
    fn ignores_unknown_lines() {
        for line in ["", "\r\r", "INFO something new", "\u{1b}[0m", "Capturing CUDA graphs"] {
            assert_eq!(start_step(line), None, "{line}");
        }
    }
}
