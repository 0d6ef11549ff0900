//! Renders `status` and `diagnose` of a deployment that is not created yet: its model fetch as text or as a JSON
//! document. It redacts secrets.

use serde_json::json;

use crate::output::StatusFormat;
use crate::typed_command::{deployment_command, typed};
use crate::workflow::fetch_status::FetchStatus;
use kubectl_dynamo_core::diagnosis::redact;

/// Returns the status of a model fetch in one format.
pub(crate) fn render(status: &FetchStatus, output: StatusFormat) -> String {
    let FetchStatus { name, namespace, job, state, cause, .. } = status;
    let state = state.as_str();
    let text = match (output, cause) {
        (StatusFormat::Text, None) => format!(
            "… STARTING  deployment \"{name}\" is not created yet: its model fetch job/{job} is {state}\n  \
             resume    run the same `up` again\n"
        ),
        (StatusFormat::Text, Some(cause)) => format!(
            "✗ DOWN  deployment \"{name}\" is not created: its model fetch job/{job} failed ({code})\n  \
             cause     {code} {cause}\n  fix       {fix}\n  \
             more      {logs}\n",
            code = cause.code,
            fix = typed(cause.fix.clone()),
            logs = typed(deployment_command("logs", name, namespace).flag("-c").flag("fetch")),
        ),
        (StatusFormat::Json, cause) => {
            let document = json!({
                "apiVersion": "kubectl-dynamo.dev/v1", "kind": "Status", "name": name,
                "namespace": namespace,
                "verdict": if cause.is_some() { "DOWN" } else { "STARTING" },
                "waitsFor": cause.is_none().then(|| format!("job/{job}")),
                "fetch": { "job": job, "state": state },
                "text": cause.as_ref().map(ToString::to_string),
                "code": cause.as_ref().map(|cause| cause.code),
                "hint": cause.as_ref().map(|cause| typed(cause.fix.clone())),
            });
            format!("{document:#}\n")
        }
    };
    redact(&text)
}
