//! The command line of AIPerf for each measurement of a workload. AIPerf starts once for each level and repeat, so that
//! a level that was measured is complete on the disk.

use super::{BenchWorkload, LengthShare, LoadLevel, TokenLengths, Turns, WorkloadError};

/// The server that AIPerf sends requests to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchEndpoint {
    pub url: String,
    /// The served name, as `/v1/models` lists it.
    pub model: String,
    /// The folder with the tokenizer.
    pub tokenizer: String,
}

/// One start of AIPerf: a level in one of the repeats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasurementPlan<'a> {
    pub workload: &'a BenchWorkload,
    pub level: LoadLevel,
    /// The repeat, from 1.
    pub run: u32,
    pub seed: u64,
}

/// The number of different prefixes.
const PREFIX_POOL: u32 = 10;

/// Requests for each unit of a level: for each concurrent request, and for each second of a rate.
const REQUESTS_PER_CONCURRENCY: u32 = 10;
const SECONDS_OF_A_RATE: f64 = 60.0;
/// A level with fewer requests or conversations does not have meaningful percentiles.
const MIN_REQUESTS: u64 = 20;
const MIN_CONVERSATIONS: u64 = 8;
const CONVERSATIONS_PER_CONCURRENCY: u64 = 2;
/// Prompts that are generated for a level with a duration.
const MAX_PROMPTS: u64 = 20_000;

/// The options that this command sets. Both spellings of AIPerf are listed.
const RESERVED: &[&str] = &[
    "--url",
    "-u",
    "--model",
    "--model-names",
    "-m",
    "--tokenizer",
    "--artifact-dir",
    "--output-artifact-dir",
    "--concurrency",
    "--request-rate",
    "--request-count",
    "--num-requests",
    "--warmup-request-count",
    "--num-warmup-requests",
    "--random-seed",
    "--ui",
    "--ui-type",
    "--num-profile-runs",
    "--isl",
    "--osl",
    "--seq-dist",
    "--goodput",
    "--input-file",
    "--config",
    "-f",
    "--api-key",
    "--benchmark-duration",
    "--profile-export-prefix",
    "--profile-export-file",
];

/// Rejects options after `--` that this command sets, because AIPerf adds up some of them.
pub(super) fn check_extra_arguments(arguments: &[String]) -> Result<(), WorkloadError> {
    let name = |argument: &String| argument.split('=').next().unwrap_or_default().to_owned();
    match arguments.iter().map(name).find(|name| RESERVED.contains(&name.as_str())) {
        Some(option) => Err(WorkloadError::ReservedOption { option }),
        None => Ok(()),
    }
}

impl BenchWorkload {
    /// The measurements in their order: all levels, then all levels again. Each has its own seed, because the second
    /// level would otherwise find the prompts of the first one in the KV cache.
    pub fn measurements(&self) -> Vec<MeasurementPlan<'_>> {
        let runs = (1..=self.runs).flat_map(|run| self.levels.iter().map(move |level| (run, *level)));
        (self.seed..)
            .zip(runs)
            .map(|(seed, (run, level))| MeasurementPlan { workload: self, level, run, seed })
            .collect()
    }
}

impl MeasurementPlan<'_> {
    /// The number of conversations, if the workload has several turns.
    pub fn conversations(&self) -> Option<u64> {
        self.workload.turns?;
        let parallel = match self.level {
            LoadLevel::Concurrency(level) => u64::from(level),
            LoadLevel::RequestRate(rate) => ceil(rate),
            LoadLevel::Trace => 1,
        };
        Some((CONVERSATIONS_PER_CONCURRENCY * parallel).max(MIN_CONVERSATIONS))
    }

    /// The number of requests that the level must answer; `None` if a duration or the turns decide it.
    pub fn requests(&self) -> Option<u64> {
        if let Some(turns) = self.workload.turns {
            let fixed = self.workload.duration_seconds.is_none() && turns.deviation == 0;
            return self.conversations().filter(|_| fixed).map(|number| number * u64::from(turns.mean));
        }
        if self.workload.duration_seconds.is_some() {
            return None;
        }
        match self.level {
            LoadLevel::Concurrency(level) => {
                Some(u64::from(level.saturating_mul(REQUESTS_PER_CONCURRENCY)).max(MIN_REQUESTS))
            }
            LoadLevel::RequestRate(rate) => Some(ceil(rate * SECONDS_OF_A_RATE).max(MIN_REQUESTS)),
            LoadLevel::Trace => self.workload.trace_requests,
        }
    }

    /// The number of requests before the measurement; 0 for a trace, which has its own times.
    pub fn warm_up(&self) -> u64 {
        match self.level {
            LoadLevel::Concurrency(level) => u64::from(level),
            LoadLevel::RequestRate(rate) => ceil(rate).max(1),
            LoadLevel::Trace => 0,
        }
    }

    /// The folder of the measurement below the folder of the run: `concurrency-8/run-1`.
    pub fn folder(&self) -> String {
        format!("{}/run-{}", self.level.folder_name(), self.run)
    }

    /// The number of prompts, so that none is sent twice.
    fn prompts(&self) -> u64 {
        let requests = self.requests().unwrap_or_else(|| {
            let seconds = self.workload.duration_seconds.unwrap_or_default();
            match self.level {
                LoadLevel::Concurrency(level) => u64::from(level).saturating_mul(seconds),
                LoadLevel::RequestRate(rate) => ceil(rate * seconds as f64),
                LoadLevel::Trace => 0,
            }
        });
        requests.clamp(MIN_REQUESTS, MAX_PROMPTS.max(self.requests().unwrap_or_default())) + self.warm_up()
    }
}

/// Rounds up; levels are positive and small.
fn ceil(number: f64) -> u64 {
    number.ceil() as u64
}

/// Returns the arguments of `aiperf`.
pub fn aiperf_arguments(
    plan: &MeasurementPlan<'_>,
    endpoint: &BenchEndpoint,
    artifact_folder: &str,
) -> Vec<String> {
    let mut all = Arguments(vec!["profile".into()]);
    all.option("--model", &endpoint.model);
    all.option("--url", &endpoint.url);
    all.option("--endpoint-type", "chat");
    all.flag("--streaming");
    all.option("--tokenizer", &endpoint.tokenizer);
    load(&mut all, plan);
    lengths(&mut all, plan.workload);
    if let Some(tokens) = plan.workload.prefix_tokens {
        all.option("--num-prefix-prompts", PREFIX_POOL);
        all.option("--prefix-prompt-length", tokens);
    }
    if !plan.workload.goodput.is_empty() {
        let limits = plan.workload.goodput.iter().map(|one| format!("{}:{}", one.metric, one.milliseconds));
        all.option("--goodput", limits.collect::<Vec<_>>().join(" "));
    }
    all.option("--random-seed", plan.seed);
    all.option("--ui", "none");
    all.option("--artifact-dir", artifact_folder);
    all.0.extend(plan.workload.extra_arguments.iter().cloned());
    all.0
}

struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn option(&mut self, name: &str, value: impl ToString) {
        self.0.extend([name.into(), value.to_string()]);
    }
}

fn load(all: &mut Arguments, plan: &MeasurementPlan<'_>) {
    match plan.level {
        LoadLevel::Concurrency(level) => all.option("--concurrency", level),
        LoadLevel::RequestRate(rate) => all.option("--request-rate", rate),
        LoadLevel::Trace => {
            all.option("--input-file", plan.workload.trace.as_deref().unwrap_or_default());
            all.option("--custom-dataset-type", "mooncake_trace");
            all.flag("--fixed-schedule");
            all.option("--extra-inputs", "ignore_eos:true");
            return;
        }
    }
    match (plan.workload.turns, plan.conversations()) {
        (Some(Turns { mean, deviation }), Some(number)) => {
            all.option("--conversation-num", number);
            all.option("--conversation-turn-mean", mean);
            all.option("--conversation-turn-stddev", deviation);
        }
        _ => all.option("--num-dataset-entries", plan.prompts()),
    }
    match (plan.workload.duration_seconds, plan.workload.turns) {
        (Some(seconds), _) => all.option("--benchmark-duration", seconds),
        // The conversations are the number of requests.
        (None, Some(_)) => {}
        (None, None) => all.option("--request-count", plan.requests().unwrap_or(MIN_REQUESTS)),
    }
    all.option("--warmup-request-count", plan.warm_up());
}

/// Without `ignore_eos`, the requested length is only an upper bound.
fn lengths(all: &mut Arguments, workload: &BenchWorkload) {
    match &workload.lengths {
        None => {}
        Some(TokenLengths::Fixed { input, output }) => {
            all.option("--isl", input);
            all.option("--osl", output);
            all.option("--extra-inputs", "ignore_eos:true");
            all.option("--extra-inputs", format!("min_tokens:{output}"));
        }
        Some(TokenLengths::Distribution(shares)) => {
            all.option("--seq-dist", shares.iter().map(share_text).collect::<Vec<_>>().join(";"));
            all.option("--extra-inputs", "ignore_eos:true");
        }
    }
}

/// A share in AIPerf's notation: `64|10,32|8:70`.
fn share_text(share: &LengthShare) -> String {
    let length = |mean: u32, deviation: u32| match deviation {
        0 => mean.to_string(),
        deviation => format!("{mean}|{deviation}"),
    };
    format!(
        "{},{}:{}",
        length(share.input, share.input_deviation),
        length(share.output, share.output_deviation),
        share.percent
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{TraceFile, WorkloadKind, WorkloadOptions};

    fn text_of(options: WorkloadOptions) -> Vec<String> {
        let workload = BenchWorkload::resolve(options).expect("valid options");
        let endpoint = BenchEndpoint {
            url: "http://127.0.0.1:8000".into(),
            model: "tiny".into(),
            tokenizer: "/models/tiny".into(),
        };
        let text = |plan: MeasurementPlan<'_>| aiperf_arguments(&plan, &endpoint, &plan.folder()).join(" ");
        workload.measurements().into_iter().map(text).collect()
    }

    #[test]
    fn check_sends_explicit_counts_and_pins_the_length() {
        assert_eq!(
            text_of(WorkloadOptions::default()),
            ["profile --model tiny --url http://127.0.0.1:8000 --endpoint-type chat --streaming \
              --tokenizer /models/tiny --concurrency 4 --num-dataset-entries 44 --request-count 40 \
              --warmup-request-count 4 --isl 512 --osl 32 --extra-inputs ignore_eos:true --extra-inputs \
              min_tokens:32 --random-seed 100 --ui none --artifact-dir concurrency-4/run-1"]
        );
    }

    #[test]
    fn each_option_becomes_flags_of_aiperf() {
        let base = |kind| WorkloadOptions { kind: Some(kind), concurrency: vec![2], ..Default::default() };
        for (options, expected) in [
            (base(WorkloadKind::Prefix), "--num-prefix-prompts 10 --prefix-prompt-length 512"),
            (base(WorkloadKind::Mix), "--seq-dist 64|10,32|8:70;1024|100,256|50:30"),
            (
                base(WorkloadKind::Chat),
                "--conversation-num 8 --conversation-turn-mean 5 --conversation-turn-stddev 2 --warmup",
            ),
            (
                WorkloadOptions { duration_seconds: Some(60), ..base(WorkloadKind::Check) },
                "--num-dataset-entries 122 --benchmark-duration 60 --warmup-request-count 2",
            ),
            (
                WorkloadOptions { request_rate: vec![2.5], ..Default::default() },
                "--request-rate 2.5 --num-dataset-entries 153 --request-count 150 --warmup-request-count 3",
            ),
            (
                WorkloadOptions {
                    trace: Some(TraceFile { path: "/t.jsonl".into(), requests: 9, sha256: "0".into() }),
                    ..Default::default()
                },
                "--input-file /t.jsonl --custom-dataset-type mooncake_trace --fixed-schedule",
            ),
            (
                WorkloadOptions {
                    goodput: vec!["ttft=200ms".parse().expect("valid"), "itl=20ms".parse().expect("valid")],
                    ..base(WorkloadKind::Check)
                },
                "--goodput time_to_first_token:200 inter_token_latency:20",
            ),
            (
                WorkloadOptions {
                    extra_arguments: vec!["--arrival-pattern".into(), "constant".into()],
                    ..base(WorkloadKind::Check)
                },
                "run-1 --arrival-pattern constant",
            ),
        ] {
            let text = text_of(options);
            assert!(text[0].contains(expected), "`{expected}` in {text:?}");
        }
    }

    #[test]
    fn every_measurement_has_its_own_seed_and_folder() {
        let options = WorkloadOptions { concurrency: vec![1, 8], runs: 2, ..WorkloadOptions::default() };
        let workload = BenchWorkload::resolve(options).expect("valid options");
        let plans = workload.measurements();
        let listed: Vec<(u64, String)> = plans.iter().map(|plan| (plan.seed, plan.folder())).collect();
        let expected = [
            (100, "concurrency-1/run-1"),
            (101, "concurrency-8/run-1"),
            (102, "concurrency-1/run-2"),
            (103, "concurrency-8/run-2"),
        ];
        assert_eq!(listed, expected.map(|(seed, folder)| (seed, folder.to_owned())));
        assert_eq!(plans[0].requests(), Some(20), "a level with one request in flight");
    }
}
