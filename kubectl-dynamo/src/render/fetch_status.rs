//! Renders `status` and `diagnose` of a deployment that is not created yet: its model fetch as text or as a JSON
//! document. It redacts secrets.

use serde_json::{Value, json};

use crate::output::{PrintFormat, TextFormat};
use crate::typed_command::{deployment_command, typed};
use crate::workflow::fetch_status::FetchStatus;
use kubectl_dynamo_core::diagnosis::redact;
use kubectl_dynamo_core::error::Result;

/// Returns the status of a model fetch in one format.
///
/// # Errors
/// A template that does not fit the document.
pub(crate) fn render(status: &FetchStatus, output: &PrintFormat<TextFormat>) -> Result<String> {
    Ok(redact(&output.text(|| document(status), |TextFormat::Text| screen(status))?))
}

fn screen(status: &FetchStatus) -> String {
    let FetchStatus { name, namespace, job, state, cause, .. } = status;
    let state = state.as_str();
    match cause {
        None => format!(
            "… STARTING  deployment \"{name}\" is not created yet: its model fetch job/{job} is {state}\n  \
             resume    run the same `up` again\n"
        ),
        Some(cause) => format!(
            "✗ DOWN  deployment \"{name}\" is not created: its model fetch job/{job} failed ({code})\n  \
             cause     {code} {cause}\n  fix       {fix}\n  \
             more      {logs}\n",
            code = cause.code,
            fix = typed(cause.fix.clone()),
            logs = typed(deployment_command("logs", name, namespace).flag("-c").flag("fetch")),
        ),
    }
}

fn document(status: &FetchStatus) -> Value {
    let FetchStatus { name, namespace, job, state, cause, .. } = status;
    json!({
        "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Status", "name": name,
        "namespace": namespace,
        "verdict": if cause.is_some() { "DOWN" } else { "STARTING" },
        "waitsFor": cause.is_none().then(|| format!("job/{job}")),
        "fetch": { "job": job, "state": state.as_str() },
        "text": cause.as_ref().map(ToString::to_string),
        "code": cause.as_ref().map(|cause| cause.code),
        "hint": cause.as_ref().map(|cause| typed(cause.fix.clone())),
    })
}
