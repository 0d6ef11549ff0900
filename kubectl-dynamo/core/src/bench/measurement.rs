//! Reads the files of AIPerf: the summary of one measurement, and what each request did. It depends only on the field
//! names of AIPerf's schema 1.4.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::lenient;

/// How many different errors are kept, and how many characters of each.
const MAX_ERRORS: usize = 20;
const MAX_ERROR_LENGTH: usize = 300;

/// The values of one metric, in its unit. A scalar only has `avg`.
pub type MetricValues = BTreeMap<String, f64>;

/// Requests that failed in the same way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorCount {
    pub code: Option<i64>,
    pub kind: String,
    pub message: String,
    pub count: u64,
}

/// What AIPerf measured at one level, with its own names of the metrics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measurement {
    /// The values of each metric, such as `avg` and `p95`.
    pub metrics: BTreeMap<String, MetricValues>,
    pub units: BTreeMap<String, String>,
    /// The requests of the measurement, without those of the warm-up.
    pub requests: u64,
    pub failed: u64,
    /// Answers whose length is not the requested one.
    pub wrong_length: u64,
    /// Answers whose tokens the server counts differently from AIPerf's tokenizer.
    pub counted_differently: u64,
    pub errors: Vec<ErrorCount>,
    pub is_complete: bool,
    pub was_cancelled: bool,
    pub aiperf_version: String,
}

/// The metrics that a record of a run keeps. AIPerf's own file has all of them.
const KEPT: &[&str] = &[
    "request_throughput",
    "request_latency",
    "request_count",
    "completed_request_count",
    "error_request_count",
    "request_error_rate",
    "time_to_first_token",
    "time_to_second_token",
    "inter_token_latency",
    "output_token_throughput",
    "output_token_throughput_per_user",
    "total_token_throughput",
    "input_sequence_length",
    "output_sequence_length",
    "usage_prompt_tokens",
    "usage_completion_tokens",
    "overall_usage_prompt_cache_read_pct",
    "osl_mismatch_count",
    "benchmark_duration",
    "goodput",
    "good_request_count",
    "good_request_fraction",
    "effective_concurrency",
    "credit_to_start_latency",
];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Summary {
    #[serde(deserialize_with = "lenient::value")]
    aiperf_version: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    is_complete: Option<bool>,
    #[serde(deserialize_with = "lenient::value")]
    was_cancelled: Option<bool>,
    #[serde(deserialize_with = "lenient::list")]
    error_summary: Option<Vec<ErrorEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorEntry {
    #[serde(deserialize_with = "lenient::object")]
    error_details: Option<ErrorDetails>,
    #[serde(deserialize_with = "lenient::value")]
    count: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorDetails {
    #[serde(deserialize_with = "lenient::value")]
    code: Option<i64>,
    #[serde(rename = "type", deserialize_with = "lenient::value")]
    kind: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    message: Option<String>,
}

/// One line of `profile_export.jsonl`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RequestRecord {
    #[serde(deserialize_with = "lenient::object")]
    metadata: Option<RequestMetadata>,
    #[serde(deserialize_with = "lenient::object")]
    metrics: Option<RequestMetrics>,
    #[serde(deserialize_with = "lenient::object")]
    error: Option<ErrorDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequestMetadata {
    #[serde(deserialize_with = "lenient::value")]
    benchmark_phase: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequestMetrics {
    #[serde(deserialize_with = "lenient::object")]
    output_sequence_length: Option<RequestValue>,
    #[serde(deserialize_with = "lenient::object")]
    usage_completion_tokens: Option<RequestValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequestValue {
    #[serde(deserialize_with = "lenient::value")]
    value: Option<f64>,
}

/// What the lines of all requests show.
#[derive(Debug, Default)]
struct RequestCounts {
    requests: u64,
    failed: u64,
    wrong_length: u64,
    counted_differently: u64,
    errors: Vec<ErrorCount>,
}

impl Measurement {
    /// Reads the summary and the lines of the requests. The summary is missing if every request failed or AIPerf was
    /// stopped. `pinned_output` is the length that every answer must have.
    pub fn read(summary: Option<&Value>, requests: &str, pinned_output: Option<u32>) -> Self {
        let counts = RequestCounts::read(requests, pinned_output);
        let mut measurement = Self {
            requests: counts.requests,
            failed: counts.failed,
            wrong_length: counts.wrong_length,
            counted_differently: counts.counted_differently,
            errors: counts.errors,
            ..Self::default()
        };
        if let Some(document) = summary {
            measurement.read_summary(document);
        }
        measurement.limit_errors();
        measurement
    }

    fn read_summary(&mut self, document: &Value) {
        let read: Summary = lenient::read(document);
        self.aiperf_version = read.aiperf_version.unwrap_or_default();
        self.is_complete = read.is_complete.unwrap_or_default();
        self.was_cancelled = read.was_cancelled.unwrap_or_default();
        for name in KEPT {
            let Some(Value::Object(fields)) = document.get(*name) else { continue };
            let numbers = fields.iter().filter_map(|(key, value)| Some((key.clone(), value.as_f64()?)));
            self.metrics.insert((*name).to_owned(), numbers.collect());
            if let Some(unit) = fields.get("unit").and_then(Value::as_str) {
                self.units.insert((*name).to_owned(), unit.to_owned());
            }
        }
        let entries = read.error_summary.unwrap_or_default();
        if !entries.is_empty() {
            self.errors = entries.into_iter().map(ErrorEntry::into_count).collect();
        }
    }

    /// Keeps the most frequent errors, and the beginning of each. A server can put an ID into each message, and the
    /// record of a run must fit into a ConfigMap.
    fn limit_errors(&mut self) {
        self.errors.sort_by_key(|error| std::cmp::Reverse(error.count));
        self.errors.truncate(MAX_ERRORS);
        for error in &mut self.errors {
            error.message = error.message.chars().take(MAX_ERROR_LENGTH).collect();
        }
    }

    /// The value of a metric, such as `p95` of `time_to_first_token`.
    pub fn value(&self, metric: &str, statistic: &str) -> Option<f64> {
        self.metrics.get(metric)?.get(statistic).copied()
    }
}

impl ErrorEntry {
    fn into_count(self) -> ErrorCount {
        error_count(self.error_details.unwrap_or_default(), self.count.unwrap_or_default())
    }
}

fn error_count(details: ErrorDetails, count: u64) -> ErrorCount {
    ErrorCount {
        code: details.code,
        kind: details.kind.unwrap_or_default(),
        message: details.message.unwrap_or_default(),
        count,
    }
}

impl RequestCounts {
    fn read(lines: &str, pinned_output: Option<u32>) -> Self {
        let mut counts = Self::default();
        // The last line of a stopped run can be incomplete.
        for document in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let record: RequestRecord = lenient::read(&document);
            let phase = record.metadata.and_then(|metadata| metadata.benchmark_phase);
            if phase.as_deref() == Some("warmup") {
                continue;
            }
            counts.requests += 1;
            if let Some(details) = record.error {
                counts.failed += 1;
                counts.add_error(error_count(details, 1));
                continue;
            }
            let metrics = record.metrics.unwrap_or_default();
            let number = |value: Option<RequestValue>| value.and_then(|value| value.value);
            let (client, server) =
                (number(metrics.output_sequence_length), number(metrics.usage_completion_tokens));
            counts.counted_differently += u64::from(server.is_some() && client.is_some() && server != client);
            // The server's number is exact. AIPerf counts again, and a tokenizer does not always find the same tokens.
            let length = server.or(client);
            let is_wrong = pinned_output.is_some_and(|pinned| length != Some(f64::from(pinned)));
            counts.wrong_length += u64::from(is_wrong);
        }
        counts
    }

    fn add_error(&mut self, error: ErrorCount) {
        let same = |one: &&mut ErrorCount| {
            (one.code, &one.kind, &one.message) == (error.code, &error.kind, &error.message)
        };
        match self.errors.iter_mut().find(same) {
            Some(known) => known.count += 1,
            None => self.errors.push(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(phase: &str, metrics: &Value, error: &Value) -> String {
        json!({ "metadata": { "benchmark_phase": phase }, "metrics": metrics, "error": error }).to_string()
    }

    #[test]
    fn requests_are_counted_without_the_warm_up() {
        let tokens = |client: u32, server: u32| {
            json!({ "output_sequence_length": { "value": client },
                "usage_completion_tokens": { "value": server } })
        };
        let error = json!({ "code": 503, "type": "Service Unavailable", "message": "no worker" });
        let lines = [
            line("warmup", &tokens(1, 1), &Value::Null),
            line("profiling", &tokens(16, 16), &Value::Null),
            line("profiling", &tokens(15, 16), &Value::Null),
            line("profiling", &tokens(8, 8), &Value::Null),
            line("profiling", &json!({ "output_sequence_length": { "value": 8 } }), &Value::Null),
            line("profiling", &json!({}), &error),
            line("profiling", &json!({}), &error),
            "{\"metadata\":".into(),
        ];
        let read = Measurement::read(None, &lines.join("\n"), Some(16));
        assert_eq!((read.requests, read.failed, read.wrong_length, read.counted_differently), (6, 2, 2, 1));
        let message = "no worker".to_owned();
        assert_eq!(
            read.errors,
            [ErrorCount { code: Some(503), kind: "Service Unavailable".into(), message, count: 2 }]
        );
        assert_eq!(Measurement::read(None, &lines.join("\n"), None).wrong_length, 0);
    }

    #[test]
    fn only_the_most_frequent_errors_are_kept() {
        let error =
            |id: usize| json!({ "code": 500, "type": "t", "message": format!("{id} {}", "x".repeat(1000)) });
        let mut lines: Vec<String> = (0..50).map(|id| line("profiling", &json!({}), &error(id))).collect();
        lines.push(line("profiling", &json!({}), &error(49)));
        let read = Measurement::read(None, &lines.join("\n"), None);
        assert_eq!((read.failed, read.errors.len(), read.errors[0].count), (51, MAX_ERRORS, 2));
        assert!(read.errors.iter().all(|error| error.message.len() == MAX_ERROR_LENGTH));
    }

    #[test]
    fn summary_keeps_units_and_every_statistic() {
        let summary = json!({
            "aiperf_version": "x", "is_complete": true, "was_cancelled": false,
            "time_to_first_token": { "unit": "ms", "avg": 5.5, "p95": 9.25, "count": 40 },
            "request_throughput": { "unit": "requests/sec", "avg": 36.5 },
            "http_req_blocked": { "unit": "ms", "avg": 0.0 },
            "error_summary": [{ "error_details": { "code": 503, "type": "t", "message": "m" }, "count": 10 }],
        });
        let read = Measurement::read(Some(&summary), "", None);
        assert_eq!(read.value("time_to_first_token", "p95"), Some(9.25));
        assert_eq!(read.value("request_throughput", "p95"), None);
        assert_eq!(read.units.get("request_throughput").map(String::as_str), Some("requests/sec"));
        assert!(!read.metrics.contains_key("http_req_blocked"), "only AIPerf's own file has it");
        assert!(read.is_complete && read.errors[0].count == 10);
    }
}
