//! Reads the recommendation that a run verifies, and derives the load from it.

use std::path::Path;

use serde_json::Value;

use super::store::read_text;
use super::{BenchError, BenchResult};
use kubectl_dynamo_core::bench::{PredictedSpeed, TokenLengths, WorkloadKind, WorkloadOptions};

/// Reads the recommended deployment from a file that `recommend -o json` or `-o yaml` printed.
///
/// # Errors
/// The file cannot be read, or is not a recommendation.
pub(crate) fn read_recommendation(path: &Path) -> BenchResult<PredictedSpeed> {
    let unreadable = |reason: String| BenchError::Recommendation { path: path.to_owned(), reason };
    let text = read_text(path)?.ok_or_else(|| unreadable("it does not exist".into()))?;
    let document: Value = serde_saphyr::from_str(&text).map_err(|error| unreadable(first_line(&error)))?;
    PredictedSpeed::from_recommendation(document).map_err(|error| unreadable(error.to_string()))
}

/// The first line of a syntax error; the others repeat the file.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Returns the workload with the predicted load: the same lengths, and the same requests in flight.
pub(crate) fn predicted_load(prediction: &PredictedSpeed, options: WorkloadOptions) -> WorkloadOptions {
    WorkloadOptions {
        kind: Some(WorkloadKind::Sweep),
        concurrency: vec![prediction.concurrency],
        lengths: Some(TokenLengths::Fixed {
            input: prediction.input_tokens,
            output: prediction.output_tokens,
        }),
        ..options
    }
}
