//! Renders the status of a rollout: a line as `kubectl rollout status` prints it, or a document.

use serde_json::{Value, json};

use crate::output::{PrintFormat, TextFormat};
use crate::typed_command::typed;
use kubectl_dynamo_core::diagnosis::{DiagnosisResult, redact};
use kubectl_dynamo_core::error::{Exit, Explain, Result};

/// Returns the status of the rollout of a revision in one format.
///
/// # Errors
/// A template that does not fit the document.
pub(crate) fn text(
    name: &str,
    revision: Option<i64>,
    namespace: &str,
    result: &DiagnosisResult,
    format: &PrintFormat<TextFormat>,
) -> Result<String> {
    format.text(|| document(name, revision, namespace, result), |TextFormat::Text| line(name, result) + "\n")
}

/// Returns the exit code of the status.
pub(crate) fn exit(result: &DiagnosisResult) -> Exit {
    match result {
        DiagnosisResult::Ready => Exit::Ok,
        DiagnosisResult::Progressing { .. } | DiagnosisResult::Blocked { .. } => Exit::NotReadyInTime,
        DiagnosisResult::Terminating { .. } => Exit::Failed,
        DiagnosisResult::Failed { cause } => cause.exit,
    }
}

fn line(name: &str, result: &DiagnosisResult) -> String {
    let line = match result {
        DiagnosisResult::Ready => format!("dynamographdeployment \"{name}\" successfully rolled out"),
        DiagnosisResult::Progressing { waits_for } => {
            format!("deployment \"{name}\" is waiting for {waits_for}")
        }
        DiagnosisResult::Terminating { waits_for } => {
            format!("deployment \"{name}\" is being deleted: waiting for {waits_for}")
        }
        DiagnosisResult::Blocked { cause } => format!("deployment \"{name}\" is waiting: {cause}"),
        DiagnosisResult::Failed { cause } => format!("deployment \"{name}\": {cause}"),
    };
    redact(&line)
}

fn document(name: &str, revision: Option<i64>, namespace: &str, result: &DiagnosisResult) -> Value {
    let (status, waits_for, cause) = match result {
        DiagnosisResult::Ready => ("complete", None, None),
        DiagnosisResult::Progressing { waits_for } => ("progressing", Some(waits_for), None),
        DiagnosisResult::Terminating { waits_for } => ("deleting", Some(waits_for), None),
        DiagnosisResult::Blocked { cause } => ("progressing", None, Some(cause)),
        DiagnosisResult::Failed { cause } => ("failed", None, Some(cause)),
    };
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "RolloutStatus",
        "name": name, "namespace": namespace, "revision": revision, "status": status,
        "waitsFor": waits_for.map(|text| redact(text)), "text": cause.map(|cause| redact(&cause.to_string())),
        "code": cause.and_then(Explain::code), "hint": cause.map(|cause| redact(&typed(cause.fix.clone()))),
    })
}
