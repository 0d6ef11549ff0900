//! A workload: the lengths, the levels of load, and the repeats of a benchmark run. The defaults are those of the
//! starter kit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::WorkloadError;
use crate::intent::StringEnum;

/// A named workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// One short level, to see whether numbers can be trusted here.
    Check,
    /// The same lengths at increasing concurrency.
    Sweep,
    /// Conversations with several turns.
    Chat,
    /// Requests of different lengths.
    Mix,
    /// Prompts that share a few prefixes.
    Prefix,
}

impl StringEnum for WorkloadKind {
    const ALL: &'static [Self] = &[Self::Check, Self::Sweep, Self::Chat, Self::Mix, Self::Prefix];

    fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Sweep => "sweep",
            Self::Chat => "chat",
            Self::Mix => "mix",
            Self::Prefix => "prefix",
        }
    }
}

/// A part of the requests of a distribution; lengths are in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LengthShare {
    pub input: u32,
    #[serde(default)]
    pub input_deviation: u32,
    pub output: u32,
    #[serde(default)]
    pub output_deviation: u32,
    pub percent: f64,
}

/// The lengths of prompts and answers, in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenLengths {
    Fixed { input: u32, output: u32 },
    Distribution(Vec<LengthShare>),
}

impl TokenLengths {
    const fn fixed(input: u32, output: u32) -> Self {
        Self::Fixed { input, output }
    }
}

/// Parses `2000,256`, or the shares of a distribution such as `64|10,32|8:70;1024,256:30`.
impl FromStr for TokenLengths {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        let invalid = || WorkloadError::InvalidLengths { given: text.into() };
        if !text.contains(':') {
            let (input, output) = text.split_once(',').ok_or_else(invalid)?;
            return Ok(Self::fixed(
                positive(input).ok_or_else(invalid)?,
                positive(output).ok_or_else(invalid)?,
            ));
        }
        let shares: Option<Vec<LengthShare>> = text.split(';').map(parse_share).collect();
        let shares = shares.ok_or_else(invalid)?;
        let total: f64 = shares.iter().map(|share| share.percent).sum();
        if (total - 100.0).abs() > 0.01 {
            return Err(WorkloadError::InvalidShares { given: text.into(), total });
        }
        Ok(Self::Distribution(shares))
    }
}

fn parse_share(text: &str) -> Option<LengthShare> {
    let (lengths, percent) = text.split_once(':')?;
    let (input, output) = lengths.split_once(',')?;
    let (input, input_deviation) = with_deviation(input)?;
    let (output, output_deviation) = with_deviation(output)?;
    let percent =
        percent.trim().parse().ok().filter(|percent: &f64| percent.is_finite() && *percent > 0.0)?;
    Some(LengthShare { input, input_deviation, output, output_deviation, percent })
}

fn with_deviation(text: &str) -> Option<(u32, u32)> {
    match text.split_once('|') {
        None => Some((positive(text)?, 0)),
        Some((mean, deviation)) => Some((positive(mean)?, deviation.trim().parse().ok()?)),
    }
}

fn positive(text: &str) -> Option<u32> {
    text.trim().parse().ok().filter(|number| *number > 0)
}

/// The number of turns of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns {
    pub mean: u32,
    #[serde(default)]
    pub deviation: u32,
}

/// Parses `5`, or `5,2` with a standard deviation.
impl FromStr for Turns {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        let (mean, deviation) = text.split_once(',').unwrap_or((text, "0"));
        match (positive(mean), deviation.trim().parse().ok()) {
            (Some(mean), Some(deviation)) => Ok(Self { mean, deviation }),
            _ => Err(WorkloadError::InvalidTurns { given: text.into() }),
        }
    }
}

/// A latency that a request must not exceed to count for the goodput.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GoodputLimit {
    /// AIPerf's name of the metric.
    pub metric: String,
    pub milliseconds: f64,
}

/// The short names of latencies, and AIPerf's names.
const LATENCIES: [(&str, &str); 3] =
    [("ttft", "time_to_first_token"), ("itl", "inter_token_latency"), ("latency", "request_latency")];

/// Parses `ttft=200ms` or `latency=1.5s`.
impl FromStr for GoodputLimit {
    type Err = WorkloadError;

    fn from_str(text: &str) -> Result<Self, WorkloadError> {
        let invalid = || WorkloadError::InvalidGoodput { given: text.into() };
        let (name, time) = text.split_once('=').ok_or_else(invalid)?;
        let (_, metric) = LATENCIES.iter().find(|(short, _)| *short == name.trim()).ok_or_else(invalid)?;
        let time = time.trim();
        let (number, factor) = match time.strip_suffix("ms") {
            Some(number) => (number, 1.0),
            None => (time.strip_suffix('s').ok_or_else(invalid)?, 1000.0),
        };
        let number: f64 = number.parse().map_err(|_| invalid())?;
        if !number.is_finite() || number <= 0.0 {
            return Err(invalid());
        }
        Ok(Self { metric: (*metric).to_owned(), milliseconds: number * factor })
    }
}

/// One level of load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LoadLevel {
    /// Requests that are kept in flight.
    Concurrency(u32),
    /// Requests per second.
    RequestRate(f64),
    /// The times of the trace.
    Trace,
}

impl LoadLevel {
    /// The requests in flight, if the level keeps a number of them.
    pub fn concurrency(self) -> Option<u32> {
        match self {
            Self::Concurrency(level) => Some(level),
            Self::RequestRate(_) | Self::Trace => None,
        }
    }

    /// The name of the level's folder, such as `concurrency-8`.
    pub fn folder_name(self) -> String {
        match self {
            Self::Concurrency(level) => format!("concurrency-{level}"),
            Self::RequestRate(rate) => format!("rate-{rate}"),
            Self::Trace => "trace".into(),
        }
    }
}

/// The level as the table shows it: `8`, `2.5/s`, `trace`.
impl fmt::Display for LoadLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Concurrency(level) => write!(f, "{level}"),
            Self::RequestRate(rate) => write!(f, "{rate}/s"),
            Self::Trace => f.write_str("trace"),
        }
    }
}

/// What the user set; everything else has the default of the workload.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkloadOptions {
    pub kind: Option<WorkloadKind>,
    pub concurrency: Vec<u32>,
    pub request_rate: Vec<f64>,
    pub lengths: Option<TokenLengths>,
    pub turns: Option<Turns>,
    pub prefix_tokens: Option<u32>,
    pub trace: Option<TraceFile>,
    pub duration_seconds: Option<u64>,
    pub runs: u32,
    pub goodput: Vec<GoodputLimit>,
    pub seed: Option<u64>,
    /// More options for AIPerf.
    pub extra_arguments: Vec<String>,
}

/// A trace to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceFile {
    /// The absolute path.
    pub path: String,
    pub requests: u64,
    /// In hexadecimal digits.
    pub sha256: String,
}

/// A complete workload. Two runs can be compared if theirs are equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BenchWorkload {
    pub kind: WorkloadKind,
    /// None for a trace, which contains its lengths.
    pub lengths: Option<TokenLengths>,
    pub turns: Option<Turns>,
    /// Tokens of each of the prefixes that prompts share.
    pub prefix_tokens: Option<u32>,
    /// The path of the trace where AIPerf reads it.
    pub trace: Option<String>,
    /// The number of requests of the trace.
    pub trace_requests: Option<u64>,
    /// The SHA-256 of the trace, which identifies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_sha256: Option<String>,
    pub levels: Vec<LoadLevel>,
    /// Length of each level, if it does not have a number of requests.
    pub duration_seconds: Option<u64>,
    pub runs: u32,
    #[serde(default)]
    pub goodput: Vec<GoodputLimit>,
    pub seed: u64,
    #[serde(default)]
    pub extra_arguments: Vec<String>,
}

const DEFAULT_SEED: u64 = 100;
const LEVELS: &[u32] = &[1, 8, 16, 32, 64, 128, 256];
const CHAT_LEVELS: &[u32] = &[1, 8, 16, 32, 64];
const CHECK_LEVELS: &[u32] = &[4];
/// More repeats do not narrow an interval noticeably.
pub(super) const MAX_RUNS: u32 = 10;

impl BenchWorkload {
    /// Completes the options with the defaults of the workload.
    ///
    /// # Errors
    /// Options that contradict each other, or that are out of range.
    pub fn resolve(options: WorkloadOptions) -> Result<Self, WorkloadError> {
        let kind = options.kind.unwrap_or(WorkloadKind::Check);
        check_options(kind, &options)?;
        let (lengths, default_levels) = match kind {
            WorkloadKind::Check => (TokenLengths::fixed(512, 32), CHECK_LEVELS),
            WorkloadKind::Sweep => (TokenLengths::fixed(2000, 256), LEVELS),
            WorkloadKind::Chat => (TokenLengths::fixed(500, 128), CHAT_LEVELS),
            WorkloadKind::Mix => (default_mix(), LEVELS),
            WorkloadKind::Prefix => (TokenLengths::fixed(128, 128), LEVELS),
        };
        let levels: Vec<LoadLevel> = match (&options.trace, options.request_rate.as_slice()) {
            (Some(_), _) => vec![LoadLevel::Trace],
            (None, []) if options.concurrency.is_empty() => {
                default_levels.iter().copied().map(LoadLevel::Concurrency).collect()
            }
            (None, []) => options.concurrency.iter().copied().map(LoadLevel::Concurrency).collect(),
            (None, rates) => rates.iter().copied().map(LoadLevel::RequestRate).collect(),
        };
        let trace = options.trace;
        Ok(Self {
            kind,
            lengths: if trace.is_some() { None } else { Some(options.lengths.unwrap_or(lengths)) },
            turns: options.turns.or((kind == WorkloadKind::Chat).then_some(Turns { mean: 5, deviation: 2 })),
            prefix_tokens: options.prefix_tokens.or((kind == WorkloadKind::Prefix).then_some(512)),
            trace_requests: trace.as_ref().map(|trace| trace.requests),
            trace_sha256: trace.as_ref().map(|trace| trace.sha256.clone()),
            trace: trace.map(|trace| trace.path),
            levels: without_repetitions(levels),
            duration_seconds: options.duration_seconds,
            runs: options.runs.max(1),
            goodput: options.goodput,
            seed: options.seed.unwrap_or(DEFAULT_SEED),
            extra_arguments: options.extra_arguments,
        })
    }

    /// The requested output length if all requests have the same.
    pub fn pinned_output(&self) -> Option<u32> {
        match &self.lengths {
            Some(TokenLengths::Fixed { output, .. }) => Some(*output),
            _ => None,
        }
    }

    /// The field in which two workloads differ, with both values; empty if they are equal.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let fields = |workload: &Self| match serde_json::to_value(workload) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let have_hashes = self.trace_sha256.is_some() && other.trace_sha256.is_some();
        let (one, other) = (fields(self), fields(other));
        // The hash identifies a trace, and older records only have its path.
        let is_compared = |name: &str| name != if have_hashes { "trace" } else { "traceSha256" };
        let differing =
            one.iter().filter(|(name, value)| is_compared(name) && other.get(*name) != Some(value));
        differing
            .map(|(name, value)| format!("{name}: {value}, {}", other.get(name).unwrap_or_default()))
            .collect()
    }
}

/// Each level is measured once. Its folder has its name.
fn without_repetitions(levels: Vec<LoadLevel>) -> Vec<LoadLevel> {
    let mut unique = Vec::new();
    for level in levels {
        if !unique.contains(&level) {
            unique.push(level);
        }
    }
    unique
}

fn default_mix() -> TokenLengths {
    let share = |(input, input_deviation), (output, output_deviation), percent| LengthShare {
        input,
        input_deviation,
        output,
        output_deviation,
        percent,
    };
    TokenLengths::Distribution(vec![share((64, 10), (32, 8), 70.0), share((1024, 100), (256, 50), 30.0)])
}

fn check_options(kind: WorkloadKind, options: &WorkloadOptions) -> Result<(), WorkloadError> {
    let contradiction = |one, other| Err(WorkloadError::Contradiction { one, other });
    if !options.concurrency.is_empty() && !options.request_rate.is_empty() {
        return contradiction("--concurrency", "--request-rate");
    }
    if options.trace.is_some() {
        let others = [
            ("--concurrency", !options.concurrency.is_empty()),
            ("--request-rate", !options.request_rate.is_empty()),
            ("--isl-osl", options.lengths.is_some()),
            ("--turns", options.turns.is_some()),
            ("--prefix-tokens", options.prefix_tokens.is_some()),
            ("--duration", options.duration_seconds.is_some()),
        ];
        if let Some((other, _)) = others.iter().find(|(_, is_set)| *is_set) {
            return contradiction("--trace", other);
        }
    }
    let turns = options.turns.is_some() || kind == WorkloadKind::Chat;
    if turns && matches!(options.lengths, Some(TokenLengths::Distribution(_))) {
        return contradiction("--isl-osl with a distribution", "several turns");
    }
    if options.concurrency.contains(&0) {
        return Err(WorkloadError::LevelNotPositive { flag: "--concurrency" });
    }
    if options.request_rate.iter().any(|rate| !rate.is_finite() || *rate <= 0.0) {
        return Err(WorkloadError::LevelNotPositive { flag: "--request-rate" });
    }
    if options.runs > MAX_RUNS {
        return Err(WorkloadError::TooManyRuns { given: options.runs, limit: MAX_RUNS });
    }
    if options.duration_seconds == Some(0) {
        return Err(WorkloadError::LevelNotPositive { flag: "--duration" });
    }
    super::arguments::check_extra_arguments(&options.extra_arguments)
}

#[cfg(test)]
mod tests;
